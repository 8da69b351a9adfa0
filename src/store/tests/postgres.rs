//! Tests the store in a real PostgreSQL: replicas, restarts, crashes and freezes.

use super::*;
use crate::store::test_postgres::Postgres;

const LONG: Duration = Duration::from_mins(10);

fn settings(postgres: &Postgres, timeout: Duration) -> StoreSettings {
    let address = PostgresAddress::parse(&postgres.url(), None).unwrap();
    StoreSettings::new(StoreLocation::Postgres(address), timeout)
}

async fn open_replica(postgres: &Postgres) -> Arc<dyn Store> {
    open(&settings(postgres, LONG), clock()).await.unwrap()
}

/// Runs statements in the database, as an administrator would.
async fn run_sql(postgres: &Postgres, sql: &str) {
    let options: sqlx::postgres::PgConnectOptions = postgres.url().parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_database_is_a_store_that_survives_and_that_replicas_share() {
    let Some(mut postgres) = Postgres::start() else { return };
    verify(&settings(&postgres, LONG)).await.unwrap();
    let (first, second) = tokio::join!(open_replica(&postgres), open_replica(&postgres));
    assert!(first.is_durable());
    assert_is_a_store(&*first).await;
    assert_eq!(entries(&*second).await.len(), 5);
    let secrets = tokio::join!(secret(&*first), secret(&*second));
    assert_eq!(secrets.0.unwrap().expose_secret(), secrets.1.unwrap().expose_secret());

    // The connections of both replicas are closed in a crash of the database, and nothing that was committed is lost.
    put(&*first, Durability::Eventual, b"c").await;
    postgres.kill();
    postgres.start_again();
    assert_eq!(entries(&*second).await.len(), 6);
    put(&*first, Durability::Eventual, b"d").await;
    assert_eq!(entries(&*second).await.len(), 7);
    verify(&settings(&postgres, LONG)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_replicas_are_serialized() {
    let Some(postgres) = Postgres::start() else { return };
    let replicas = [open_replica(&postgres).await, open_replica(&postgres).await];
    let add = |index: usize| {
        let store = Arc::clone(&replicas[index % 2]);
        tokio::spawn(async move {
            let mut transaction = store.begin(Durability::Eventual).await.unwrap();
            let key = b"count".to_vec();
            let old = transaction.get_many(TABLE, std::slice::from_ref(&key)).await.unwrap().pop().flatten();
            let new = vec![old.unwrap_or(vec![0])[0] + 1];
            transaction.put_many(TABLE, &[(key, new)]).await.unwrap();
            // Some transactions are given up.
            if !index.is_multiple_of(5) {
                transaction.commit().await.unwrap();
            }
        })
    };
    let tasks: Vec<_> = (0..50).map(add).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(entries(&*replicas[0]).await, [(b"count".to_vec(), vec![40])]);
}

#[tokio::test]
async fn a_later_schema_is_refused_unless_it_is_compatible() {
    let Some(postgres) = Postgres::start() else { return };
    let store = open_replica(&postgres).await;
    put(&*store, Durability::Eventual, b"a").await;
    run_sql(&postgres, "INSERT INTO dicomweb_gateway.schema_migration VALUES (998, 1)").await;
    assert_eq!(entries(&*open_replica(&postgres).await).await.len(), 1);
    run_sql(&postgres, "INSERT INTO dicomweb_gateway.schema_migration VALUES (999, 999)").await;
    let settings = settings(&postgres, LONG);
    for error in [open(&settings, clock()).await.unwrap_err(), verify(&settings).await.unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains("has the schema 999") && text.contains("Start that version again"), "{text}");
    }
    assert_eq!(entries(&*store).await.len(), 1, "a replica that runs already is affected");
}

#[tokio::test]
async fn a_user_that_may_not_create_tables_uses_those_that_exist() {
    let Some(postgres) = Postgres::start() else { return };
    open_replica(&postgres).await;
    run_sql(
        &postgres,
        "CREATE USER reader; GRANT USAGE ON SCHEMA dicomweb_gateway TO reader; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA dicomweb_gateway TO reader",
    )
    .await;
    let url = postgres.url().replace("gateway@", "reader@");
    let location = StoreLocation::Postgres(PostgresAddress::parse(&url, None).unwrap());
    let store = open(&StoreSettings::new(location, LONG), clock()).await.unwrap();
    put(&*store, Durability::Eventual, b"a").await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_or_respond_is_an_error_without_the_password() {
    let Some(postgres) = Postgres::start() else { return };
    let url = postgres.url().replace("gateway@", "gateway:geheim@").replace("/postgres", "/missing");
    let location = StoreLocation::Postgres(PostgresAddress::parse(&url, None).unwrap());
    let text = open(&StoreSettings::new(location.clone(), LONG), clock()).await.unwrap_err().to_string();
    assert!(
        text.starts_with("store.url: postgres://127.0.0.1:") && text.contains("does not exist"),
        "{text}"
    );
    drop(postgres);
    let text = open(&StoreSettings::new(location, LONG), clock()).await.unwrap_err().to_string();
    assert!(text.contains("refused") && !text.contains("geheim"), "{text}");
}

#[tokio::test]
async fn a_frozen_database_fails_calls_at_the_deadline_and_then_at_once_until_it_returns() {
    let Some(postgres) = Postgres::start() else { return };
    let clock = Arc::new(crate::clock::ManualClock::default());
    let address = PostgresAddress::parse(&postgres.url(), None).unwrap();
    let short = settings(&postgres, Duration::from_millis(200));
    open_replica(&postgres).await;
    let store = PostgresStore::new(&address, &short, Arc::clone(&clock) as SharedClock);
    while store.scan(TABLE, b"", 1).await.is_err() {
        clock.advance(Duration::from_mins(1));
        tokio::task::yield_now().await;
    }
    postgres.freeze();
    for _ in 0..3 {
        let error = store.scan(TABLE, b"", 1).await.unwrap_err();
        assert!(matches!(error, StoreError::Timeout(_)), "{error:?}");
    }
    for _ in 0..100 {
        let error = try_put(&store, Durability::Eventual, &[]).await.unwrap_err();
        assert!(matches!(error, StoreError::CircuitOpen(_)), "{error:?}");
    }
    postgres.thaw();
    while store.scan(TABLE, b"", 1).await.is_err() {
        clock.advance(Duration::from_mins(1));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_replica_that_stops_in_a_transaction_does_not_block_the_others() {
    let Some(postgres) = Postgres::start() else { return };
    let waiting = open_replica(&postgres).await;
    let address = PostgresAddress::parse(&postgres.url(), None).unwrap();
    let stopped = PostgresStore::new(&address, &settings(&postgres, Duration::from_secs(2)), clock());
    let mut transaction = stopped.begin(Durability::Eventual).await;
    while transaction.is_err() {
        transaction = stopped.begin(Durability::Eventual).await;
    }
    // The server ends a transaction that is idle.
    put(&*waiting, Durability::Eventual, b"a").await;
    assert!(transaction.unwrap().put_many(TABLE, &[(b"b".to_vec(), vec![])]).await.is_err());
    assert_eq!(entries(&*waiting).await.len(), 1);
}
