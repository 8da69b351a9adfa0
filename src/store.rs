//! State that survives a restart, behind one trait: tables of bytes, read in snapshots and written in transactions.
//!
//! Whatever is kept here knows its own keys and values; the store knows nothing of studies, and nothing above it knows how the bytes
//! are kept. Its calls wait for the disk.

mod redb;

use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::redb::RedbStore;

/// A named set of entries, ordered by their keys, byte by byte. The name carries the revision of what is written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreTable(&'static str);

impl StoreTable {
    /// The table of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

/// When a transaction survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As soon as it is committed, and with it all that was committed before.
    Immediate,
    /// When a later transaction does.
    Eventual,
}

/// Why the store did not do what was asked. No part of what was to be written was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// An entry is not as it was written.
    pub fn malformed(what: &'static str) -> Self {
        Self(what.into())
    }
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or created.
    #[error("the store {file} cannot be opened: {source}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no store, or another gateway has it open.
    #[error(
        "the store {file} cannot be read: {source}. Each gateway needs a directory of its own. A file that is broken can be \
         removed: clients that follow changes then get every study once more",
        file = file.display()
    )]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// There is no memory for one.
    #[error("the store cannot be made: {0}")]
    Memory(#[from] StoreError),
}

/// A store. One process at a time has it open.
pub trait Store: fmt::Debug + Send + Sync {
    /// Whether anything survives the process.
    fn is_durable(&self) -> bool;

    /// All entries as they are now, whatever is written meanwhile.
    fn read(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;

    /// Begins to write. Writers wait for one another; what is not committed was never written.
    fn write(&self, durability: Durability) -> Result<Box<dyn Transaction + '_>, StoreError>;
}

/// Entries at one moment.
pub trait Snapshot {
    /// The table; an empty one where nothing was ever written.
    fn table(&self, table: StoreTable) -> Result<Box<dyn ReadTable + '_>, StoreError>;
}

/// A batch of writes that is done as a whole.
pub trait Transaction {
    /// The table, which is there from then on. Each may be open once at a time.
    fn table(&self, table: StoreTable) -> Result<Box<dyn WriteTable + '_>, StoreError>;

    /// Does what was written.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// Takes an entry, key and value, and says whether the next one is wanted.
pub type Each<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Reads one table.
pub trait ReadTable {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Hands each entry from the key `from` on to `each`, key and value, in the order of the keys, until it breaks.
    fn scan(&self, from: &[u8], each: &mut Each<'_>) -> Result<(), StoreError>;

    /// How many entries there are.
    fn count(&self) -> Result<u64, StoreError>;
}

/// Reads and writes one table.
pub trait WriteTable: ReadTable {
    /// Writes an entry in the place of the one with the same key.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Takes an entry out, if there is one.
    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError>;
}

/// The store in this directory, which must be there, or one in memory.
pub fn open(directory: Option<&Path>) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match directory {
        Some(directory) => Arc::new(RedbStore::in_directory(directory)?),
        None => Arc::new(RedbStore::in_memory()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: StoreTable = StoreTable::new("test.1");

    fn entries(store: &dyn Store, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        let snapshot = store.read().unwrap();
        let table = snapshot.table(TABLE).unwrap();
        let mut each = |key: &[u8], value: &[u8]| {
            entries.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        table.scan(from, &mut each).unwrap();
        entries
    }

    fn put(store: &dyn Store, durability: Durability, key: &[u8]) {
        let write = store.write(durability).unwrap();
        write.table(TABLE).unwrap().put(key, b"value").unwrap();
        write.commit().unwrap();
    }

    #[test]
    fn entries_are_read_in_the_order_of_their_keys() {
        let store = open(None).unwrap();
        assert!(!store.is_durable());
        assert_eq!(entries(&*store, b""), [], "a table that was never written is empty");
        for key in [&b"b"[..], b"\xff", b"a", b"ab"] {
            put(&*store, Durability::Eventual, key);
        }
        let keys: Vec<_> = entries(&*store, b"ab").into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, [&b"ab"[..], b"b", b"\xff"]);
        let snapshot = store.read().unwrap();
        let write = store.write(Durability::Eventual).unwrap();
        {
            let mut table = write.table(TABLE).unwrap();
            table.remove(b"b").unwrap();
            table.remove(b"nothing").unwrap();
            assert_eq!((table.get(b"b").unwrap(), table.count().unwrap()), (None, 3));
        }
        write.commit().unwrap();
        assert!(snapshot.table(TABLE).unwrap().get(b"b").unwrap().is_some(), "a snapshot stays as it was");
    }

    #[test]
    fn a_transaction_that_is_not_committed_wrote_nothing() {
        let store = open(None).unwrap();
        put(&*store, Durability::Eventual, b"a");
        let write = store.write(Durability::Immediate).unwrap();
        write.table(TABLE).unwrap().put(b"b", b"value").unwrap();
        drop(write);
        assert_eq!(entries(&*store, b"").len(), 1);
    }

    #[test]
    fn a_store_in_a_directory_survives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(Some(folder.path())).unwrap();
        assert!(store.is_durable());
        put(&*store, Durability::Eventual, b"a");
        put(&*store, Durability::Immediate, b"b");
        drop(store);
        assert_eq!(entries(&*open(Some(folder.path())).unwrap(), b"").len(), 2);
    }
}
