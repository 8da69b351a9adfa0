//! Tests replicas, which share a PostgreSQL database.

use super::*;
use crate::store::{PostgresAddress, PostgresStore};
use std::collections::BTreeMap;

const LONG: Duration = Duration::from_mins(10);

fn settings(postgres: &Postgres, timeout: Duration) -> StoreSettings {
    let address = PostgresAddress::parse(&postgres.url(), None).unwrap();
    StoreSettings::new(StoreLocation::Postgres(address), timeout)
}

pub(super) async fn open_store(postgres: &Postgres) -> Arc<dyn Store> {
    store::open(&settings(postgres, LONG), test_clock()).await.unwrap()
}

#[tokio::test]
async fn a_replica_that_starts_does_not_make_the_records_of_the_others_doubtful() {
    let Some(postgres) = Postgres::start() else { return };
    let clock = Arc::new(WallClock::default());
    clock.set(1_000);
    let first = log(open_store(&postgres).await, &clock).await;
    let version = observe(&first, 1, 1, Some(1)).await;
    clock.set(9_000);
    let second = log(open_store(&postgres).await, &clock).await;
    assert_eq!(observe(&second, 1, 1, Some(1)).await, version);
    // The first replica crashes.
    drop(first);
    assert_eq!(observe(&second, 1, 1, None).await, version);
    let third = log(open_store(&postgres).await, &clock).await;
    assert_eq!(observe(&third, 1, 1, Some(1)).await, version);
}

#[tokio::test]
async fn a_time_that_clients_of_two_replicas_received_is_not_assigned() {
    let Some(postgres) = Postgres::start() else { return };
    let clock = Arc::new(WallClock::default());
    let (first, second) =
        (log(open_store(&postgres).await, &clock).await, log(open_store(&postgres).await, &clock).await);
    clock.set(1_000);
    let search_time = first.now().await.unwrap();
    assert_eq!(observe_since(&first, search_time, 1, 1).await, 1_000);
    assert_eq!(second.now().await.unwrap(), search_time);
    assert_eq!(observe_since(&first, search_time, 2, 1).await, 1_001);
    clock.set(500);
    assert_eq!(observe(&second, 3, 1, None).await.1, 1_002, "the clock of the second replica is behind");
}

/// Something that a replica does.
#[derive(Debug, Clone)]
enum ReplicaEvent {
    StudyChanged(u8),
    StudyRead { replica: usize, study: u8, with_content: bool },
    StudyMissing { replica: usize, study: u8 },
    ChangesRequested { replica: usize, with_content: bool },
    ClockMoved { replica: usize, milliseconds: i64 },
    Restarted(usize),
}

const REPLICAS: usize = 3;

fn replica_event() -> impl Strategy<Value = ReplicaEvent> {
    let (study, replica) = (|| 0..STUDIES, || 0..REPLICAS);
    prop_oneof![
        6 => study().prop_map(ReplicaEvent::StudyChanged),
        4 => (replica(), study(), any::<bool>())
            .prop_map(|(replica, study, with_content)| ReplicaEvent::StudyRead { replica, study, with_content }),
        1 => (replica(), study()).prop_map(|(replica, study)| ReplicaEvent::StudyMissing { replica, study }),
        6 => (replica(), any::<bool>())
            .prop_map(|(replica, with_content)| ReplicaEvent::ChangesRequested { replica, with_content }),
        3 => (replica(), -5_000_i64..5_000)
            .prop_map(|(replica, milliseconds)| ReplicaEvent::ClockMoved { replica, milliseconds }),
        1 => replica().prop_map(ReplicaEvent::Restarted),
    ]
}

/// Asserts that a client, whose requests any replica answers, misses no change, and that times never decrease.
async fn assert_client_follows(postgres: &Postgres, events: &[ReplicaEvent]) {
    let clocks: Vec<_> = (0..REPLICAS).map(|_| Arc::new(WallClock::default())).collect();
    let mut logs = Vec::new();
    for clock in &clocks {
        clock.set(1_000_000);
        logs.push(log(open_store(postgres).await, clock).await);
    }
    let mut rows = vec![0_u8; usize::from(STUDIES)];
    let mut times = vec![0_i64; usize::from(STUDIES)];
    let (mut client, mut changes_since, mut next_row) = (BTreeMap::new(), -1, 1_u8);
    let last = ReplicaEvent::ChangesRequested { replica: 0, with_content: true };
    for event in events.iter().chain([&last]) {
        match *event {
            ReplicaEvent::StudyChanged(study) => {
                rows[usize::from(study)] = next_row;
                next_row = next_row.wrapping_add(1);
            }
            ReplicaEvent::StudyRead { replica, study, with_content } => {
                let row = rows[usize::from(study)];
                let (_, time) = observe(&logs[replica], study, row, with_content.then_some(row)).await;
                assert!(time >= times[usize::from(study)], "{events:?}");
                times[usize::from(study)] = time;
            }
            ReplicaEvent::StudyMissing { replica, study } => {
                if logs[replica].mark_deleted(ResourceKey([study; 16])).await.unwrap() {
                    client.remove(&study);
                }
            }
            ReplicaEvent::ChangesRequested { replica, with_content } => {
                let requested_at = logs[replica].now().await.unwrap();
                assert!(requested_at.as_millisecond() >= changes_since, "{events:?}");
                let observations: Vec<_> = (0..STUDIES)
                    .map(|study| {
                        let row = rows[usize::from(study)];
                        observation(study, row, with_content.then_some(row))
                    })
                    .collect();
                let versions = logs[replica].observe(&observations, Some(requested_at)).await.unwrap();
                for (study, version) in (0..STUDIES).zip(versions) {
                    let time = version.last_updated.as_millisecond();
                    assert!(time >= times[usize::from(study)], "{events:?}");
                    times[usize::from(study)] = time;
                    if time > changes_since {
                        client.insert(study, rows[usize::from(study)]);
                    }
                }
                changes_since = requested_at.as_millisecond();
            }
            ReplicaEvent::ClockMoved { replica, milliseconds } => {
                clocks[replica].set((clocks[replica].get() + milliseconds).max(0));
            }
            ReplicaEvent::Restarted(replica) => {
                logs[replica] = log(open_store(postgres).await, &clocks[replica]).await;
            }
        }
    }
    let expected: BTreeMap<_, _> = (0..STUDIES).zip(rows).collect();
    assert_eq!(client, expected, "{events:?}");
}

#[test]
fn a_client_of_several_replicas_misses_no_change() {
    let Some(postgres) = Postgres::start() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let events = prop::collection::vec(replica_event(), 1..40);
    proptest!(config, |(events in events)| {
        runtime.block_on(assert_client_follows(&postgres, &events));
    });
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_invented_and_afterwards_nothing_is_lost() {
    let Some(mut postgres) = Postgres::start() else { return };
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_mins(1));
    let open = async |store| {
        let clock = Arc::clone(&clock) as SharedClock;
        ChangeLog::open(store, RECORD_LIMIT, clock, Metrics::default()).await.unwrap()
    };
    let address = PostgresAddress::parse(&postgres.url(), None).unwrap();
    open_store(&postgres).await;
    let shared_clock = Arc::clone(&clock) as SharedClock;
    let store =
        Arc::new(PostgresStore::open(&address, &settings(&postgres, LONG), shared_clock).await.unwrap());
    let (change_log, other) = (open(store).await, open(open_store(&postgres).await).await);
    let observed = || vec![observation(1, 1, Some(1)), observation(2, 1, Some(1))];
    let before = change_log.observe(observed(), None).await.unwrap();

    postgres.kill();
    assert!(change_log.observe(observed(), None).await.is_err());
    assert!(change_log.now().await.is_err());
    assert!(!change_log.mark_deleted(ResourceKey([1; 16])).await);
    let listing = ListingKey::from_criteria(Vec::new());
    assert!(change_log.observe_listing(listing, None, std::iter::empty()).await.is_err());
    assert!(change_log.0.metrics.to_text().contains("gateway_change_log_failures_total 4"));

    postgres.start_again();
    clock.advance(Duration::from_mins(1));
    while !change_log.0.pending.get().is_empty() {
        tokio::task::yield_now().await;
    }
    let after = other.observe(observed(), None).await.unwrap();
    assert!(after[0].last_updated > before[0].last_updated, "the deletion was lost");
    assert_eq!((after[0].id, after[1]), (before[0].id, before[1]));
    assert_eq!(change_log.observe(observed(), None).await.unwrap(), after);
    assert!(change_log.now().await.unwrap() >= after[0].last_updated);
}
