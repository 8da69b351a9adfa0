//! The store implemented with redb, in one file or in memory.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageBackend, StorageError, TableDefinition, TableError, WriteTransaction,
};

use super::{
    Durability, EntryVisitor, OpenError, ReadTable, Snapshot, Store, StoreError, StoreTable, Transaction,
    WriteTable,
};

/// The name of the file in the directory of the store.
const FILE: &str = "store.redb";

/// Size of the page cache in bytes: enough for the inner pages of a million small entries.
const PAGE_CACHE_SIZE: usize = 8 << 20;

/// Converts the error type of each operation of redb.
impl<E: Into<::redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// The type of keys and values in redb.
type Bytes = &'static [u8];

fn definition(table: StoreTable) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(table.0)
}

/// A redb database.
#[derive(Debug)]
pub struct RedbStore {
    database: Database,
    is_durable: bool,
}

impl RedbStore {
    /// Creates a store in memory, which is lost at the end of the process.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::with_backend(InMemoryBackend::new(), false)
    }

    /// Returns the path of the file of the store in `directory`.
    pub(super) fn file_in(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Opens the store in `directory`, which must exist. Only the user of the gateway can read the file.
    pub fn in_directory(directory: &Path) -> Result<Self, OpenError> {
        let path = Self::file_in(directory);
        let file = match open_private_file(&path) {
            Ok(file) => file,
            Err(error) => return Err(OpenError::File { file: path, error }),
        };
        let database =
            FileBackend::new(file).and_then(create_database).map_err(|error| open_error(directory, error))?;
        Ok(Self { database, is_durable: true })
    }

    /// Implements [`verify`](super::verify).
    pub fn verify(directory: &Path) -> Result<(), OpenError> {
        let path = Self::file_in(directory);
        // A new store begins as an empty file.
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0) {
            return Ok(());
        }
        match Builder::new().set_cache_size(PAGE_CACHE_SIZE).open_read_only(&path) {
            Ok(_) | Err(DatabaseError::DatabaseAlreadyOpen) => Ok(()),
            // The gateway was not stopped properly. A copy of the file shows whether it can be repaired.
            Err(DatabaseError::RepairAborted) => {
                let content = fs::read(&path).map_err(|error| OpenError::File { file: path, error })?;
                let repaired =
                    copy_to_memory(&content).map_err(DatabaseError::from).and_then(create_database);
                repaired.map(drop).map_err(|error| open_error(directory, error))
            }
            Err(DatabaseError::Storage(StorageError::Io(error)))
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                Ok(())
            }
            Err(error) => Err(open_error(directory, error)),
        }
    }

    /// Creates a store with a backend of redb.
    pub fn with_backend(backend: impl StorageBackend, is_durable: bool) -> Result<Self, StoreError> {
        Ok(Self { database: create_database(backend)?, is_durable })
    }
}

fn copy_to_memory(content: &[u8]) -> Result<InMemoryBackend, StorageError> {
    let backend = InMemoryBackend::new();
    backend.set_len(u64::try_from(content.len()).unwrap_or(u64::MAX))?;
    backend.write(0, content)?;
    Ok(backend)
}

fn create_database(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(PAGE_CACHE_SIZE).create_with_backend(backend)
}

/// Converts an error of redb for the store in `directory`.
fn open_error(directory: &Path, error: DatabaseError) -> OpenError {
    let file = RedbStore::file_in(directory);
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::InUse { directory: directory.to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            OpenError::File { file, error }
        }
        error => OpenError::Damaged { file, error: error.into() },
    }
}

impl Store for RedbStore {
    fn is_durable(&self) -> bool {
        self.is_durable
    }

    fn read(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        Ok(Box::new(self.database.begin_read()?))
    }

    fn write(&self, durability: Durability) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let mut write = self.database.begin_write()?;
        write.set_durability(match durability {
            Durability::Immediate => ::redb::Durability::Immediate,
            Durability::Eventual => ::redb::Durability::None,
        })?;
        Ok(Box::new(write))
    }
}

impl Snapshot for ReadTransaction {
    fn table(&self, table: StoreTable) -> Result<Box<dyn ReadTable + '_>, StoreError> {
        match self.open_table(definition(table)) {
            Ok(table) => Ok(Box::new(Some(table))),
            Err(TableError::TableDoesNotExist(_)) => Ok(Box::new(None)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Transaction for WriteTransaction {
    fn table(&self, table: StoreTable) -> Result<Box<dyn WriteTable + '_>, StoreError> {
        Ok(Box::new(self.open_table(definition(table))?))
    }

    fn commit(self: Box<Self>) -> Result<(), StoreError> {
        Ok(Self::commit(*self)?)
    }
}

impl ReadTable for Option<ReadOnlyTable<Bytes, Bytes>> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.as_ref().map_or(Ok(None), |table| get(table, key))
    }

    fn scan(&self, from: &[u8], visit: &mut EntryVisitor<'_>) -> Result<(), StoreError> {
        self.as_ref().map_or(Ok(()), |table| scan(table, from, visit))
    }

    fn count(&self) -> Result<u64, StoreError> {
        Ok(self.as_ref().map_or(Ok(0), ReadableTableMetadata::len)?)
    }
}

impl ReadTable for ::redb::Table<'_, Bytes, Bytes> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self, key)
    }

    fn scan(&self, from: &[u8], visit: &mut EntryVisitor<'_>) -> Result<(), StoreError> {
        scan(self, from, visit)
    }

    fn count(&self) -> Result<u64, StoreError> {
        Ok(self.len()?)
    }
}

impl WriteTable for ::redb::Table<'_, Bytes, Bytes> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.insert(key, value)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), StoreError> {
        Self::remove(self, key)?;
        Ok(())
    }
}

fn get(table: &impl ReadableTable<Bytes, Bytes>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

fn scan(
    table: &impl ReadableTable<Bytes, Bytes>,
    from: &[u8],
    visit: &mut EntryVisitor<'_>,
) -> Result<(), StoreError> {
    for entry in table.range(from..)? {
        let (key, value) = entry?;
        if visit(key.value(), value.value()).is_break() {
            break;
        }
    }
    Ok(())
}

/// Opens the file, or creates it with permissions for the user of the gateway only.
fn open_private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}
