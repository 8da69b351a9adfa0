//! Measures the memory that a reader allocates: the size of the input limits it, not the lengths that the input declares.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs `function`. Panics if more than `limit` bytes were allocated at any time during the call.
pub fn run_within<T>(limit: usize, function: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = function();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak <= limit, "the peak of {peak} allocated bytes is above the limit of {limit}");
    result
}
