//! The memory that is allocated to assemble a study of 5,000 instances, and the memory that is allocated for the cache compared with
//! the size that the cache reports. These tests are a separate program, because they measure every allocation of the process.

#![allow(clippy::expect_used, unreachable_pub, reason = "tests may panic")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dicom_model::{Attributes, StudyUid};
use dicomweb_gateway::cache::{Cache, CacheEntry, CacheKey};
use dicomweb_gateway::clock::SystemClock;
use dicomweb_gateway::encoded_resource::EncodedResource;
use peak_alloc::PeakAlloc;
use serde_json::value::RawValue;

#[path = "../benches/assembly/input.rs"]
mod input;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// A test holds this lock while it measures allocations, because the allocator counts those of all threads.
static MEASUREMENT_LOCK: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    MEASUREMENT_LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_assembly_of_a_study_of_5000_instances_allocates_less_than_4_mb() {
    let _lock = lock();
    let responses = input::responses();
    let study_attributes = input::study_attributes();
    // Dictionaries are allocated by the first assembly and never freed.
    drop(input::assemble(&responses[..1], &study_attributes));
    ALLOCATOR.reset_peak_usage();
    let usage_before = ALLOCATOR.current_usage();
    let resource = input::assemble(&responses, &study_attributes);
    let peak_usage = ALLOCATOR.peak_usage() - usage_before;
    assert_eq!(count(&resource, b"\"sopClass\""), input::SERIES_COUNT * input::INSTANCES_PER_SERIES);
    assert!(peak_usage < 4_000_000, "{peak_usage} bytes");
}

/// A cache entry. It computes its size in the same way as the entries of the gateway.
enum Entry {
    Rows(Vec<Attributes>),
    Study(EncodedResource),
    Uid(StudyUid),
}

impl CacheEntry for Entry {
    fn size(&self) -> usize {
        match self {
            Self::Rows(rows) => {
                size_of_val(rows.as_slice()) + rows.iter().map(Attributes::size).sum::<usize>()
            }
            Self::Study(study) => study.size(),
            Self::Uid(uid) => uid.as_str().len(),
        }
    }
}

#[test]
fn the_cache_allocates_at_most_1_3_times_the_size_that_it_reports() {
    const CACHE_SIZE: u64 = 8 << 20;
    let _lock = lock();
    let response = input::responses().remove(0);
    let texts: Vec<Box<RawValue>> = serde_json::from_slice(&response).expect("the response is not a list");
    let parse_row =
        |text: &RawValue| serde_json::from_str::<Attributes>(text.get()).expect("the text is not a row");
    let study_json = |length: usize, number: usize| {
        let text = format!("{{\"resourceType\":\"ImagingStudy\",\"id\":\"1.2.{number}\",\"series\":[");
        let mut json = text.into_bytes();
        // The buffer has unused capacity, like the output of a serializer. The UIDs differ, so the text is hard to compress.
        let mut value = number;
        while json.len() < length {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            json.extend_from_slice(format!("{{\"uid\":\"2.25.{value}\"}},").as_bytes());
        }
        json
    };
    let kinds: [(&str, &dyn Fn(usize) -> Entry); 5] = [
        ("lists of one row", &|_| Entry::Rows(vec![parse_row(&texts[0])])),
        ("lists of 250 rows", &|_| Entry::Rows(texts.iter().map(|text| parse_row(text)).collect())),
        ("small studies", &|number| Entry::Study(EncodedResource::new(study_json(600, number)))),
        ("large studies", &|number| Entry::Study(EncodedResource::new(study_json(100_000, number)))),
        ("patients", &|number| {
            Entry::Uid(StudyUid::parse(&format!("1.2.{number}")).expect("the text is not a UID"))
        }),
    ];
    for (name, new_entry) in kinds {
        // Static data is allocated by the first entry and never freed.
        drop(new_entry(0));
        let usage_before = ALLOCATOR.current_usage();
        let cache = Cache::new(CACHE_SIZE, Duration::from_secs(30), Arc::new(SystemClock::default()));
        let mut number = 0;
        while cache.usage().1 < CACHE_SIZE * 9 / 10 {
            for _ in 0..16 {
                let key = number.to_string();
                cache.insert(CacheKey::from_parts([key.as_str()]), Arc::new(new_entry(number)));
                number += 1;
            }
        }
        let (entry_count, reported_size) = cache.usage();
        let allocated_size = ALLOCATOR.current_usage() - usage_before;
        let percent = allocated_size as u64 * 100 / reported_size;
        let result = format!(
            "{name}: {entry_count} entries, {reported_size} bytes reported, {allocated_size} bytes allocated: {percent} %"
        );
        println!("{result}");
        assert!((40..=130).contains(&percent), "{result}");
    }
}

/// Counts the occurrences of `part` in `text`.
fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}
