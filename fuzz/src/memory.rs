//! Measures the memory that reading an input takes: the size of the input limits it, not the lengths that the input declares.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs `work`, and panics if it allocated more than `limit` bytes at any time.
pub fn run_within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak <= limit, "the peak of {peak} allocated bytes is above the limit of {limit}");
    result
}
