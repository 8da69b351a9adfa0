//! The store for state that survives a restart: a trait with tables of bytes, which are read in snapshots and written in
//! transactions.
//!
//! Each module that uses the store defines its keys and values. The store does not depend on studies, and other modules do not
//! depend on the file format. Calls block on the disk.

mod redb;
mod secret;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::redb::RedbStore;
pub use self::secret::secret;

/// A named set of entries, ordered by the bytes of their keys. The name contains the revision of the format of the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreTable(&'static str);

impl StoreTable {
    /// Creates the identifier of the table `name`.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }
}

/// The time from which a transaction survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The transaction, and all transactions before it, survive a crash as soon as it is committed.
    Immediate,
    /// The transaction survives a crash as soon as a later transaction with [`Self::Immediate`] is committed.
    Eventual,
}

/// The reason why an operation of the store failed. The transaction has no effect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// Creates the error for an entry that does not have the expected format.
    pub fn malformed(description: &'static str) -> Self {
        Self(description.into())
    }
}

/// The reason why the store cannot be opened. The messages contain the cause, which is therefore not a `source`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened, created or read.
    #[error(
        "cache.state_dir: {file} cannot be opened: {error}; the file and its directory must be writable by the user that runs \
         the gateway",
        file = file.display()
    )]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// Another process has the store open.
    #[error(
        "cache.state_dir: {directory} is used by another gateway; each gateway needs its own directory",
        directory = directory.display()
    )]
    InUse {
        /// The directory of the store.
        directory: PathBuf,
    },
    /// The file is not a store of this version.
    #[error(
        "cache.state_dir: {file} is damaged or is not a store of this version: {error}. `serve` renames the file and starts with \
         an empty store; clients that follow changes then receive every study once more",
        file = file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: StoreError,
    },
    /// The store in memory cannot be created.
    #[error("the store in memory cannot be created: {0}")]
    Memory(StoreError),
}

/// A store. Only one process at a time can open it.
pub trait Store: fmt::Debug + Send + Sync {
    /// Whether entries survive the process.
    fn is_durable(&self) -> bool;

    /// Returns a snapshot of all entries, which later writes do not change.
    fn read(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;

    /// Begins a transaction. Transactions are serialized; a transaction that is not committed has no effect.
    fn write(&self, durability: Durability) -> Result<Box<dyn Transaction + '_>, StoreError>;
}

/// The entries at one point in time.
pub trait Snapshot {
    /// Opens the table. A table that does not exist is empty.
    fn table(&self, table: StoreTable) -> Result<Box<dyn ReadTable + '_>, StoreError>;
}

/// A batch of writes, of which either all or none take effect.
pub trait Transaction {
    /// Opens the table, and creates it if it does not exist. A table can be open only once at a time.
    fn table(&self, table: StoreTable) -> Result<Box<dyn WriteTable + '_>, StoreError>;

    /// Commits the writes.
    fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A function that receives the key and the value of an entry, and decides whether to continue.
pub type EntryVisitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Reads one table.
pub trait ReadTable {
    /// Returns the value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Passes the entries from the key `from` on to `visit` in key order, until `visit` breaks.
    fn scan(&self, from: &[u8], visit: &mut EntryVisitor<'_>) -> Result<(), StoreError>;

    /// Returns the number of entries.
    fn count(&self) -> Result<u64, StoreError>;
}

/// Reads and writes one table.
pub trait WriteTable: ReadTable {
    /// Writes an entry, and replaces an entry with the same key.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Removes an entry, if it exists.
    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError>;
}

/// Opens the store in `directory`, which must exist, or creates a store in memory. A damaged file is renamed, and an empty store
/// takes its place: without its entries every resource counts as new, so no change is lost.
pub fn open(directory: Option<&Path>) -> Result<Arc<dyn Store>, OpenError> {
    let Some(directory) = directory else {
        return Ok(Arc::new(RedbStore::in_memory().map_err(OpenError::Memory)?));
    };
    match RedbStore::in_directory(directory) {
        Ok(store) => Ok(Arc::new(store)),
        Err(OpenError::Damaged { error, .. }) => replace(directory, &error),
        Err(error) => Err(error),
    }
}

/// Renames the file of the store in `directory`, which is damaged according to `error`, and opens an empty store in its place. The
/// damaged file must not be used again: it does not contain what is written to the new one.
pub fn replace(directory: &Path, error: &StoreError) -> Result<Arc<dyn Store>, OpenError> {
    let file = RedbStore::file_in(directory);
    let renamed = match rename_damaged(&file) {
        Ok(renamed) => renamed,
        Err(error) => return Err(OpenError::File { file, error }),
    };
    tracing::warn!(
        file = %file.display(),
        renamed = %renamed.display(),
        %error,
        "the store is damaged or is not a store of this version; it was renamed and an empty one takes its place, so clients that \
         follow changes receive every study once more"
    );
    Ok(Arc::new(RedbStore::in_directory(directory)?))
}

/// Renames a damaged file of a store to a name that no file has, and returns the name.
fn rename_damaged(file: &Path) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".damaged-{number}"));
        let name = PathBuf::from(name);
        // A symbolic link without a target is also a name that is taken.
        match fs::symlink_metadata(&name) {
            Ok(_) => number += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::rename(file, &name)?;
                return Ok(name);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Checks whether [`open`] can use the file in `directory`, without changing it. A missing file, a file that another process has
/// open or that this user may not read, and a file that can be repaired are no errors.
pub fn verify(directory: &Path) -> Result<(), OpenError> {
    RedbStore::verify(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: StoreTable = StoreTable::new("test.1");

    fn entries(store: &dyn Store, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        let snapshot = store.read().unwrap();
        let table = snapshot.table(TABLE).unwrap();
        let mut visit = |key: &[u8], value: &[u8]| {
            entries.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        table.scan(from, &mut visit).unwrap();
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
        assert_eq!(entries(&*store, b""), [], "a table that does not exist is empty");
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
        assert!(snapshot.table(TABLE).unwrap().get(b"b").unwrap().is_some(), "a snapshot does not change");
    }

    #[test]
    fn a_transaction_that_is_not_committed_has_no_effect() {
        let store = open(None).unwrap();
        put(&*store, Durability::Eventual, b"a");
        let write = store.write(Durability::Immediate).unwrap();
        write.table(TABLE).unwrap().put(b"b", b"value").unwrap();
        drop(write);
        assert_eq!(entries(&*store, b"").len(), 1);
    }

    #[test]
    fn entries_in_a_directory_survive_closing_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(Some(folder.path())).unwrap();
        assert!(store.is_durable());
        put(&*store, Durability::Eventual, b"a");
        put(&*store, Durability::Immediate, b"b");
        drop(store);
        assert_eq!(entries(&*open(Some(folder.path())).unwrap(), b"").len(), 2);
    }

    #[test]
    fn a_store_that_another_gateway_uses_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(Some(folder.path())).unwrap();
        let error = open(Some(folder.path())).unwrap_err();
        assert!(error.source().is_none(), "the cause would be printed twice");
        let expected = format!(
            "cache.state_dir: {} is used by another gateway; each gateway needs its own directory",
            folder.path().display()
        );
        assert_eq!(error.to_string(), expected);
        verify(folder.path()).unwrap();
        drop(store);
        verify(folder.path()).unwrap();
    }

    #[test]
    fn a_damaged_store_is_reported_and_is_renamed_unchanged_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        verify(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file was created");
        let file = folder.path().join("store.redb");
        std::fs::write(&file, b"").unwrap();
        verify(folder.path()).unwrap();
        let content = vec![7; 10_000];
        std::fs::write(&file, &content).unwrap();
        let error = verify(folder.path()).unwrap_err();
        assert!(error.source().is_none(), "the cause would be printed twice");
        let text = error.to_string();
        let start =
            format!("cache.state_dir: {} is damaged or is not a store of this version: ", file.display());
        assert!(text.starts_with(&start) && text.contains("receive every study once more"), "{text}");
        assert!(!text.contains("..") && !text.contains("another gateway"), "{text}");
        assert_eq!(std::fs::read(&file).unwrap(), content);

        for name in ["store.redb.damaged-1", "store.redb.damaged-2"] {
            let store = open(Some(folder.path())).unwrap();
            assert!(store.is_durable());
            put(&*store, Durability::Immediate, b"a");
            drop(store);
            verify(folder.path()).unwrap();
            assert_eq!(entries(&*open(Some(folder.path())).unwrap(), b"").len(), 1);
            assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), content, "{name}");
            std::fs::write(&file, &content).unwrap();
        }
    }

    #[test]
    fn a_store_after_a_crash_is_valid_unless_it_is_truncated() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(Some(folder.path())).unwrap();
        put(&*store, Durability::Immediate, b"a");
        // A copy of the open file is equal to the file after a crash.
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("store.redb");
        let content = std::fs::read(folder.path().join("store.redb")).unwrap();
        std::fs::write(&file, &content).unwrap();
        verify(copy.path()).unwrap();
        assert!(std::fs::read(&file).unwrap() == content, "the file was changed");
        std::fs::write(&file, &content[..3000]).unwrap();
        assert!(matches!(verify(copy.path()), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_reported_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store.redb")).unwrap();
        let error = open(Some(folder.path())).unwrap_err();
        assert!(matches!(error, OpenError::File { .. }) && error.source().is_none(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("must be writable by the user that runs the gateway"), "{text}");
        assert_eq!(text.matches("os error").count(), 1, "{text}");
    }
}
