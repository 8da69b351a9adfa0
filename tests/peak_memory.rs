//! The memory that assembling a study of 5,000 instances takes, and the memory that the cache takes for what it counts. A separate
//! program, because every allocation of the process is counted.

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

/// One test at a time counts allocations.
static COUNTING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn assembling_a_study_of_5000_instances_takes_less_than_4_mb() {
    let _alone = alone();
    let responses = input::responses();
    let known = input::known();
    // Dictionaries are built on first use and stay allocated.
    drop(input::assemble(&responses[..1], &known));
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    let resource = input::assemble(&responses, &known);
    let peak = ALLOCATOR.peak_usage() - before;
    assert_eq!(count(&resource, b"\"sopClass\""), input::SERIES_COUNT * input::INSTANCES_PER_SERIES);
    assert!(peak < 4_000_000, "{peak} bytes");
}

/// An entry like those of the gateway's modules, which count their bytes in the same way.
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
fn the_cache_takes_at_most_1_3_times_the_memory_that_it_is_configured_with() {
    const CONFIGURED: u64 = 8 << 20;
    let _alone = alone();
    let response = input::responses().remove(0);
    let texts: Vec<Box<RawValue>> = serde_json::from_slice(&response).expect("rows");
    let row = |text: &RawValue| serde_json::from_str::<Attributes>(text.get()).expect("a row");
    let json = |length: usize, number: usize| {
        let text = format!("{{\"resourceType\":\"ImagingStudy\",\"id\":\"1.2.{number}\",\"series\":[");
        let mut json = text.into_bytes();
        // As from a serializer, with spare capacity and a text that compresses less than a repeated one.
        let mut value = number;
        while json.len() < length {
            value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            json.extend_from_slice(format!("{{\"uid\":\"2.25.{value}\"}},").as_bytes());
        }
        json
    };
    let kinds: [(&str, &dyn Fn(usize) -> Entry); 5] = [
        ("lists of one row", &|_| Entry::Rows(vec![row(&texts[0])])),
        ("lists of 250 rows", &|_| Entry::Rows(texts.iter().map(|text| row(text)).collect())),
        ("small studies", &|number| Entry::Study(EncodedResource::new(json(600, number)))),
        ("large studies", &|number| Entry::Study(EncodedResource::new(json(100_000, number)))),
        ("known patients", &|number| Entry::Uid(StudyUid::parse(&format!("1.2.{number}")).expect("a UID"))),
    ];
    for (kind, entry) in kinds {
        // What is built on first use stays allocated.
        drop(entry(0));
        let before = ALLOCATOR.current_usage();
        let cache = Cache::new(CONFIGURED, Duration::from_secs(30), Arc::new(SystemClock::default()));
        let mut number = 0;
        while cache.usage().1 < CONFIGURED * 9 / 10 {
            for _ in 0..16 {
                let key = number.to_string();
                cache.insert(CacheKey::from_parts([key.as_str()]), Arc::new(entry(number)));
                number += 1;
            }
        }
        let (entries, counted) = cache.usage();
        let held = ALLOCATOR.current_usage() - before;
        let percent = held as u64 * 100 / counted;
        let figures = format!(
            "{kind}: {entries} entries, {counted} bytes counted, {held} bytes allocated: {percent} %"
        );
        println!("{figures}");
        assert!((40..=130).contains(&percent), "{figures}");
    }
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}
