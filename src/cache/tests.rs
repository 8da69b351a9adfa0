use super::*;
use crate::change_log::VersionId;
use crate::clock::{Clock, ManualClock};
use dicom_model::{Element, tags};
use sha2::{Digest, Sha256};

fn cache(memory: u64) -> (Cache, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    (Cache::new(memory, Duration::from_secs(30), Arc::clone(&clock) as SharedClock), clock)
}

fn archive() -> ArchiveId {
    ArchiveId::parse("main").unwrap()
}

fn uid(number: usize) -> StudyUid {
    StudyUid::parse(&format!("1.2.{number}")).unwrap()
}

fn row(patient_id: &str) -> Attributes {
    [(tags::PATIENT_ID, Element::text(patient_id))].into_iter().collect()
}

fn entry(json: Vec<u8>, checked_at: Duration) -> Arc<StudyEntry> {
    let fingerprint = Fingerprint::of([(&archive(), &row("P1"))]);
    let last_updated = jiff::Timestamp::UNIX_EPOCH;
    let version = Version { id: VersionId::of_content(&json), last_updated, shares_second: false };
    Arc::new(StudyEntry { rendered: Rendered::new(json), fingerprint, version, checked_at })
}

#[test]
fn the_cache_holds_no_more_bytes_than_its_limit() {
    let (cache, _) = cache(100_000);
    for number in 0..200 {
        // Random bytes, so that only the plain form is stored because the compressed one is not smaller.
        let noise: Vec<u8> = Sha256::digest(number.to_string()).iter().copied().cycle().take(5_000).collect();
        cache.keep_study(&uid(number), &Form::Full, entry(noise, Duration::ZERO));
    }
    let (entries, bytes) = cache.usage();
    assert!(bytes <= 100_000, "{bytes}");
    assert!((1..=20).contains(&entries), "{entries}");
}

#[test]
fn rows_are_removed_when_they_are_no_longer_fresh() {
    let (cache, clock) = cache(100_000);
    let rows = Arc::new(SearchRows { rows: vec![row("P1")], asked_at: clock.elapsed() });
    cache.insert_rows(&archive(), "studies?PatientID=P1", rows);
    clock.advance(Duration::from_secs(29));
    assert!(cache.rows(&archive(), "studies?PatientID=P1").is_some());
    assert!(cache.rows(&archive(), "studies?PatientID=P2").is_none());
    clock.advance(Duration::from_secs(1));
    assert!(cache.rows(&archive(), "studies?PatientID=P1").is_none());
}

#[test]
fn forms_of_a_study_are_separate_entries() {
    let (cache, _) = cache(100_000);
    cache.keep_study(&uid(1), &Form::Full, entry(b"{}".to_vec(), Duration::ZERO));
    assert!(cache.study(&uid(1), &Form::Full).is_some());
    assert!(cache.study(&uid(1), &Form::Summary).is_none());
    assert!(cache.study(&uid(2), &Form::Full).is_none());
}

#[test]
fn a_study_can_be_removed_in_one_form() {
    let (cache, _) = cache(100_000);
    cache.keep_study(&uid(1), &Form::Full, entry(b"{}".to_vec(), Duration::ZERO));
    cache.keep_study(&uid(1), &Form::Text, entry(b"{}".to_vec(), Duration::ZERO));
    cache.forget_study(&uid(1), &Form::Full);
    assert!(cache.study(&uid(1), &Form::Full).is_none());
    assert!(cache.study(&uid(1), &Form::Text).is_some());
}
