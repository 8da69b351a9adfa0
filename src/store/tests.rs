//! Tests what every store must do, and what happens to files that cannot be used.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::*;

mod postgres;

const TABLE: StoreTable = StoreTable::new("change_log_record");

fn settings(file: &Path) -> StoreSettings {
    StoreSettings::new(StoreLocation::Sqlite(file.to_owned()), Duration::from_mins(10))
}

fn clock() -> SharedClock {
    Arc::new(crate::clock::ManualClock::default())
}

async fn open_file(file: &Path) -> Arc<dyn Store> {
    open(&settings(file), clock()).await.unwrap()
}

/// Runs statements in the database `file`, as another program would.
async fn run_sql(file: &Path, sql: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn entries(store: &dyn Store) -> Vec<Entry> {
    store.scan(TABLE, b"", 10_000).await.unwrap()
}

async fn try_put(store: &dyn Store, durability: Durability, entries: &[Entry]) -> Result<(), StoreError> {
    let mut transaction = store.begin(durability).await?;
    transaction.put_many(TABLE, entries).await?;
    transaction.commit().await
}

async fn put(store: &dyn Store, durability: Durability, key: &[u8]) {
    try_put(store, durability, &[(key.to_vec(), b"value".to_vec())]).await.unwrap();
}

/// Asserts that `store`, which is empty, behaves like every store.
async fn assert_is_a_store(store: &dyn Store) {
    assert_eq!(entries(store).await, []);
    for key in [&b"b"[..], b"\xff", b"a", b"ab"] {
        put(store, Durability::Eventual, key).await;
    }
    let keys: Vec<_> = store.scan(TABLE, b"ab", 2).await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [&b"ab"[..], b"b"], "the order of the keys, and the limit");
    let wanted = [b"b".to_vec(), b"missing".to_vec(), b"a".to_vec(), b"b".to_vec()];
    let value = Some(b"value".to_vec());
    assert_eq!(
        store.get_many(TABLE, &wanted).await.unwrap(),
        [value.clone(), None, value.clone(), value.clone()]
    );

    let mut transaction = store.begin(Durability::Immediate).await.unwrap();
    transaction.put_many(TABLE, &[(b"a".to_vec(), b"new".to_vec())]).await.unwrap();
    transaction.remove_many(TABLE, &[b"b".to_vec(), b"nothing".to_vec()]).await.unwrap();
    let seen = transaction.get_many(TABLE, &wanted).await.unwrap();
    assert_eq!(seen, [None, None, Some(b"new".to_vec()), None], "the transaction sees its own writes");
    assert_eq!(transaction.scan(TABLE, b"b", 9).await.unwrap().len(), 1);
    drop(transaction);
    assert_eq!(
        store.get_many(TABLE, &wanted).await.unwrap(),
        [value.clone(), None, value.clone(), value],
        "a transaction that was not committed has an effect"
    );

    let many: Vec<_> = (0..1000_u32).map(|number| (number.to_be_bytes().to_vec(), vec![7; 3])).collect();
    try_put(store, Durability::Eventual, &many).await.unwrap();
    let keys: Vec<_> = many.iter().map(|(key, _)| key.clone()).collect();
    assert!(store.get_many(TABLE, &keys).await.unwrap().iter().all(Option::is_some));
    let large = vec![(b"large".to_vec(), vec![1; 20 << 20])];
    try_put(store, Durability::Eventual, &large).await.unwrap();
    assert_eq!(store.get_many(TABLE, &[b"large".to_vec()]).await.unwrap(), [Some(large[0].1.clone())]);
    let mut transaction = store.begin(Durability::Eventual).await.unwrap();
    transaction.remove_many(TABLE, &keys).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(entries(store).await.len(), 5);
    store.make_durable().await.unwrap();

    let secret_text = |secret: secrecy::SecretString| secret.expose_secret().to_owned();
    let first = secret_text(secret(store).await.unwrap());
    assert_eq!(first.len(), 64);
    assert_eq!(secret_text(secret(store).await.unwrap()), first);
}

#[tokio::test]
async fn a_store_in_memory_is_a_store_that_does_not_survive() {
    let store = open_in_memory().await.unwrap();
    assert!(!store.is_durable());
    assert_is_a_store(&*store).await;
    let (first, second) = (secret(&*store).await, secret(&*open_in_memory().await.unwrap()).await);
    assert_ne!(first.unwrap().expose_secret(), second.unwrap().expose_secret());
}

#[tokio::test]
async fn a_store_in_a_file_survives_and_only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let store = open_file(&file).await;
    assert!(store.is_durable());
    assert_is_a_store(&*store).await;
    let first = secret(&*store).await.unwrap();
    #[cfg(unix)]
    for entry in fs::read_dir(folder.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    store.close().await;
    drop(store);
    let store = open_file(&file).await;
    assert_eq!(entries(&*store).await.len(), 5);
    assert_eq!(secret(&*store).await.unwrap().expose_secret(), first.expose_secret());
}

#[tokio::test]
async fn concurrent_transactions_are_serialized_and_make_one_secret() {
    let folder = tempfile::tempdir().unwrap();
    for store in [open_in_memory().await.unwrap(), open_file(&folder.path().join("gateway.db")).await] {
        let count = |_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut transaction = store.begin(Durability::Eventual).await.unwrap();
                let key = b"count".to_vec();
                let old =
                    transaction.get_many(TABLE, std::slice::from_ref(&key)).await.unwrap().pop().flatten();
                let new = vec![old.unwrap_or(vec![0])[0] + 1];
                transaction.put_many(TABLE, &[(key, new)]).await.unwrap();
                transaction.commit().await.unwrap();
                secret(&*store).await.unwrap().expose_secret().to_owned()
            })
        };
        let tasks: Vec<_> = (0..20).map(count).collect();
        let mut secrets = std::collections::BTreeSet::new();
        for task in tasks {
            secrets.insert(task.await.unwrap());
        }
        assert_eq!(secrets.len(), 1);
        assert_eq!(entries(&*store).await, [(b"count".to_vec(), vec![20])]);
    }
}

#[tokio::test]
async fn a_store_that_another_gateway_uses_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let store = open_file(&file).await;
    let error = open(&settings(&file), clock()).await.unwrap_err();
    assert!(error.source().is_none(), "the cause would be printed twice");
    let expected =
        format!("store.url: {} is used by another gateway; each gateway needs its own file", file.display());
    assert_eq!(error.to_string(), expected);
    verify(&settings(&file)).await.unwrap();
    drop(store);
    verify(&settings(&file)).await.unwrap();
    open_file(&file).await;
}

#[tokio::test]
async fn a_damaged_store_is_reported_and_is_renamed_unchanged_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    verify(&settings(&file)).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "a file was created");
    fs::write(&file, b"").unwrap();
    verify(&settings(&file)).await.unwrap();
    let content = vec![7; 10_000];
    fs::write(&file, &content).unwrap();
    let error = verify(&settings(&file)).await.unwrap_err();
    assert!(error.source().is_none(), "the cause would be printed twice");
    let text = error.to_string();
    let start = format!("store.url: {} is damaged or is not a store: ", file.display());
    assert!(text.starts_with(&start) && text.contains("receive every study once more"), "{text}");
    assert!(!text.contains("..") && !text.contains("another gateway"), "{text}");
    assert_eq!(fs::read(&file).unwrap(), content);

    for name in ["gateway.db.damaged-1", "gateway.db.damaged-2"] {
        let store = open_file(&file).await;
        assert!(store.is_durable());
        put(&*store, Durability::Immediate, b"a").await;
        store.close().await;
        drop(store);
        verify(&settings(&file)).await.unwrap();
        let store = open_file(&file).await;
        assert_eq!(entries(&*store).await.len(), 1);
        store.close().await;
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), content, "{name}");
        fs::write(&file, &content).unwrap();
    }
}

#[tokio::test]
async fn a_store_after_a_crash_is_valid_unless_it_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_file(&folder.path().join("gateway.db")).await;
    for number in 0..100_u32 {
        put(&*store, Durability::Immediate, &[&number.to_be_bytes()[..], &[1; 500]].concat()).await;
    }
    // A copy of the open files is equal to the files after a crash.
    let copy = tempfile::tempdir().unwrap();
    for name in ["gateway.db", "gateway.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let file = copy.path().join("gateway.db");
    let store = open_file(&file).await;
    assert_eq!(entries(&*store).await.len(), 100);
    store.close().await;
    verify(&settings(&file)).await.unwrap();
    let content = fs::read(&file).unwrap();
    fs::write(&file, &content[..content.len() / 2]).unwrap();
    assert!(matches!(verify(&settings(&file)).await, Err(OpenError::Damaged { .. })));
    fs::write(&file, &content[..3000]).unwrap();
    assert_eq!(entries(&*open_file(&file).await).await, []);
    assert!(copy.path().join("gateway.db.damaged-1").is_file());
}

#[tokio::test]
async fn a_new_file_does_not_continue_the_log_of_a_removed_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let store = open_file(&file).await;
    put(&*store, Durability::Immediate, b"a").await;
    let log = fs::read(folder.path().join("gateway.db-wal")).unwrap();
    store.close().await;
    drop(store);
    fs::remove_file(&file).unwrap();
    fs::write(folder.path().join("gateway.db-wal"), log).unwrap();
    assert_eq!(entries(&*open_file(&file).await).await, []);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_reported_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("gateway.db")).unwrap();
    for file in [folder.path().join("gateway.db"), folder.path().join("missing/gateway.db")] {
        let error = open(&settings(&file), clock()).await.unwrap_err();
        assert!(matches!(error, OpenError::File { .. }) && error.source().is_none(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("must be writable by the user that runs the gateway"), "{text}");
        assert_eq!(text.matches("os error").count(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_schema_of_a_later_version_is_refused_unless_it_is_compatible() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let store = open_file(&file).await;
    put(&*store, Durability::Immediate, b"a").await;
    store.close().await;
    drop(store);
    run_sql(&file, "INSERT INTO schema_migration VALUES (998, 1); CREATE TABLE later (a)").await;
    let store = open_file(&file).await;
    assert_eq!(entries(&*store).await.len(), 1, "a compatible later schema is not used");
    store.close().await;
    drop(store);
    run_sql(&file, "INSERT INTO schema_migration VALUES (999, 999)").await;
    for error in
        [open(&settings(&file), clock()).await.unwrap_err(), verify(&settings(&file)).await.unwrap_err()]
    {
        let text = error.to_string();
        assert!(text.contains("has the schema 999") && text.contains("Start that version again"), "{text}");
    }
    assert!(!folder.path().join("gateway.db.damaged-1").exists(), "the store was renamed");
}

#[tokio::test]
async fn a_database_of_another_program_is_neither_used_nor_renamed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.db");
    run_sql(&file, "CREATE TABLE places (url TEXT)").await;
    let content = fs::read(&file).unwrap();
    for error in
        [open(&settings(&file), clock()).await.unwrap_err(), verify(&settings(&file)).await.unwrap_err()]
    {
        assert!(error.to_string().contains("is a database of another program"), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), content);
}

#[tokio::test]
async fn a_full_store_reports_it_and_loses_nothing_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let store = SqliteStore::open(&file, &settings(&file)).await.unwrap();
    put(&store, Durability::Immediate, b"a").await;
    store.limit_size(30).await;
    let large: Vec<_> = (0..90_u8).map(|number| (vec![number], vec![number; 4000])).collect();
    let error = try_put(&store, Durability::Eventual, &large).await.unwrap_err();
    assert!(matches!(error, StoreError::Full) && error.to_string().contains("disk is full"), "{error:?}");
    assert_eq!(entries(&store).await.len(), 1, "a part of the transaction has an effect");
    store.limit_size(1 << 20).await;
    try_put(&store, Durability::Eventual, &large).await.unwrap();
    assert_eq!(entries(&store).await.len(), 91);
}

#[tokio::test]
async fn a_call_that_waits_for_its_turn_ends_at_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.db");
    let short = StoreSettings { timeout: Duration::from_millis(50), ..settings(&file) };
    drop(open_file(&file).await);
    let mut store = open(&short, clock()).await;
    while store.is_err() {
        store = open(&short, clock()).await;
    }
    let store = store.unwrap();
    let transaction = store.begin(Durability::Eventual).await;
    let error = store.begin(Durability::Eventual).await.err().unwrap();
    assert!(matches!(error, StoreError::Timeout(_)), "{error:?}");
    drop(transaction);
}

#[test]
fn a_damaged_file_is_renamed_with_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    for name in ["a.db", "a.db-wal", "a.db.damaged-1"] {
        fs::write(path(name), name).unwrap();
    }
    assert_eq!(sqlite::rename_damaged(&path("a.db")).unwrap(), path("a.db.damaged-2"));
    assert_eq!(fs::read_to_string(path("a.db.damaged-2-wal")).unwrap(), "a.db-wal");
    assert_eq!(fs::read_to_string(path("a.db.damaged-1")).unwrap(), "a.db.damaged-1");
}
