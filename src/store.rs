//! The store for state that survives a restart: a trait with tables of bytes, which are read and written in batches, and written
//! in transactions.
//!
//! Each module that uses the store defines its keys and values. The store does not depend on studies, and other modules do not
//! depend on the database. Every call has a deadline.

mod address;
mod error;
mod migrations;
mod postgres;
mod secret;
mod settings;
mod sqlite;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::clock::SharedClock;

pub use self::address::PostgresAddress;
pub use self::error::{OpenError, StoreError};
pub use self::postgres::PostgresStore;
pub use self::secret::secret;
pub use self::settings::{StoreLocation, StoreSettings};
pub use self::sqlite::SqliteStore;

/// A named set of entries, ordered by the bytes of their keys. A migration creates the table with this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreTable(&'static str);

impl StoreTable {
    /// Creates the identifier of the table `name`.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

/// The key and the value of an entry.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The time from which a transaction survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The transaction, and all transactions before it, survive a crash as soon as it is committed.
    Immediate,
    /// The transaction survives a crash as soon as a later transaction with [`Self::Immediate`] is committed. In a shared store
    /// it survives a crash as soon as it is committed.
    Eventual,
}

/// Where entries are, which determines what a crash may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// In the memory of the process: entries do not survive it.
    Memory,
    /// In a file of one process: a crash may lose transactions with [`Durability::Eventual`].
    File,
    /// In a database that several gateways use: a crash loses nothing that was committed.
    Shared,
}

/// The result of an operation of the store.
pub type StoreResult<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A store.
pub trait Store: fmt::Debug + Send + Sync {
    /// Returns where the entries are.
    fn kind(&self) -> StoreKind;

    /// Returns the value of each of `keys`, in their order.
    fn get_many<'a>(
        &'a self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>>;

    /// Returns the first `limit` entries from the key `from` on, in the order of their keys.
    fn scan<'a>(&'a self, table: StoreTable, from: &'a [u8], limit: usize) -> StoreResult<'a, Vec<Entry>>;

    /// Begins a transaction. Transactions are serialized, over all processes that use the store; a transaction that is not
    /// committed has no effect.
    fn begin(&self, durability: Durability) -> StoreResult<'_, Box<dyn Transaction>>;

    /// Makes all committed transactions survive a crash.
    fn make_durable(&self) -> StoreResult<'_, ()>;

    /// Closes the connections. The store must not be used after that.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A batch of reads and writes. Either all or none of the writes take effect, and no other transaction comes between them.
pub trait Transaction: Send {
    /// Does the same as [`Store::get_many`], and sees the writes of the transaction.
    fn get_many<'a>(
        &'a mut self,
        table: StoreTable,
        keys: &'a [Vec<u8>],
    ) -> StoreResult<'a, Vec<Option<Vec<u8>>>>;

    /// Does the same as [`Store::scan`], and sees the writes of the transaction.
    fn scan<'a>(&'a mut self, table: StoreTable, from: &'a [u8], limit: usize)
    -> StoreResult<'a, Vec<Entry>>;

    /// Writes entries, and replaces entries with the same keys. The keys differ.
    fn put_many<'a>(&'a mut self, table: StoreTable, entries: &'a [Entry]) -> StoreResult<'a, ()>;

    /// Removes the entries with these keys, if they exist.
    fn remove_many<'a>(&'a mut self, table: StoreTable, keys: &'a [Vec<u8>]) -> StoreResult<'a, ()>;

    /// Commits the writes.
    fn commit(self: Box<Self>) -> StoreResult<'static, ()>;
}

impl dyn Store + '_ {
    /// Whether entries survive the process.
    pub fn is_durable(&self) -> bool {
        self.kind() != StoreKind::Memory
    }
}

/// Opens the store, and creates it if it does not exist. A damaged file is renamed, and an empty store takes its place: without
/// its entries every resource counts as new, so no change is lost.
pub async fn open(settings: &StoreSettings, clock: SharedClock) -> Result<Arc<dyn Store>, OpenError> {
    match &settings.location {
        StoreLocation::Memory => open_in_memory().await,
        StoreLocation::Sqlite(file) => match SqliteStore::open(file, settings).await {
            Ok(store) => Ok(Arc::new(store)),
            Err(OpenError::Damaged { error, .. }) => replace(settings, &error).await,
            Err(error) => Err(error),
        },
        StoreLocation::Postgres(address) => {
            Ok(Arc::new(PostgresStore::open(address, settings, clock).await?))
        }
    }
}

/// Creates an empty store in memory.
pub async fn open_in_memory() -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(SqliteStore::in_memory().await.map_err(OpenError::Memory)?))
}

/// Renames the file of the store, which is damaged according to `error` and is closed, and opens an empty store in its place. The
/// damaged file must not be used again: it does not contain what is written to the new one. A store that is not in a file is not
/// replaced.
pub async fn replace(settings: &StoreSettings, error: &StoreError) -> Result<Arc<dyn Store>, OpenError> {
    let StoreLocation::Sqlite(file) = &settings.location else {
        let (store, error) = (settings.location.to_string(), StoreError::Corrupt(error.to_string()));
        return Err(OpenError::Unusable { store, error });
    };
    let renamed =
        sqlite::rename_damaged(file).map_err(|error| OpenError::File { file: file.clone(), error })?;
    tracing::warn!(
        file = %file.display(),
        renamed = %renamed.display(),
        %error,
        "the store is damaged or is not a store; it was renamed and an empty one takes its place, so clients that follow changes \
         receive every study once more, and Patient ids and page links are not valid any more unless fhir.keys is set"
    );
    Ok(Arc::new(SqliteStore::open(file, settings).await?))
}

/// Checks whether [`open`] can use the store, without changing its entries. A missing file, a file that this user may not read,
/// and a file that can be repaired are no errors.
pub async fn verify(settings: &StoreSettings) -> Result<(), OpenError> {
    match &settings.location {
        StoreLocation::Memory => Ok(()),
        StoreLocation::Sqlite(file) => SqliteStore::verify(file, settings).await,
        StoreLocation::Postgres(address) => PostgresStore::verify(address, settings).await,
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the integration tests use this file, too")]
#[path = "../tests/support/postgres.rs"]
pub(crate) mod test_postgres;
#[cfg(test)]
mod tests;
