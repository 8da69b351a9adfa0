//! Measures the assembly of an ImagingStudy from the rows of 5,000 instances. It should take at most 2.2 times as long as parsing
//! the JSON and discarding it.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a program, not a library"
)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;

#[path = "assembly/input.rs"]
mod input;

/// The allocator of the gateway, so that allocations have the same cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of rounds of the comparison.
const ROUND_COUNT: usize = 101;

/// Parses the responses and discards them.
fn scan(responses: &[Vec<u8>]) {
    for response in responses {
        black_box(
            serde_json::from_slice::<IgnoredAny>(black_box(response)).expect("the response is not JSON"),
        );
    }
}

fn assembly(criterion: &mut Criterion) {
    let responses = input::responses();
    let study_attributes = input::study_attributes();
    let byte_count: usize = responses.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("5000 instances");
    group.throughput(Throughput::Bytes(byte_count as u64));
    group.bench_function("scan", |bencher| {
        bencher.iter(|| scan(&responses));
    });
    group.bench_function("assembly", |bencher| {
        bencher.iter(|| black_box(input::assemble(black_box(&responses), &study_attributes)));
    });
    group.finish();
    compare(&responses, &study_attributes);
}

/// Prints the ratio of the durations of assembly and scan. Each round measures both, so other load on the machine affects both.
fn compare(responses: &[Vec<u8>], study_attributes: &input::StudyAttributes) {
    let measure = |function: &dyn Fn()| {
        let start = Instant::now();
        function();
        start.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..ROUND_COUNT)
        .map(|_| {
            let scan = measure(&|| scan(responses));
            measure(&|| drop(black_box(input::assemble(black_box(responses), study_attributes)))) / scan
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("assembly to scan, median of {ROUND_COUNT} rounds: {:.2}", ratios[ROUND_COUNT / 2]);
}

criterion_group!(benches, assembly);
criterion_main!(benches);
