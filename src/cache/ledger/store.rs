//! The records on disk or in memory, in redb: by subject, and by time so that the oldest can be forgotten.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};

use super::record::{LENGTH, Record};
use super::{Sight, Subject};

/// The names carry the revision of what is written under them.
const RECORDS: TableDefinition<'_, &[u8; 16], &[u8; LENGTH]> = TableDefinition::new("records.1");
const BY_TIME: TableDefinition<'_, (i64, &[u8; 16]), ()> = TableDefinition::new("by_time.1");
const TIMES: TableDefinition<'_, &str, i64> = TableDefinition::new("times.1");
const LATEST: &str = "latest";
/// Whether somebody has the store open, or was killed while they had.
const IS_OPEN: &str = "is_open";
/// The latest time before the last crash.
const DOUBTFUL: &str = "doubtful";

/// The file in the state directory.
const FILE: &str = "ledger.redb";

/// Pages that are kept in memory: the inner ones of a million records.
const PAGES: usize = 8 << 20;

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be opened or created.
    #[error("the change ledger {file} cannot be opened: {source}", file = file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no ledger, or another gateway has it open.
    #[error(
        "the change ledger {file} cannot be read: {source}. Each gateway needs a directory of its own. A file that is \
         broken can be removed: clients that follow changes then get every study once more",
        file = file.display()
    )]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// There is no memory for one.
    #[error("the change ledger cannot be made: {0}")]
    Memory(#[from] StoreError),
}

/// What redb could not do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(Box<redb::Error>);

/// redb has an error for each of its steps, and one that holds them all.
impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// The records.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    entries: u64,
    /// Records up to this time may have lost that their content was looked at.
    doubtful: i64,
}

impl Store {
    pub(super) fn in_memory(entries: u64) -> Result<Self, StoreError> {
        Self::over(InMemoryBackend::new(), entries)
    }

    pub(super) fn in_directory(directory: &Path, entries: u64) -> Result<Self, LedgerError> {
        let path = directory.join(FILE);
        let file = match private_file(&path) {
            Ok(file) => file,
            Err(source) => return Err(LedgerError::File { file: path, source }),
        };
        let store = FileBackend::new(file).map_err(StoreError::from);
        store
            .and_then(|backend| Self::over(backend, entries))
            .map_err(|source| LedgerError::Unreadable { file: path, source })
    }

    pub(super) fn over(backend: impl StorageBackend, entries: u64) -> Result<Self, StoreError> {
        let database = Builder::new().set_cache_size(PAGES).create_with_backend(backend)?;
        let mut store = Self { database, entries, doubtful: i64::MIN };
        // The tables are there from now on, or this is no ledger.
        let write = store.begin(Durability::Immediate)?;
        write.open_table(RECORDS)?;
        write.open_table(BY_TIME)?;
        write.open_table(TIMES)?;
        write.commit()?;
        store.doubtful = store.time(DOUBTFUL)?.unwrap_or(i64::MIN);
        Ok(store)
    }

    /// Begins to write at `now`, or later where later times were handed out already; that time.
    pub(super) fn begin_at(&mut self, now: i64) -> Result<i64, StoreError> {
        let latest = self.time(LATEST)?.unwrap_or(0).max(now);
        if self.time(IS_OPEN)? == Some(1) {
            self.doubtful = latest;
        }
        // What a crash lost is made up for by a clock that is right now; it may be set back before the next write.
        let write = self.begin(Durability::Immediate)?;
        {
            let mut times = write.open_table(TIMES)?;
            times.insert(LATEST, latest)?;
            times.insert(IS_OPEN, 1)?;
            times.insert(DOUBTFUL, self.doubtful)?;
        }
        write.commit()?;
        Ok(latest)
    }

    /// Makes durable what was written, and that nothing is missing.
    pub(super) fn end(&self) -> Result<(), StoreError> {
        let write = self.begin(Durability::Immediate)?;
        write.open_table(TIMES)?.insert(IS_OPEN, 0)?;
        Ok(write.commit()?)
    }

    fn time(&self, name: &str) -> Result<Option<i64>, StoreError> {
        let read = self.database.begin_read()?;
        let time = read.open_table(TIMES)?.get(name)?;
        Ok(time.map(|time| time.value()))
    }

    /// The records of what was seen, when it is all as it was known.
    pub(super) fn known(&self, sights: &[Sight]) -> Result<Option<Vec<Record>>, StoreError> {
        let read = self.database.begin_read()?;
        let records = read.open_table(RECORDS)?;
        let mut known = Vec::with_capacity(sights.len());
        for sight in sights {
            let Some(record) = find(&records, sight.subject)? else { return Ok(None) };
            if Record::after(Some(record), sight, i64::MAX, self.doubtful) != record {
                return Ok(None);
            }
            known.push(record);
        }
        Ok(Some(known))
    }

    /// Writes down what was seen at `now`, and what is forgotten for it. `latest` is the latest time so far, and is moved on.
    pub(super) fn note(
        &self,
        sights: &[Sight],
        latest: &mut i64,
        now: i64,
    ) -> Result<Vec<Record>, StoreError> {
        let write = self.begin(Durability::None)?;
        let now = now.max(latest.saturating_add(1));
        let mut noted = Vec::with_capacity(sights.len());
        {
            let mut records = write.open_table(RECORDS)?;
            let mut by_time = write.open_table(BY_TIME)?;
            for sight in sights {
                let known = find(&records, sight.subject)?;
                let record = Record::after(known, sight, now, self.doubtful);
                if known != Some(record) {
                    if let Some(known) = known {
                        by_time.remove((known.since, &sight.subject.0))?;
                    }
                    records.insert(&sight.subject.0, &record.to_bytes())?;
                    by_time.insert((record.since, &sight.subject.0), ())?;
                    *latest = record.since.max(*latest);
                }
                noted.push(record);
            }
            while records.len()? > self.entries {
                let Some((oldest, ())) = by_time.pop_first()?.map(|(key, _)| (key.value().1.to_owned(), ()))
                else {
                    break;
                };
                records.remove(&oldest)?;
            }
            write.open_table(TIMES)?.insert(LATEST, *latest)?;
        }
        write.commit()?;
        Ok(noted)
    }

    /// Writes down that the subject is gone, if it was ever seen. That is durable at once: a caller who was told so and a
    /// ledger that forgot it would miss that it has come back.
    pub(super) fn mark_gone(&self, subject: Subject) -> Result<bool, StoreError> {
        let read = self.database.begin_read()?;
        let Some(known) = find(&read.open_table(RECORDS)?, subject)? else { return Ok(false) };
        if !known.is_gone {
            let write = self.begin(Durability::Immediate)?;
            let gone = known.gone();
            write.open_table(RECORDS)?.insert(&subject.0, &gone.to_bytes())?;
            write.commit()?;
        }
        Ok(true)
    }

    /// Writes down that no earlier time may be handed out.
    pub(super) fn keep_latest(&self, latest: i64) -> Result<(), StoreError> {
        let write = self.begin(Durability::None)?;
        write.open_table(TIMES)?.insert(LATEST, latest)?;
        Ok(write.commit()?)
    }

    /// Makes durable what was written so far.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        Ok(self.begin(Durability::Immediate)?.commit()?)
    }

    fn begin(&self, durability: Durability) -> Result<WriteTransaction, StoreError> {
        let mut write = self.database.begin_write()?;
        write.set_durability(durability)?;
        Ok(write)
    }
}

fn find(
    records: &impl ReadableTable<&'static [u8; 16], &'static [u8; LENGTH]>,
    subject: Subject,
) -> Result<Option<Record>, StoreError> {
    Ok(records.get(&subject.0)?.map(|record| Record::of_bytes(record.value())))
}

/// Opens the file, or makes one that only the gateway's own user may read.
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
