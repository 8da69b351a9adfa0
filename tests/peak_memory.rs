//! The memory that assembling a study of 5,000 instances takes. A separate program, because every allocation of the process is
//! counted.

#![allow(clippy::expect_used, unreachable_pub, reason = "tests may panic")]

use peak_alloc::PeakAlloc;

#[path = "../benches/assembly/input.rs"]
mod input;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn assembling_a_study_of_5000_instances_takes_less_than_4_mb() {
    let responses = input::responses();
    let known = input::known();
    // Dictionaries are built on first use and stay allocated.
    drop(input::assemble(&responses[..1], &known));
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let resource = input::assemble(&responses, &known);
    let peak = ALLOCATOR.peak_usage() - before;
    assert_eq!(count(&resource, b"\"sopClass\""), input::SERIES * input::INSTANCES_PER_SERIES);
    assert!(peak < 4_000_000, "{peak} bytes");
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}
