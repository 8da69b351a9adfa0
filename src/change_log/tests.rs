//! Tests versions and times with clocks that jump, disks that fail, restarts and crashes.

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::store::test_postgres::Postgres;
use crate::store::{StoreLocation, StoreSettings};
use proptest::prelude::*;
use std::path::Path;
use test_store::{TestStore, copy_of};

mod replicas;
mod test_store;

const RECORD_LIMIT: u64 = 1000;

fn test_clock() -> SharedClock {
    Arc::new(ManualClock::default())
}

async fn in_memory() -> Arc<dyn Store> {
    store::open_in_memory().await.unwrap()
}

/// An empty store of each kind, and what they need to run.
struct Stores {
    all: Vec<Arc<dyn Store>>,
    _running: (tempfile::TempDir, Option<Postgres>),
}

impl Stores {
    async fn start() -> Self {
        let (folder, postgres) = (tempfile::tempdir().unwrap(), Postgres::start());
        let mut all = vec![in_memory().await, in_directory(folder.path()).await];
        if let Some(postgres) = &postgres {
            all.push(replicas::open_store(postgres).await);
        }
        Self { all, _running: (folder, postgres) }
    }
}

fn settings_in(directory: &Path) -> StoreSettings {
    let location = StoreLocation::Sqlite(directory.join("gateway.db"));
    StoreSettings::new(location, Duration::from_mins(10))
}

async fn in_directory(directory: &Path) -> Arc<dyn Store> {
    store::open(&settings_in(directory), test_clock()).await.unwrap()
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

async fn log(store: Arc<dyn Store>, clock: &Arc<WallClock>) -> Log {
    limited_log(store, RECORD_LIMIT, clock).await
}

async fn limited_log(store: Arc<dyn Store>, max_records: u64, clock: &Arc<WallClock>) -> Log {
    Log::open(store, max_records, Arc::clone(clock) as SharedClock, Metrics::default()).await.unwrap()
}

async fn close(log: &Log) {
    log.attempt(|records| async move { records.end_session().await }).await.unwrap();
    log.records.read().await.store().close().await;
}

async fn observe(log: &Log, study: u8, rows: u8, content: Option<u8>) -> (Version, i64) {
    let version = log.observe(&[observation(study, rows, content)], None).await.unwrap()[0];
    (version, version.last_updated.as_millisecond())
}

/// Observes a study in a search that received the time `search_time`. Returns the time of its version.
async fn observe_since(log: &Log, search_time: Timestamp, study: u8, rows: u8) -> i64 {
    log.observe(&[observation(study, rows, None)], Some(search_time)).await.unwrap()[0]
        .last_updated
        .as_millisecond()
}

#[tokio::test]
async fn a_study_that_is_first_observed_by_the_only_caller_with_a_time_has_this_time() {
    let stores = Stores::start().await;
    for store in &stores.all {
        let store = Arc::clone(store);
        let clock = Arc::new(WallClock::default());
        let log = log(store, &clock).await;
        clock.set(1_000);
        let search_time = log.now().await.unwrap();
        clock.set(2_000);
        assert_eq!(
            (observe_since(&log, search_time, 1, 1).await, observe_since(&log, search_time, 2, 1).await),
            (1_000, 1_000)
        );
        assert_eq!(observe_since(&log, search_time, 1, 1).await, 1_000);
        assert_eq!(
            observe_since(&log, search_time, 1, 2).await,
            2_000,
            "the study changed after the search time"
        );
        assert_eq!(observe_since(&log, search_time, 3, 1).await, 2_001, "a later time exists");
        clock.set(3_000);
        let search_time = log.now().await.unwrap();
        assert_eq!(observe_since(&log, search_time, 1, 3).await, 3_000);
        assert_eq!(observe_since(&log, search_time, 2, 1).await, 1_000);
        let observed = [observation(1, 4, None), observation(4, 1, None)];
        let versions = log.observe(&observed, Some(search_time)).await.unwrap();
        assert_eq!(
            versions.iter().map(|version| version.last_updated.as_millisecond()).collect::<Vec<_>>(),
            [3_001, 3_000]
        );
    }
}

#[tokio::test]
async fn a_time_that_is_past_or_that_another_caller_received_is_not_assigned() {
    let stores = Stores::start().await;
    for store in &stores.all {
        let store = Arc::clone(store);
        let clock = Arc::new(WallClock::default());
        let log = log(store, &clock).await;
        clock.set(1_000);
        let (first, second) = (log.now().await.unwrap(), log.now().await.unwrap());
        assert_eq!(first, second, "in the same millisecond");
        assert_eq!(observe_since(&log, first, 1, 1).await, 1_001);
        clock.set(2_000);
        let first = log.now().await.unwrap();
        clock.set(2_500);
        let second = log.now().await.unwrap();
        assert_eq!(observe_since(&log, first, 1, 2).await, 2_501, "another client has a later time");
        assert_eq!(observe_since(&log, second, 2, 1).await, 2_502, "a later time was assigned");
        clock.set(1_500);
        let set_back = log.now().await.unwrap();
        assert_eq!(observe_since(&log, set_back, 3, 1).await, 2_503, "the clock was set back");
        clock.set(9_000);
        let third = log.now().await.unwrap();
        assert_eq!(observe(&log, 4, 1, None).await.1, 9_001);
        assert_eq!(observe_since(&log, third, 5, 1).await, 9_002);
    }
}

#[tokio::test]
async fn a_version_keeps_its_time_until_its_content_changes() {
    let stores = Stores::start().await;
    for store in &stores.all {
        let store = Arc::clone(store);
        let clock = Arc::new(WallClock::default());
        let log = log(store, &clock).await;
        clock.set(10_000);
        let (first, since) = observe(&log, 1, 1, None).await;
        assert_eq!(since, 10_000, "the time of the clock");
        clock.set(20_000);
        assert_eq!(observe(&log, 1, 1, None).await.0, first);
        assert_eq!(observe(&log, 1, 1, Some(5)).await.1, 10_000, "fetching the content is not a change");
        clock.set(30_000);
        let (changed, since) = observe(&log, 1, 1, Some(6)).await;
        assert_eq!(since, 30_000, "only the content has changed");
        assert_eq!(observe(&log, 1, 1, None).await.0, changed);
        assert_eq!(observe(&log, 1, 2, None).await.1, 30_001);
    }
}

#[tokio::test]
async fn times_increase_even_if_the_clock_is_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(WallClock::default());
    clock.set(1_000_000);
    let before = {
        let log = log(in_directory(folder.path()).await, &clock).await;
        observe(&log, 1, 1, None).await;
        let now = log.now().await.unwrap().as_millisecond();
        clock.set(5_000);
        let since = observe(&log, 2, 1, None).await.1;
        assert!(since > now, "{since} {now}");
        since
    };
    let log = log(in_directory(folder.path()).await, &clock).await;
    assert!(log.now().await.unwrap().as_millisecond() >= before);
    assert!(observe(&log, 3, 1, None).await.1 > before);
}

#[tokio::test]
async fn records_survive_a_restart_in_a_file_that_only_its_owner_can_read() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(WallClock::default());
    clock.set(1_000);
    let first = {
        let log = log(in_directory(folder.path()).await, &clock).await;
        assert!(!log.mark_deleted(ResourceKey([1; 16])).await.unwrap());
        let first = observe(&log, 1, 1, Some(1)).await;
        observe(&log, 2, 1, None).await;
        assert!(log.mark_deleted(ResourceKey([2; 16])).await.unwrap());
        assert!(
            store::open(&settings_in(folder.path()), test_clock()).await.is_err(),
            "two gateways cannot share a file"
        );
        close(&log).await;
        first
    };
    clock.set(9_000);
    let log = log(in_directory(folder.path()).await, &clock).await;
    assert_eq!(observe(&log, 1, 1, None).await, first);
    assert!(log.mark_deleted(ResourceKey([2; 16])).await.unwrap());
    assert_eq!(observe(&log, 2, 1, None).await.1, 9_001, "the return of a deleted study is reported");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join("gateway.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn the_oldest_records_are_evicted_first_and_then_count_as_new() {
    let stores = Stores::start().await;
    for store in &stores.all {
        let store = Arc::clone(store);
        let clock = Arc::new(WallClock::default());
        clock.set(1_000);
        let log = limited_log(store, 3, &clock).await;
        for study in 1..=3 {
            observe(&log, study, 1, None).await;
        }
        observe(&log, 1, 2, None).await;
        observe(&log, 4, 1, None).await;
        clock.set(100_000);
        assert!(observe(&log, 1, 2, None).await.1 < 100_000);
        assert!(observe(&log, 3, 1, None).await.1 < 100_000);
        assert!(!log.mark_deleted(ResourceKey([2; 16])).await.unwrap());
        assert_eq!(observe(&log, 2, 1, None).await.1, 100_000);
    }
}

#[tokio::test]
async fn a_directory_that_does_not_exist_is_an_error_that_contains_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = store::open(&settings_in(&folder.path().join("missing")), test_clock())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("missing"), "{error}");
}

#[tokio::test]
async fn a_failed_log_continues_in_memory_and_every_study_counts_as_new() {
    let clock = Arc::new(WallClock::default());
    clock.set(10_000);
    let store = TestStore::new(in_memory().await);
    let log = log(Arc::clone(&store) as Arc<dyn Store>, &clock).await;
    let first = observe(&log, 1, 1, None).await;
    store.fail();
    log.flush().await;
    clock.set(5_000);
    let after_failure = observe(&log, 1, 1, None).await;
    assert_eq!(after_failure.0.id, first.0.id);
    assert!(after_failure.1 > first.1, "the time increases although the clock was set back");
    assert_eq!(observe(&log, 1, 1, None).await, after_failure, "the version is recorded in memory");
    assert!(log.metrics.to_text().contains("gateway_change_log_failures_total 1"));
}

#[tokio::test]
async fn observations_become_durable_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_mins(1));
    let open = async |path: &Path| {
        let (clock, store) = (Arc::clone(&clock) as SharedClock, in_directory(path).await);
        ChangeLog::open(store, RECORD_LIMIT, clock, Metrics::default()).await.unwrap()
    };
    let change_log = open(folder.path()).await;
    let first = change_log.observe(vec![observation(1, 1, None)], None).await.unwrap();
    while change_log.0.is_dirty.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    change_log.close().await;
    // The store still has the file open, so the test opens a copy.
    let copy = copy_of(folder.path());
    clock.advance(Duration::from_mins(1));
    let again = open(copy.path()).await.observe(vec![observation(1, 1, None)], None).await.unwrap();
    assert_eq!(again, first);
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
    store: Arc<TestStore>,
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
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(WallClock::default());
        clock.set(1_000_000);
        let store = TestStore::open(folder.path()).await;
        let log = Some(log(Arc::clone(&store) as Arc<dyn Store>, &clock).await);
        let studies = usize::from(STUDIES);
        let (archive, client) = (vec![[(0, 0); 2]; studies], vec![None; studies]);
        Self {
            folder,
            clock,
            store,
            log,
            archive,
            client,
            changes_since: -1,
            latest_reported: 0,
            next_content: 1,
        }
    }

    async fn observe(&mut self, study: u8, rows: u8, content: Option<u8>) -> (Version, i64) {
        let (version, since) = observe(self.log.as_ref().unwrap(), study, rows, content).await;
        self.latest_reported = self.latest_reported.max(since);
        (version, since)
    }

    /// Sets the clock later than all reported times: a client misses no change after the loss of the file only if the clock was
    /// not set back.
    fn correct_clock(&self) {
        self.clock.set(self.clock.get().max(self.latest_reported) + 1);
    }

    async fn reopen(&mut self, folder: tempfile::TempDir) {
        self.store = TestStore::open(folder.path()).await;
        self.log = Some(log(Arc::clone(&self.store) as Arc<dyn Store>, &self.clock).await);
        self.folder = folder;
    }

    async fn apply(&mut self, event: &Event) {
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
                self.observe(study, rows, with_content.then_some(content)).await;
            }
            Event::OldRowsRead { study } => {
                let [_, (rows, _)] = self.archive[usize::from(study)];
                self.observe(study, rows, None).await;
            }
            Event::StudyMissing { study } => {
                if self.log.as_ref().unwrap().mark_deleted(ResourceKey([study; 16])).await.unwrap() {
                    self.client[usize::from(study)] = None;
                }
            }
            Event::ChangesRequested { with_content } => {
                let requested_at = self.log.as_ref().unwrap().now().await.unwrap();
                let request_time = requested_at.as_millisecond();
                self.latest_reported = self.latest_reported.max(request_time);
                for study in 0..STUDIES {
                    let [(rows, content), _] = self.archive[usize::from(study)];
                    let observed = [observation(study, rows, with_content.then_some(content))];
                    let log = self.log.as_ref().unwrap();
                    let version = log.observe(&observed, Some(requested_at)).await.unwrap()[0];
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
                close(&self.log.take().unwrap()).await;
                self.store = TestStore::new(in_memory().await);
                let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
                self.reopen(folder).await;
            }
            Event::Crashed => {
                let remains = self.store.after_crash();
                self.log = None;
                self.correct_clock();
                self.reopen(remains).await;
            }
            Event::StoreLost => {
                self.log = None;
                self.correct_clock();
                self.reopen(tempfile::tempdir().unwrap()).await;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_client_that_requests_changes_misses_no_change(events in prop::collection::vec(event(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(assert_no_change_is_missed(&events))?;
    }
}

async fn assert_no_change_is_missed(events: &[Event]) -> Result<(), TestCaseError> {
    let mut simulation = Simulation::new().await;
    for event in events {
        simulation.apply(event).await;
    }
    simulation.apply(&Event::ChangesRequested { with_content: true }).await;
    for study in 0..STUDIES {
        let [(rows, content), _] = simulation.archive[usize::from(study)];
        let (current, _) = simulation.observe(study, rows, Some(content)).await;
        let (known, known_rows) = simulation.client[usize::from(study)].expect("a study that was reported");
        prop_assert_eq!(known_rows, rows);
        // The client may have the version that the rows had before the content was fetched.
        let by_rows = VersionId::from_content(Fingerprint::from_bytes([rows; 16]), None);
        prop_assert!(known == current.id || known == by_rows, "{:?}", events);
    }
    Ok(())
}
