//! Tests versions and times with clocks that jump, disks that fail, restarts and crashes.

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::store::{OpenError, RedbStore};
use proptest::prelude::*;
use redb::backends::InMemoryBackend;
use redb::{BackendError, StorageBackend};
use std::path::Path;
use std::sync::atomic::AtomicI64;

const RECORD_LIMIT: u64 = 1000;

fn open_in_memory(max_records: u64) -> Result<Records, StoreError> {
    Records::open(store::open(None).unwrap(), max_records)
}

fn open_in_directory(directory: &Path, max_records: u64) -> Result<Records, OpenError> {
    store::open(Some(directory)).map(|store| Records::open(store, max_records).unwrap())
}

/// A clock that can be set to any time.
#[derive(Debug, Default)]
struct WallClock(AtomicI64);

impl WallClock {
    fn set(&self, milliseconds: i64) {
        self.0.store(milliseconds, Ordering::SeqCst);
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for WallClock {
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    fn now(&self) -> Timestamp {
        version::timestamp(self.get())
    }
}

fn observation(study: u8, rows: u8, content: Option<u8>) -> Observation {
    Observation {
        resource: ResourceKey([study; 16]),
        fingerprint: Fingerprint::from_bytes([rows; 16]),
        content: content.map(|content| ContentDigest([content; 16])),
    }
}

fn log(records: Records, clock: &Arc<WallClock>) -> Log {
    Log::new(records, RECORD_LIMIT, Arc::clone(clock) as SharedClock, Metrics::default()).unwrap()
}

fn observe(log: &Log, study: u8, rows: u8, content: Option<u8>) -> (Version, i64) {
    let version = log.observe(&[observation(study, rows, content)], None)[0];
    (version, version.last_updated.as_millisecond())
}

/// Observes a study in a search that received the time `search_time`. Returns the time of its version.
fn observe_since(log: &Log, search_time: Timestamp, study: u8, rows: u8) -> i64 {
    log.observe(&[observation(study, rows, None)], Some(search_time))[0].last_updated.as_millisecond()
}

#[test]
fn a_study_that_is_first_observed_by_the_only_caller_with_a_time_has_this_time() {
    let clock = Arc::new(WallClock::default());
    let log = log(open_in_memory(RECORD_LIMIT).unwrap(), &clock);
    clock.set(1_000);
    let search_time = log.now();
    clock.set(2_000);
    assert_eq!(
        (observe_since(&log, search_time, 1, 1), observe_since(&log, search_time, 2, 1)),
        (1_000, 1_000)
    );
    assert_eq!(observe_since(&log, search_time, 1, 1), 1_000);
    assert_eq!(observe_since(&log, search_time, 1, 2), 2_000, "the study changed after the search time");
    assert_eq!(observe_since(&log, search_time, 3, 1), 2_001, "a later time exists");
    clock.set(3_000);
    let search_time = log.now();
    assert_eq!(observe_since(&log, search_time, 1, 3), 3_000);
    assert_eq!(observe_since(&log, search_time, 2, 1), 1_000);
    let observed = [observation(1, 4, None), observation(4, 1, None)];
    let versions = log.observe(&observed, Some(search_time));
    assert_eq!(
        versions.iter().map(|version| version.last_updated.as_millisecond()).collect::<Vec<_>>(),
        [3_001, 3_000]
    );
}

#[test]
fn a_time_that_is_past_or_that_another_caller_received_is_not_assigned() {
    let clock = Arc::new(WallClock::default());
    let log = log(open_in_memory(RECORD_LIMIT).unwrap(), &clock);
    clock.set(1_000);
    let (first, second) = (log.now(), log.now());
    assert_eq!(first, second, "in the same millisecond");
    assert_eq!(observe_since(&log, first, 1, 1), 1_001);
    clock.set(2_000);
    let first = log.now();
    clock.set(2_500);
    let second = log.now();
    assert_eq!(observe_since(&log, first, 1, 2), 2_501, "another client has a later time");
    assert_eq!(observe_since(&log, second, 2, 1), 2_502, "a later time was assigned");
    clock.set(1_500);
    let set_back = log.now();
    assert_eq!(observe_since(&log, set_back, 3, 1), 2_503, "the clock was set back");
    clock.set(9_000);
    let third = log.now();
    assert_eq!(observe(&log, 4, 1, None).1, 9_001);
    assert_eq!(observe_since(&log, third, 5, 1), 9_002);
}

#[test]
fn a_version_keeps_its_time_until_its_content_changes() {
    let clock = Arc::new(WallClock::default());
    let log = log(open_in_memory(RECORD_LIMIT).unwrap(), &clock);
    clock.set(10_000);
    let (first, since) = observe(&log, 1, 1, None);
    assert_eq!(since, 10_000, "the time of the clock");
    clock.set(20_000);
    assert_eq!(observe(&log, 1, 1, None).0, first);
    assert_eq!(observe(&log, 1, 1, Some(5)).1, 10_000, "fetching the content is not a change");
    clock.set(30_000);
    let (changed, since) = observe(&log, 1, 1, Some(6));
    assert_eq!(since, 30_000, "only the content has changed");
    assert_eq!(observe(&log, 1, 1, None).0, changed);
    assert_eq!(observe(&log, 1, 2, None).1, 30_001);
}

#[test]
fn times_increase_even_if_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(WallClock::default());
    clock.set(1_000_000);
    let before = {
        let log = log(open_in_directory(folder.path(), RECORD_LIMIT).unwrap(), &clock);
        observe(&log, 1, 1, None);
        let now = log.now().as_millisecond();
        clock.set(5_000);
        let since = observe(&log, 2, 1, None).1;
        assert!(since > now, "{since} {now}");
        since
    };
    let log = log(open_in_directory(folder.path(), RECORD_LIMIT).unwrap(), &clock);
    assert!(log.now().as_millisecond() >= before);
    assert!(observe(&log, 3, 1, None).1 > before);
}

#[test]
fn records_survive_a_restart_in_a_file_that_only_its_owner_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(WallClock::default());
    clock.set(1_000);
    let first = {
        let log = log(open_in_directory(folder.path(), RECORD_LIMIT).unwrap(), &clock);
        assert!(!log.mark_deleted(ResourceKey([1; 16])));
        let first = observe(&log, 1, 1, Some(1));
        observe(&log, 2, 1, None);
        assert!(log.mark_deleted(ResourceKey([2; 16])));
        assert!(
            open_in_directory(folder.path(), RECORD_LIMIT).is_err(),
            "two gateways cannot share a directory"
        );
        log.close();
        first
    };
    clock.set(9_000);
    let log = log(open_in_directory(folder.path(), RECORD_LIMIT).unwrap(), &clock);
    assert_eq!(observe(&log, 1, 1, None), first);
    assert!(log.mark_deleted(ResourceKey([2; 16])));
    assert_eq!(observe(&log, 2, 1, None).1, 9_001, "the return of a deleted study is reported");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join("store.redb")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn the_oldest_records_are_evicted_first_and_then_count_as_new() {
    let clock = Arc::new(WallClock::default());
    clock.set(1_000);
    let log = log(open_in_memory(3).unwrap(), &clock);
    for study in 1..=3 {
        observe(&log, study, 1, None);
    }
    observe(&log, 1, 2, None);
    observe(&log, 4, 1, None);
    clock.set(100_000);
    assert!(observe(&log, 1, 2, None).1 < 100_000);
    assert!(observe(&log, 3, 1, None).1 < 100_000);
    assert!(!log.mark_deleted(ResourceKey([2; 16])));
    assert_eq!(observe(&log, 2, 1, None).1, 100_000);
}

#[test]
fn a_directory_that_does_not_exist_is_an_error_that_contains_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_in_directory(&folder.path().join("missing"), RECORD_LIMIT).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}

/// A disk that fails when the flag is set.
#[derive(Debug)]
struct FailingDisk(InMemoryBackend, Arc<AtomicBool>);

impl FailingDisk {
    fn check(&self) -> std::io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(std::io::Error::other("failed")) } else { Ok(()) }
    }
}

impl StorageBackend for FailingDisk {
    fn len(&self) -> std::io::Result<u64> {
        self.check()?;
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.check()?;
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.check()?;
        self.0.set_len(length)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.0.write(offset, data)
    }

    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}

#[test]
fn a_failed_log_continues_in_memory_and_every_study_counts_as_new() {
    let (clock, has_failed) = (Arc::new(WallClock::default()), Arc::new(AtomicBool::new(false)));
    clock.set(10_000);
    let disk = FailingDisk(InMemoryBackend::new(), Arc::clone(&has_failed));
    let log = log(
        Records::open(Arc::new(RedbStore::with_backend(disk, true).unwrap()), RECORD_LIMIT).unwrap(),
        &clock,
    );
    let first = observe(&log, 1, 1, None);
    has_failed.store(true, Ordering::SeqCst);
    log.close();
    clock.set(5_000);
    let after_failure = observe(&log, 1, 1, None);
    assert_eq!(after_failure.0.id, first.0.id);
    assert!(after_failure.1 > first.1, "the time increases although the clock was set back");
    assert_eq!(observe(&log, 1, 1, None), after_failure, "the version is recorded in memory");
    assert!(log.metrics.to_text().contains("gateway_change_log_failures_total 1"));
}

#[tokio::test]
async fn observations_become_durable_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_mins(1));
    let open = |path: &Path| {
        ChangeLog::open(
            store::open(Some(path)).unwrap(),
            RECORD_LIMIT,
            Arc::clone(&clock) as SharedClock,
            Metrics::default(),
        )
        .unwrap()
    };
    let change_log = open(folder.path());
    let first = change_log.observe(vec![observation(1, 1, None)], None).await;
    while change_log.0.is_dirty.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    change_log.close().await;
    // The store still has the file open, so the test opens a copy.
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(folder.path().join("store.redb"), copy.path().join("store.redb")).unwrap();
    clock.advance(Duration::from_mins(1));
    assert_eq!(open(copy.path()).observe(vec![observation(1, 1, None)], None).await, first);
}

/// An event of a gateway, its archive, its client or its clock.
#[derive(Debug, Clone)]
enum Event {
    /// The rows of a study change, or its content, or both.
    StudyChanged { study: u8, rows: bool, content: bool },
    /// A study is read, with or without its content.
    StudyRead { study: u8, with_content: bool },
    /// A slow read returns rows of an earlier time.
    OldRowsRead { study: u8 },
    /// A read finds that the archive does not contain the study, which later returns unchanged.
    StudyMissing { study: u8 },
    /// The client requests changes, with or without content.
    ChangesRequested { with_content: bool },
    /// The clock moves by milliseconds, forwards or backwards.
    ClockMoved(i64),
    /// The gateway is stopped and started.
    Restarted,
    /// The gateway crashes, and writes that are not durable are lost.
    Crashed,
    /// The file of the store is lost.
    StoreLost,
}

fn event() -> impl Strategy<Value = Event> {
    let study = || 0..STUDIES;
    prop_oneof![
        6 => (study(), any::<bool>(), any::<bool>())
            .prop_map(|(study, rows, content)| Event::StudyChanged { study, rows: rows || !content, content }),
        4 => (study(), any::<bool>()).prop_map(|(study, with_content)| Event::StudyRead { study, with_content }),
        2 => study().prop_map(|study| Event::OldRowsRead { study }),
        1 => study().prop_map(|study| Event::StudyMissing { study }),
        6 => any::<bool>().prop_map(|with_content| Event::ChangesRequested { with_content }),
        4 => (-5_000_i64..5_000).prop_map(Event::ClockMoved),
        1 => Just(Event::Restarted),
        1 => Just(Event::Crashed),
        1 => Just(Event::StoreLost),
    ]
}

const STUDIES: u8 = 4;

/// The change log of a gateway, with its archive, its client and its clock.
struct Simulation {
    folder: tempfile::TempDir,
    clock: Arc<WallClock>,
    log: Option<Log>,
    /// The rows and the content of each study, now and before.
    archive: Vec<[(u8, u8); 2]>,
    /// The version id and the rows of each study that the client has received.
    client: Vec<Option<(VersionId, u8)>>,
    /// The time since which the client requests changes.
    changes_since: i64,
    /// The latest time that was reported to a client.
    latest_reported: i64,
    next_content: u8,
}

impl Simulation {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(WallClock::default());
        clock.set(1_000_000);
        let log = Some(log(open_in_directory(folder.path(), RECORD_LIMIT).unwrap(), &clock));
        let studies = usize::from(STUDIES);
        let (archive, client) = (vec![[(0, 0); 2]; studies], vec![None; studies]);
        Self { folder, clock, log, archive, client, changes_since: -1, latest_reported: 0, next_content: 1 }
    }

    fn observe(&mut self, study: u8, rows: u8, content: Option<u8>) -> (Version, i64) {
        let (version, since) = observe(self.log.as_ref().unwrap(), study, rows, content);
        self.latest_reported = self.latest_reported.max(since);
        (version, since)
    }

    /// Sets the clock later than all reported times: a client misses no change after the loss of the file only if the clock was
    /// not set back.
    fn correct_clock(&self) {
        self.clock.set(self.clock.get().max(self.latest_reported) + 1);
    }

    fn reopen(&mut self, folder: tempfile::TempDir) {
        self.log = Some(log(open_in_directory(folder.path(), RECORD_LIMIT).unwrap(), &self.clock));
        self.folder = folder;
    }

    fn apply(&mut self, event: &Event) {
        match *event {
            Event::StudyChanged { study, rows, content } => {
                let [current, _] = self.archive[usize::from(study)];
                self.next_content = self.next_content.wrapping_add(1);
                let changed = (
                    if rows { self.next_content } else { current.0 },
                    if content { self.next_content } else { current.1 },
                );
                self.archive[usize::from(study)] = [changed, current];
            }
            Event::StudyRead { study, with_content } => {
                let [(rows, content), _] = self.archive[usize::from(study)];
                self.observe(study, rows, with_content.then_some(content));
            }
            Event::OldRowsRead { study } => {
                let [_, (rows, _)] = self.archive[usize::from(study)];
                self.observe(study, rows, None);
            }
            Event::StudyMissing { study } => {
                if self.log.as_ref().unwrap().mark_deleted(ResourceKey([study; 16])) {
                    self.client[usize::from(study)] = None;
                }
            }
            Event::ChangesRequested { with_content } => {
                let requested_at = self.log.as_ref().unwrap().now();
                let request_time = requested_at.as_millisecond();
                self.latest_reported = self.latest_reported.max(request_time);
                for study in 0..STUDIES {
                    let [(rows, content), _] = self.archive[usize::from(study)];
                    let observed = [observation(study, rows, with_content.then_some(content))];
                    let version = self.log.as_ref().unwrap().observe(&observed, Some(requested_at))[0];
                    let since = version.last_updated.as_millisecond();
                    self.latest_reported = self.latest_reported.max(since);
                    if since > self.changes_since {
                        self.client[usize::from(study)] = Some((version.id, rows));
                    }
                }
                self.changes_since = request_time;
            }
            Event::ClockMoved(milliseconds) => {
                self.clock.set((self.clock.get() + milliseconds).max(0));
            }
            Event::Restarted => {
                self.log.take().unwrap().close();
                let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
                self.reopen(folder);
            }
            Event::Crashed => {
                let copy = tempfile::tempdir().unwrap();
                std::fs::copy(self.folder.path().join("store.redb"), copy.path().join("store.redb")).unwrap();
                self.log = None;
                self.correct_clock();
                self.reopen(copy);
            }
            Event::StoreLost => {
                self.log = None;
                self.correct_clock();
                self.reopen(tempfile::tempdir().unwrap());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_client_that_requests_changes_misses_no_change(events in prop::collection::vec(event(), 1..40)) {
        let mut simulation = Simulation::new();
        for event in &events {
            simulation.apply(event);
        }
        simulation.apply(&Event::ChangesRequested { with_content: true });
        for study in 0..STUDIES {
            let [(rows, content), _] = simulation.archive[usize::from(study)];
            let (current, _) = simulation.observe(study, rows, Some(content));
            let (known, known_rows) = simulation.client[usize::from(study)].expect("a study that was reported");
            prop_assert_eq!(known_rows, rows);
            // The client may have the version that the rows had before the content was fetched.
            let by_rows = VersionId::from_content(Fingerprint::from_bytes([rows; 16]), None);
            prop_assert!(known == current.id || known == by_rows, "{:?}", events);
        }
    }
}
