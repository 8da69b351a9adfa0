//! From an archive's answer about 5,000 instances to the ImagingStudy: at most 2.2 times what it takes to look at every byte
//! of the answer and keep nothing of it.

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

/// The gateway's own allocator, as an allocation costs what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of the comparison.
const ROUNDS: usize = 101;

/// Looks at every byte and keeps nothing.
fn scan(answers: &[Vec<u8>]) {
    for answer in answers {
        black_box(serde_json::from_slice::<IgnoredAny>(black_box(answer)).expect("JSON"));
    }
}

fn assembly(criterion: &mut Criterion) {
    let answers = input::answers();
    let known = input::known();
    let bytes: usize = answers.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("5000 instances");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("scan", |bencher| {
        bencher.iter(|| scan(&answers));
    });
    group.bench_function("assembly", |bencher| {
        bencher.iter(|| black_box(input::assemble(black_box(&answers), &known)));
    });
    group.finish();
    side_by_side(&answers, &known);
}

/// The ratio that counts, of rounds that alternate, so that a busy machine slows both down.
fn side_by_side(answers: &[Vec<u8>], known: &input::Known) {
    let timed = |work: &dyn Fn()| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let scan = timed(&|| scan(answers));
            timed(&|| drop(black_box(input::assemble(black_box(answers), known)))) / scan
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!("assembly to scan, median of {ROUNDS} rounds: {:.2}", ratios[ROUNDS / 2]);
}

criterion_group!(benches, assembly);
criterion_main!(benches);
