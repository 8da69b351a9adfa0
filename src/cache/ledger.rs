//! The change ledger: since when each study is as it is. A PACS has no change feed, so what is told here is the moment at
//! which this gateway first saw the present content, and that never goes backwards.
//!
//! For each study one small record is kept: hashes of its UID, of its rows and of its content, a time, and whether it is
//! gone. No identifier, name or date of a patient goes in, not even a UID. With a state directory the records survive a
//! restart; a loss of them is harmless, as everything then counts as seen just now: a client that asks for what has
//! changed gets a study once too often and never once too few.
//!
//! Writes become durable in batches, a second late. What a crash loses is that some studies were seen at some time: they
//! are seen again, at a later time, and are told of again. It may also have lost that a study's content was looked at, so
//! that after a crash the first look at the content of a study that had been listed only counts as a change. The latest time stands in the file, so that none is handed out
//! twice when the clock is set back; only a clock that is set back while a crash loses that time can make a client miss
//! something.

mod record;
mod store;
mod version;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

pub use store::LedgerError;
pub use version::{Version, VersionId};

use crate::archive::ArchiveId;
use crate::cache::Fingerprint;
use crate::clock::SharedClock;
use crate::dicom::StudyUid;
use crate::telemetry::Metrics;
use record::Record;
use store::{Store, StoreError};

/// How long a write may wait for others before all of them are made durable together.
const DURABLE_WITHIN: Duration = Duration::from_secs(1);

/// What a record is about: a hash of the resource's type and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject([u8; 16]);

impl Subject {
    /// A study.
    pub fn study(study: &StudyUid) -> Self {
        Self::named("ImagingStudy", study.as_str())
    }

    /// The Endpoint of an archive.
    pub fn endpoint(archive: &ArchiveId) -> Self {
        Self::named("Endpoint", archive.as_str())
    }

    fn named(kind: &str, id: &str) -> Self {
        Self(short_hash([kind.as_bytes(), b"/", id.as_bytes()]))
    }
}

/// A hash of a resource as it is rendered in full, of no version yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 16]);

impl ContentDigest {
    /// Of the resource's JSON.
    pub fn of(json: &[u8]) -> Self {
        Self(short_hash([json]))
    }
}

fn short_hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let mut short = [0; 16];
    short.iter_mut().zip(digest.finalize()).for_each(|(short, byte)| *short = byte);
    short
}

/// What was seen of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Of what.
    pub subject: Subject,
    /// Of the rows that tell of it, and of how they are read.
    pub fingerprint: Fingerprint,
    /// Of its content, when all of that was looked at.
    pub content: Option<ContentDigest>,
}

/// The ledger. Cloning it gives another handle to the same one.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Book>);

impl Ledger {
    /// The ledger in this directory, which must be there, or one in memory. It holds so many `entries` at most; the oldest
    /// are forgotten first, so that they count as new when they are seen again.
    pub fn open(
        directory: Option<&Path>,
        entries: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, LedgerError> {
        let store = match directory {
            Some(directory) => Store::in_directory(directory, entries)?,
            None => Store::in_memory(entries)?,
        };
        Ok(Self(Arc::new(Book::new(store, entries, clock, metrics)?)))
    }

    /// Notes what was seen, and says of each which version it is: the one that was known, with the time at which it was
    /// first seen, or a new one.
    pub async fn observe(&self, sights: Vec<Sight>) -> Vec<Version> {
        if sights.is_empty() {
            return Vec::new();
        }
        let seen = sights.clone();
        let versions = self.blocking(move |book| book.observe(&seen)).await;
        self.make_durable_soon();
        // A panic below was logged; then nothing is known, and everything is new.
        versions.unwrap_or_else(|| sights.iter().map(|sight| self.0.unknown(sight)).collect())
    }

    /// The same at the start, where nobody waits.
    pub fn observe_at_start(&self, sights: &[Sight]) -> Vec<Version> {
        self.0.observe(sights)
    }

    /// Notes that no archive holds the subject any more, if it was ever seen; whether it was. When it is seen again, that
    /// counts as a change.
    pub async fn mark_gone(&self, subject: Subject) -> bool {
        let was_seen = self.blocking(move |book| book.mark_gone(subject)).await;
        self.make_durable_soon();
        was_seen.unwrap_or(false)
    }

    /// This moment: no time that was handed out so far is later, and every one that will be is.
    pub async fn moment(&self) -> Timestamp {
        let moment = self.blocking(Book::moment).await;
        self.make_durable_soon();
        moment.unwrap_or_else(|| self.0.clock.now())
    }

    /// Makes durable what has been noted, and that nothing is missing: the last thing that is done.
    pub async fn close(&self) {
        self.blocking(Book::close).await;
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Book) -> T + Send + 'static) -> Option<T> {
        let book = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&book)).await.ok()
    }

    fn make_durable_soon(&self) {
        if !self.0.is_dirty.load(Ordering::Acquire) || self.0.is_flush_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let book = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(DURABLE_WITHIN).await;
            // Whoever dropped the ledger has closed the store, which makes it durable.
            let Some(book) = book.upgrade() else { return };
            book.is_flush_due.store(false, Ordering::Release);
            if book.is_dirty.load(Ordering::Acquire) {
                let _ = tokio::task::spawn_blocking(move || book.flush()).await;
            }
        });
    }
}

/// The ledger as one thread sees it. Its calls wait for the disk.
#[derive(Debug)]
struct Book {
    store: RwLock<Arc<Store>>,
    /// The latest time that was handed out, in milliseconds; a clock that is set back does not set it back.
    latest: Mutex<i64>,
    entries: u64,
    is_dirty: AtomicBool,
    is_flush_due: AtomicBool,
    clock: SharedClock,
    metrics: Metrics,
}

impl Book {
    fn new(
        mut store: Store,
        entries: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, LedgerError> {
        let latest = Mutex::new(store.begin_at(clock.now().as_millisecond())?);
        let (is_dirty, is_flush_due) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self {
            store: RwLock::new(Arc::new(store)),
            latest,
            entries,
            is_dirty,
            is_flush_due,
            clock,
            metrics,
        })
    }

    fn observe(&self, sights: &[Sight]) -> Vec<Version> {
        let records = self.attempt(|store| match store.known(sights)? {
            Some(records) => Ok(records),
            None => self.writing(|latest, now| store.note(sights, latest, now)),
        });
        match records {
            Some(records) => records.iter().map(Record::version).collect(),
            None => sights.iter().map(|sight| self.unknown(sight)).collect(),
        }
    }

    fn mark_gone(&self, subject: Subject) -> bool {
        let was_seen = self.attempt(|store| self.writing(|_, _| store.mark_gone(subject)));
        was_seen.unwrap_or(false)
    }

    fn moment(&self) -> Timestamp {
        let moment = self.attempt(|store| {
            self.writing(|latest, now| {
                *latest = now.max(*latest);
                store.keep_latest(*latest)?;
                Ok(*latest)
            })
        });
        version::timestamp(moment.unwrap_or_else(|| self.next_time()))
    }

    fn flush(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.attempt(Store::make_durable);
    }

    fn close(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.attempt(Store::end);
    }

    /// What is said of something when nothing can be looked up: that it is new.
    fn unknown(&self, sight: &Sight) -> Version {
        Record::first(sight, self.next_time()).version()
    }

    fn next_time(&self) -> i64 {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = self.clock.now().as_millisecond().max(latest.saturating_add(1));
        *latest
    }

    /// One writer at a time hands out times; the clock is read when it is this one's turn.
    fn writing<T>(
        &self,
        write: impl FnOnce(&mut i64, i64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_dirty.store(true, Ordering::Release);
        write(&mut latest, self.clock.now().as_millisecond())
    }

    /// Does `work`. A store that breaks is given up for an empty one in memory: then everything is new once more.
    fn attempt<T>(&self, work: impl Fn(&Store) -> Result<T, StoreError>) -> Option<T> {
        let store = Arc::clone(&self.store.read().unwrap_or_else(PoisonError::into_inner));
        let error = match work(&store) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        tracing::error!(%error, "the change ledger broke; it goes on in memory, and tells of every study as new");
        self.metrics.ledger_broke();
        let mut current = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &store) {
            *current = Arc::new(Store::in_memory(self.entries).ok()?);
        }
        let store = Arc::clone(&current);
        drop(current);
        work(&store).ok()
    }
}

#[cfg(test)]
mod tests;
