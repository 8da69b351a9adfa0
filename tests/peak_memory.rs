//! How much memory a study of 5,000 instances takes while it is assembled. A program of its own, as every allocation of the
//! process counts.

#![allow(clippy::expect_used, unreachable_pub, reason = "tests may panic")]

use peak_alloc::PeakAlloc;

#[path = "../benches/assembly/input.rs"]
mod input;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[test]
fn a_study_of_5000_instances_is_assembled_in_less_than_4_mb() {
    let answers = input::answers();
    let known = input::known();
    // Dictionaries are built when they are first used, and stay.
    drop(input::assemble(&answers[..1], &known));
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let resource = input::assemble(&answers, &known);
    let peak = ALLOCATOR.peak_usage() - before;
    assert_eq!(count(&resource, b"\"sopClass\""), input::SERIES * input::INSTANCES_OF_A_SERIES);
    assert!(peak < 4_000_000, "{peak} bytes");
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}
