//! The embedded store: redb, in one file or in memory.

use std::fs::{File, OpenOptions};
use std::path::Path;

use ::redb::backends::{FileBackend, InMemoryBackend};
use ::redb::{
    Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageBackend, TableDefinition, TableError, WriteTransaction,
};

use super::{
    Durability, Each, OpenError, ReadTable, Snapshot, Store, StoreError, StoreTable, Transaction, WriteTable,
};

/// The file in the store's directory.
const FILE: &str = "store.redb";

/// Page cache in bytes: room for the inner pages of a million small entries.
const PAGES: usize = 8 << 20;

/// redb has one error type per operation, and one that covers them all.
impl<E: Into<::redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// Keys and values as redb sees them.
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
    /// A store that is lost with the process.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::over(InMemoryBackend::new(), false)
    }

    /// The store in this directory, which must exist. Only the gateway's own user may read the file.
    pub fn in_directory(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        let file = match private_file(&path) {
            Ok(file) => file,
            Err(source) => return Err(OpenError::File { file: path, source }),
        };
        let backend = FileBackend::new(file).map_err(StoreError::from);
        backend
            .and_then(|backend| Self::over(backend, true))
            .map_err(|source| OpenError::Unreadable { file: path, source })
    }

    /// A store on any backend of redb.
    pub fn over(backend: impl StorageBackend, is_durable: bool) -> Result<Self, StoreError> {
        let database = Builder::new().set_cache_size(PAGES).create_with_backend(backend)?;
        Ok(Self { database, is_durable })
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

    fn scan(&self, from: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        self.as_ref().map_or(Ok(()), |table| scan(table, from, each))
    }

    fn count(&self) -> Result<u64, StoreError> {
        Ok(self.as_ref().map_or(Ok(0), ReadableTableMetadata::len)?)
    }
}

impl ReadTable for ::redb::Table<'_, Bytes, Bytes> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self, key)
    }

    fn scan(&self, from: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        scan(self, from, each)
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
    each: &mut Each<'_>,
) -> Result<(), StoreError> {
    for entry in table.range(from..)? {
        let (key, value) = entry?;
        if each(key.value(), value.value()).is_break() {
            break;
        }
    }
    Ok(())
}

/// Opens the file, or creates it readable only for the gateway's own user.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}
