//! From an archive's answer about 5,000 instances to the ImagingStudy: at most 2.2 times what it takes to look at every byte
//! of the answer and keep nothing of it.

#![allow(missing_docs, clippy::expect_used, unreachable_pub, reason = "a program, not a library")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;

#[path = "assembly/input.rs"]
mod input;

/// The gateway's own allocator, as an allocation costs what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn assembly(criterion: &mut Criterion) {
    let answers = input::answers();
    let known = input::known();
    let bytes: usize = answers.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group("5000 instances");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("scan", |bencher| {
        bencher.iter(|| {
            for answer in &answers {
                black_box(serde_json::from_slice::<IgnoredAny>(black_box(answer)).expect("JSON"));
            }
        });
    });
    group.bench_function("assembly", |bencher| {
        bencher.iter(|| black_box(input::assemble(black_box(&answers), &known)));
    });
    group.finish();
}

criterion_group!(benches, assembly);
criterion_main!(benches);
