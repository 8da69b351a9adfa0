//! Measures the throughput of URL rewriting in rows and metadata. For comparison, it measures searches in the same bytes: for the
//! root of the archive, and for each of the three patterns that can precede a URL.

#![allow(missing_docs, clippy::expect_used)]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dicomweb_gateway::dicomweb::{Rewriter, Syntax, UrlMap};
use memchr::memmem;
use url::Url;

/// Creates the rows of 5,000 instances, each with one URL.
fn rows() -> Vec<u8> {
    let study = "1.2.826.0.1.3680043.8.498.1234";
    let row = |number: usize| {
        format!(
            r#"{{"00080016":{{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]}},"00080018":{{"vr":"UI","Value":["{study}.5.{number}"]}},"00080060":{{"vr":"CS","Value":["CT"]}},"00081030":{{"vr":"LO","Value":["CT CHEST W CONTRAST"]}},"0008103E":{{"vr":"LO","Value":["AXIAL 1.25"]}},"00081190":{{"vr":"UR","Value":["http://127.0.0.1:8042/dicom-web/studies/{study}/series/{study}.5/instances/{study}.5.{number}"]}},"00100010":{{"vr":"PN","Value":[{{"Alphabetic":"Doe^Jane"}}]}},"00100020":{{"vr":"LO","Value":["P12345"]}},"00100030":{{"vr":"DA","Value":["19700101"]}},"00180050":{{"vr":"DS","Value":[1.25]}},"0020000D":{{"vr":"UI","Value":["{study}"]}},"0020000E":{{"vr":"UI","Value":["{study}.5"]}},"00200013":{{"vr":"IS","Value":[{number}]}},"00200037":{{"vr":"DS","Value":[1,0,0,0,1,0]}},"00280010":{{"vr":"US","Value":[512]}},"00280011":{{"vr":"US","Value":[512]}},"00280030":{{"vr":"DS","Value":[0.7,0.7]}},"00280100":{{"vr":"US","Value":[16]}}}}"#
        )
    };
    format!("[{}]", (1..=5000).map(row).collect::<Vec<_>>().join(",")).into_bytes()
}

/// Creates the metadata of 1,000 instances of about 6 kB, each with one URL.
fn metadata() -> Vec<u8> {
    let study = "1.2.826.0.1.3680043.8.498.1234";
    let texts = (0..70)
        .map(|number| {
            format!(
                r#""0018{:04X}":{{"vr":"LO","Value":["A DESCRIPTION OF SOMETHING {number}"]}},"#,
                0x1000 + number
            )
        })
        .collect::<Vec<_>>()
        .concat();
    let numbers = (0..20)
        .map(|number| {
            format!(r#""0028{:04X}":{{"vr":"DS","Value":[0.703125,0.703125,-{number}.5]}},"#, 0x1000 + number)
        })
        .collect::<Vec<_>>()
        .concat();
    let instance = |number: usize| {
        format!(
            r#"{{"00080016":{{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]}},"00080018":{{"vr":"UI","Value":["{study}.5.{number}"]}},{texts}{numbers}"7FE00010":{{"vr":"OW","BulkDataURI":"http://127.0.0.1:8042/dicom-web/studies/{study}/series/{study}.5/instances/{study}.5.{number}/bulk/7fe00010"}}}}"#
        )
    };
    format!("[{}]", (1..=1000).map(instance).collect::<Vec<_>>().join(",")).into_bytes()
}

fn rewriting(criterion: &mut Criterion) {
    let root = Url::parse("http://127.0.0.1:8042/dicom-web").expect("a valid URL");
    let urls = UrlMap::new("https://gateway.example/dicom-web/main", &root, &root, "studies/1/instances");
    let root_finder = memmem::Finder::new("http://127.0.0.1:8042/dicom-web");
    let pattern_finders = ["http", "\"BulkDataURI\"", "\"00081190\""].map(memmem::Finder::new);
    for (name, text) in [("rows", rows()), ("metadata", metadata())] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        for size in [16 * 1024, 64 * 1024, 256 * 1024] {
            let chunks: Vec<Bytes> = text.chunks(size).map(Bytes::copy_from_slice).collect();
            group.bench_function(BenchmarkId::new("rewritten", size), |bencher| {
                bencher.iter(|| {
                    let mut rewriter = Rewriter::new(urls.clone(), Syntax::Json);
                    let length: usize = chunks
                        .iter()
                        .map(|chunk| rewriter.push(chunk).map_or(0, |output| output.len()))
                        .sum();
                    length + rewriter.finish().map_or(0, |output| output.len())
                });
            });
            group.bench_function(BenchmarkId::new("root", size), |bencher| {
                bencher
                    .iter(|| chunks.iter().map(|chunk| root_finder.find_iter(chunk).count()).sum::<usize>());
            });
            group.bench_function(BenchmarkId::new("patterns", size), |bencher| {
                let count_patterns = |chunk: &Bytes| {
                    pattern_finders.iter().map(|finder| finder.find_iter(chunk).count()).sum::<usize>()
                };
                bencher.iter(|| chunks.iter().map(count_patterns).sum::<usize>());
            });
        }
        group.finish();
    }
}

criterion_group!(benches, rewriting);
criterion_main!(benches);
