//! The change log: since when each study is as it is. A PACS has no change feed, so what is reported here is the moment at
//! which this gateway first saw the present content, and that never goes backwards.
//!
//! For each study one small record is kept: hashes of its UID, of its rows and of its content, a time, and whether it is
//! gone. No identifier, name or date of a patient goes in, not even a UID. In a store that is durable the records survive a
//! restart; a loss of them is harmless, as everything then counts as seen just now: a client that asks for what has
//! changed gets a study once too often and never once too few.
//!
//! Writes become durable in batches, a second late. A crash may have lost that something was seen and reported, and the study
//! may be by now as it was before that; so after a crash every record counts as old, and every study as seen just now. The
//! latest time is in the store, so that none is handed out twice when the clock is set back; only a clock that is set back
//! while a crash loses that time can make a client miss something.
//!
//! It knows no archive and asks none: what was seen is handed in, as fingerprints and digests.

mod record;
mod records;
mod version;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

pub use version::{Version, VersionId};

use crate::clock::SharedClock;
use crate::fingerprint::{Fingerprint, short_hash};
use crate::store::{self, Store, StoreError};
use crate::telemetry::Metrics;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use record::Record;
use records::Records;

/// How long a write may wait for others before all of them are made durable together.
const DURABLE_WITHIN: Duration = Duration::from_secs(1);

/// What a record is about: a hash of the resource's type and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceKey([u8; 16]);

impl ResourceKey {
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

/// What was seen of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// Of what.
    pub resource: ResourceKey,
    /// Of the rows that tell of it, and of how they are read.
    pub fingerprint: Fingerprint,
    /// Of its content, when all of that was looked at.
    pub content: Option<ContentDigest>,
}

/// The change log. Cloning it gives another handle to the same one.
#[derive(Debug, Clone)]
pub struct ChangeLog(Arc<Log>);

impl ChangeLog {
    /// The log in `store`. It holds so many `entries` at most; the oldest are forgotten first, so that they count as new when
    /// they are seen again.
    pub fn open(
        store: Arc<dyn Store>,
        entries: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Log::new(Records::open(store, entries)?, entries, clock, metrics)?)))
    }

    /// Notes what was seen, and says of each which version it is: the one that was known, with the time at which it was
    /// first seen, or a new one.
    pub async fn observe(&self, observations: Vec<Observation>) -> Vec<Version> {
        if observations.is_empty() {
            return Vec::new();
        }
        let seen = observations.clone();
        let versions = self.blocking(move |log| log.observe(&seen)).await;
        self.make_durable_soon();
        // A panic below was logged; then nothing is known, and everything is new.
        versions
            .unwrap_or_else(|| observations.iter().map(|observation| self.0.unknown(observation)).collect())
    }

    /// The same at the start, where nobody waits.
    pub fn observe_at_start(&self, observations: &[Observation]) -> Vec<Version> {
        self.0.observe(observations)
    }

    /// Notes that no archive holds the resource any more, if it was ever seen; whether it was. When it is seen again, that
    /// counts as a change.
    pub async fn mark_gone(&self, resource: ResourceKey) -> bool {
        let was_seen = self.blocking(move |log| log.mark_gone(resource)).await;
        self.make_durable_soon();
        was_seen.unwrap_or(false)
    }

    /// This moment: no time that was handed out so far is later, and every one that will be is.
    pub async fn moment(&self) -> Timestamp {
        let moment = self.blocking(Log::moment).await;
        self.make_durable_soon();
        moment.unwrap_or_else(|| self.0.clock.now())
    }

    /// Makes durable what has been noted, and that nothing is missing: the last thing that is done.
    pub async fn close(&self) {
        self.blocking(Log::close).await;
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Log) -> T + Send + 'static) -> Option<T> {
        let log = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&log)).await.ok()
    }

    fn make_durable_soon(&self) {
        if !self.0.is_dirty.load(Ordering::Acquire) || self.0.is_flush_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(DURABLE_WITHIN).await;
            // Whoever dropped the log has closed the store, which makes it durable.
            let Some(log) = log.upgrade() else { return };
            log.is_flush_due.store(false, Ordering::Release);
            if log.is_dirty.load(Ordering::Acquire) && log.is_durable() {
                let _ = tokio::task::spawn_blocking(move || log.flush()).await;
            }
        });
    }
}

/// The log as one thread sees it. Its calls wait for the disk.
#[derive(Debug)]
struct Log {
    records: RwLock<Arc<Records>>,
    /// The latest time that was handed out, in milliseconds; a clock that is set back does not set it back.
    latest: Mutex<i64>,
    entries: u64,
    is_dirty: AtomicBool,
    is_flush_due: AtomicBool,
    clock: SharedClock,
    metrics: Metrics,
}

impl Log {
    fn new(
        mut records: Records,
        entries: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let latest = Mutex::new(records.begin_at(clock.now().as_millisecond())?);
        let (is_dirty, is_flush_due) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self {
            records: RwLock::new(Arc::new(records)),
            latest,
            entries,
            is_dirty,
            is_flush_due,
            clock,
            metrics,
        })
    }

    fn observe(&self, observations: &[Observation]) -> Vec<Version> {
        let noted = self.attempt(|records| match records.known(observations)? {
            Some(known) => Ok(known),
            None => self.writing(|latest, now| records.note(observations, latest, now)),
        });
        match noted {
            Some(records) => records.iter().map(Record::version).collect(),
            None => observations.iter().map(|observation| self.unknown(observation)).collect(),
        }
    }

    fn mark_gone(&self, resource: ResourceKey) -> bool {
        let was_seen = self.attempt(|records| self.writing(|_, _| records.mark_gone(resource)));
        was_seen.unwrap_or(false)
    }

    fn moment(&self) -> Timestamp {
        let moment = self.attempt(|records| {
            self.writing(|latest, now| {
                *latest = now.max(*latest);
                records.keep_latest(*latest)?;
                Ok(*latest)
            })
        });
        version::timestamp(moment.unwrap_or_else(|| self.next_time()))
    }

    fn flush(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.attempt(Records::make_durable);
    }

    fn close(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.attempt(Records::end);
    }

    /// What is said of something when nothing can be looked up: that it is new.
    fn unknown(&self, observation: &Observation) -> Version {
        Record::first(observation, self.next_time()).version()
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
    fn attempt<T>(&self, work: impl Fn(&Records) -> Result<T, StoreError>) -> Option<T> {
        let records = Arc::clone(&self.records.read().unwrap_or_else(PoisonError::into_inner));
        let error = match work(&records) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        tracing::error!(%error, "the change log broke; it goes on in memory, and every study counts as new");
        self.metrics.ledger_broke();
        let mut current = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &records) {
            let empty = store::open(None).ok()?;
            *current = Arc::new(Records::open(empty, self.entries).ok()?);
        }
        let records = Arc::clone(&current);
        drop(current);
        work(&records).ok()
    }

    fn is_durable(&self) -> bool {
        self.records.read().unwrap_or_else(PoisonError::into_inner).are_durable()
    }
}

#[cfg(test)]
mod tests;
