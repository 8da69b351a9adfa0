//! The store as an SQLite database, in one file or in memory.
//!
//! One connection writes, so transactions are serialized. Reads from a file have connections of their own, which neither wait for
//! the writer nor delay it (write-ahead log). Only one process at a time has the file open, because a second one would not know
//! which records a crash of the first one has lost.

mod file;
mod statements;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};

use self::file::FileLock;
pub(super) use self::file::rename_damaged;
use super::migrations::{LATEST, MigrationPlan};
use super::{
    Durability, Entry, OpenError, Store, StoreError, StoreKind, StoreResult, StoreSettings, StoreTable,
    Transaction,
};

/// Marks the file as a store of the gateway (PRAGMA application_id): the letters DWGW.
const APPLICATION_ID: i32 = 0x4457_4757;

/// The number of connections that read a file: a read takes less than a millisecond.
const READER_COUNT: usize = 2;

/// The number of prepared statements of a connection: those of every table in each size of a batch.
const STATEMENT_CACHE: usize = 256;

/// The deadline of a store in memory, which waits for nothing but its turn.
const MEMORY_TIMEOUT: Duration = Duration::from_mins(1);

/// A store in an SQLite database.
pub struct SqliteStore {
    kind: StoreKind,
    writer: Arc<Mutex<Writer>>,
    /// The connections that read; empty for a store in memory, which has only one connection.
    readers: Vec<Mutex<Option<SqliteConnection>>>,
    next_reader: AtomicUsize,
    timeout: Duration,
    /// Locked while the store is open.
    lock: Mutex<Option<FileLock>>,
}

/// The connection that writes.
struct Writer {
    /// `None` after the store was closed.
    connection: Option<SqliteConnection>,
    /// Whether a transaction has begun that was neither committed nor rolled back.
    has_transaction: bool,
    /// The current value of PRAGMA synchronous.
    durability: Durability,
    /// A number that changes with each call of [`Store::make_durable`].
    durable_count: u32,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SqliteStore").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Creates an empty store in memory.
    pub async fn in_memory() -> Result<Self, StoreError> {
        let mut connection = options().in_memory(true).filename(":memory:").connect().await?;
        migrate(&mut connection).await?;
        Ok(Self::new(StoreKind::Memory, connection, Vec::new(), MEMORY_TIMEOUT, None))
    }

    /// Opens the store in `file`, and creates it if it does not exist. Its directory must exist.
    pub async fn open(file: &Path, settings: &StoreSettings) -> Result<Self, OpenError> {
        let lock = file::lock(file)?;
        file::create(file)?;
        let opened = tokio::time::timeout(settings.timeout, async {
            let mut writer = connect(file, settings.timeout).await?;
            let plan = migrate(&mut writer).await?;
            let mut readers = Vec::new();
            for _ in 0..READER_COUNT {
                readers.push(connect(file, settings.timeout).await?);
            }
            Ok((writer, plan, readers))
        });
        let opened: Result<_, StoreError> =
            opened.await.unwrap_or(Err(StoreError::Timeout(settings.timeout)));
        let (writer, plan, readers) = opened.map_err(|error| open_error(file, error))?;
        match plan {
            SchemaState::Usable => {}
            SchemaState::Foreign => return Err(OpenError::Foreign { file: file.to_owned() }),
            SchemaState::Newer(found) => return Err(newer(file, found)),
        }
        file::warn_about_earlier_store(file);
        Ok(Self::new(StoreKind::File, writer, readers, settings.timeout, Some(lock)))
    }

    /// Checks whether [`open`](Self::open) can use the file, without changing its entries.
    pub async fn verify(file: &Path, settings: &StoreSettings) -> Result<(), OpenError> {
        if !file::is_readable_database(file)? {
            return Ok(());
        }
        let state = async {
            let mut connection = options().busy_timeout(settings.timeout).filename(file).connect().await?;
            let state = schema_state(&mut connection).await?;
            if matches!(state, (SchemaState::Usable, _)) {
                let row = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
                let result: String = row.try_get(0)?;
                if result != "ok" {
                    return Err(StoreError::Corrupt(result));
                }
            }
            connection.close().await?;
            Ok(state.0)
        };
        match state.await.map_err(|error| open_error(file, error))? {
            SchemaState::Usable => Ok(()),
            SchemaState::Foreign => Err(OpenError::Foreign { file: file.to_owned() }),
            SchemaState::Newer(found) => Err(newer(file, found)),
        }
    }

    fn new(
        kind: StoreKind,
        writer: SqliteConnection,
        readers: Vec<SqliteConnection>,
        timeout: Duration,
        lock: Option<FileLock>,
    ) -> Self {
        let writer = Writer {
            connection: Some(writer),
            has_transaction: false,
            durability: Durability::Eventual,
            durable_count: 0,
        };
        Self {
            kind,
            writer: Arc::new(Mutex::new(writer)),
            readers: readers.into_iter().map(|reader| Mutex::new(Some(reader))).collect(),
            next_reader: AtomicUsize::new(0),
            timeout,
            lock: Mutex::new(lock),
        }
    }

    async fn read<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        within(self.timeout, async {
            let index = self.next_reader.fetch_add(1, Ordering::Relaxed) % self.readers.len().max(1);
            if let Some(reader) = self.readers.get(index) {
                let mut reader: MutexGuard<'_, Option<SqliteConnection>> = reader.lock().await;
                return Ok(work(reader.as_mut().ok_or_else(closed)?).await?);
            }
            let mut writer = self.writer.lock().await;
            writer.roll_back().await?;
            Ok(work(writer.connection()?).await?)
        })
        .await
    }

    async fn begin_transaction(&self, durability: Durability) -> Result<SqliteTransaction, StoreError> {
        within(self.timeout, async {
            let mut writer = Arc::clone(&self.writer).lock_owned().await;
            writer.begin(durability).await?;
            Ok(SqliteTransaction { writer, timeout: self.timeout })
        })
        .await
    }

    /// Commits a change, which makes the commits before it durable, too: all are in one write-ahead log.
    async fn commit_durable_change(&self) -> Result<(), StoreError> {
        if self.kind == StoreKind::Memory {
            return Ok(());
        }
        let mut transaction = self.begin_transaction(Durability::Immediate).await?;
        let writer = &mut transaction.writer;
        // The bits of the number are not used otherwise, but a write that changes nothing would not be synchronized.
        writer.durable_count = writer.durable_count.wrapping_add(1) % 0x7fff_ffff;
        let sql = format!("PRAGMA user_version = {}", writer.durable_count);
        within(self.timeout, async {
            Ok(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(writer.connection()?).await?)
        })
        .await?;
        Box::new(transaction).commit().await
    }
}

impl Store for SqliteStore {
    fn kind(&self) -> StoreKind {
        self.kind
    }

    fn get_many<'a>(
        &'a self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>> {
        let keys = keys.to_vec();
        self.read(move |connection| {
            async move { statements::get_many(connection, table, &keys).await }.boxed()
        })
        .boxed()
    }

    fn scan<'a>(&'a self, table: StoreTable, from: &'a [u8], limit: usize) -> StoreResult<'a, Vec<Entry>> {
        let from = from.to_vec();
        self.read(move |connection| {
            async move { statements::scan(connection, table, &from, limit).await }.boxed()
        })
        .boxed()
    }

    fn begin(&self, durability: Durability) -> StoreResult<'_, Box<dyn Transaction>> {
        async move { Ok(Box::new(self.begin_transaction(durability).await?) as Box<dyn Transaction>) }.boxed()
    }

    fn make_durable(&self) -> StoreResult<'_, ()> {
        self.commit_durable_change().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            for reader in &self.readers {
                if let Some(reader) = reader.lock().await.take() {
                    // An error of the last call is not lost: every commit has returned its own.
                    let _ = reader.close().await;
                }
            }
            if let Some(writer) = self.writer.lock().await.connection.take() {
                let _ = writer.close().await;
            }
            drop(self.lock.lock().await.take());
        }
        .boxed()
    }
}

impl Writer {
    fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        self.connection.as_mut().ok_or_else(closed)
    }

    /// Rolls back a transaction that was dropped before it was committed.
    async fn roll_back(&mut self) -> Result<(), StoreError> {
        if self.has_transaction {
            // There is no transaction any more if SQLite has rolled it back itself, or if a commit was dropped while it waited.
            let _ = sqlx::raw_sql("ROLLBACK").execute(self.connection()?).await;
            self.has_transaction = false;
        }
        Ok(())
    }

    async fn begin(&mut self, durability: Durability) -> Result<(), StoreError> {
        self.roll_back().await?;
        if self.durability != durability {
            let sql = match durability {
                Durability::Immediate => "PRAGMA synchronous = FULL",
                Durability::Eventual => "PRAGMA synchronous = NORMAL",
            };
            sqlx::raw_sql(sql).execute(self.connection()?).await?;
            self.durability = durability;
        }
        self.has_transaction = true;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(self.connection()?).await?;
        Ok(())
    }
}

/// A transaction, which has the connection that writes.
struct SqliteTransaction {
    writer: OwnedMutexGuard<Writer>,
    timeout: Duration,
}

impl SqliteTransaction {
    async fn run<'a, T>(
        &'a mut self,
        work: impl FnOnce(&'a mut SqliteConnection) -> BoxFuture<'a, Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let timeout = self.timeout;
        within(timeout, async { Ok(work(self.writer.connection()?).await?) }).await
    }
}

impl Transaction for SqliteTransaction {
    fn get_many<'a>(
        &'a mut self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>> {
        self.run(move |connection| statements::get_many(connection, table, keys).boxed()).boxed()
    }

    fn scan<'a>(
        &'a mut self,
        table: StoreTable,
        from: &'a [u8],
        limit: usize,
    ) -> StoreResult<'a, Vec<Entry>> {
        self.run(move |connection| statements::scan(connection, table, from, limit).boxed()).boxed()
    }

    fn put_many<'a>(&'a mut self, table: StoreTable, entries: &'a [Entry]) -> StoreResult<'a, ()> {
        self.run(move |connection| statements::put_many(connection, table, entries).boxed()).boxed()
    }

    fn remove_many<'a>(&'a mut self, table: StoreTable, keys: &'a [Vec<u8>]) -> StoreResult<'a, ()> {
        self.run(move |connection| statements::remove_many(connection, table, keys).boxed()).boxed()
    }

    fn commit(mut self: Box<Self>) -> StoreResult<'static, ()> {
        async move {
            self.run(|connection| {
                async move { sqlx::raw_sql("COMMIT").execute(connection).await.map(drop) }.boxed()
            })
            .await?;
            self.writer.has_transaction = false;
            Ok(())
        }
        .boxed()
    }
}

/// Whether this program can use the tables of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SchemaState {
    Usable,
    /// Another program has created them.
    Foreign,
    /// A later version has created them.
    Newer(i64),
}

async fn schema_state(connection: &mut SqliteConnection) -> Result<(SchemaState, MigrationPlan), StoreError> {
    let application: i32 =
        sqlx::query("PRAGMA application_id").fetch_one(&mut *connection).await?.try_get(0)?;
    let table_count: i64 =
        sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await?.try_get(0)?;
    if table_count == 0 {
        return Ok((SchemaState::Usable, MigrationPlan::of(0, 0)));
    }
    if application != APPLICATION_ID {
        return Ok((SchemaState::Foreign, MigrationPlan::None));
    }
    let row = sqlx::query("SELECT max(version), max(compatible_with) FROM schema_migration")
        .fetch_one(&mut *connection)
        .await?;
    let plan = MigrationPlan::of(row.try_get(0)?, row.try_get(1)?);
    Ok(match plan {
        MigrationPlan::TooNew(version) => (SchemaState::Newer(version), plan),
        plan => (SchemaState::Usable, plan),
    })
}

/// Brings the tables to the latest schema, unless another program has created them.
async fn migrate(connection: &mut SqliteConnection) -> Result<SchemaState, StoreError> {
    let (state, plan) = schema_state(connection).await?;
    if state != SchemaState::Usable {
        return Ok(state);
    }
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut *connection).await?;
    let migrations = plan.sql(|migration| migration.sqlite);
    let sql = format!(
        "BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; \
         CREATE TABLE IF NOT EXISTS schema_migration (version INTEGER PRIMARY KEY, compatible_with INTEGER NOT NULL); \
         {migrations} COMMIT;"
    );
    // Also without migrations, because the transaction shows that the file can be written.
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await?;
    Ok(state)
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .statement_cache_capacity(STATEMENT_CACHE)
        .pragma("synchronous", "NORMAL")
        .pragma("cache_size", "-4096")
        .pragma("journal_size_limit", "8388608")
        .disable_statement_logging()
}

async fn connect(file: &Path, timeout: Duration) -> Result<SqliteConnection, StoreError> {
    Ok(options().filename(file).busy_timeout(timeout.min(MEMORY_TIMEOUT)).connect().await?)
}

fn open_error(file: &Path, error: StoreError) -> OpenError {
    match error {
        error if error.is_damage() => OpenError::Damaged { file: file.to_owned(), error },
        error => OpenError::Unusable { store: file.display().to_string(), error },
    }
}

fn newer(file: &Path, found: i64) -> OpenError {
    OpenError::Newer { store: file.display().to_string(), found, known: LATEST }
}

fn closed() -> StoreError {
    StoreError::Malformed("the store is closed")
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(StoreError::Timeout(timeout)))
}

#[cfg(test)]
impl SqliteStore {
    /// Limits the size of the database, as a full disk does.
    pub(super) async fn limit_size(&self, pages: u32) {
        let mut writer = self.writer.lock().await;
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        sqlx::raw_sql(sql).execute(writer.connection().unwrap()).await.unwrap();
    }
}
