//! The change log: when the present content of each study was first seen. A PACS has no change feed, so the time reported here
//! is the time at which the gateway first saw that content, and it never decreases.
//!
//! For each study the log stores one small record: hashes of its UID, of its rows and of its content, a time, and whether the
//! study was deleted. It contains no identifier, name or date of a patient, not even a UID. In a durable store the records
//! survive a restart. Losing them is harmless, because every study then counts as just seen: a client that asks for changes may
//! receive a study twice but never misses one.
//!
//! A study that leaves an archive and returns unchanged is a change for a client that followed its list meanwhile; `listings` finds
//! it by the studies of the previous list.
//!
//! Writes become durable in batches, up to one second later. A crash may lose the record of content that was seen and reported,
//! and the study may have changed back since. So after a crash every record is doubtful, and every study counts as just seen.
//! The latest time is in the store, so that no time is used twice if the clock is set back. A client can miss a change only if
//! a crash loses that time and the clock is set back.
//!
//! The module does not query archives: observations are passed in, as fingerprints and digests.

mod last_updated;
mod listings;
mod stored_records;
mod version;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

pub use listings::ListingKey;
pub use version::{Version, VersionId};

use crate::clock::SharedClock;
use crate::fingerprint::{Fingerprint, short_hash};
use crate::store::{self, Store, StoreError};
use crate::telemetry::Metrics;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use last_updated::Record;
use stored_records::Records;

/// How long a write may wait, so that several become durable together.
const DURABLE_WITHIN: Duration = Duration::from_secs(1);

/// The subject of a record: a hash of the resource's type and id.
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

/// A hash of a complete resource without its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 16]);

impl ContentDigest {
    /// The digest of the resource's JSON.
    pub fn of(json: &[u8]) -> Self {
        Self(short_hash([json]))
    }
}

/// What was seen of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The resource.
    pub resource: ResourceKey,
    /// The fingerprint of the rows that describe it, and of the mapping rules.
    pub fingerprint: Fingerprint,
    /// The digest of its content, if all of it was fetched.
    pub content: Option<ContentDigest>,
}

/// The change log. Clones share the same log.
#[derive(Debug, Clone)]
pub struct ChangeLog(Arc<Log>);

impl ChangeLog {
    /// Opens the log in `store`. It holds at most `entries` records; the oldest are evicted first, and those resources count as
    /// new when they are seen again.
    pub fn open(
        store: Arc<dyn Store>,
        entries: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Log::new(Records::open(store, entries)?, entries, clock, metrics)?)))
    }

    /// Records observations and returns the version of each: the known one, with the time at which it was first seen, or a new
    /// one. New versions have the time `asked_at`, a [`moment`](Self::moment) before the archives were queried, if nothing else has
    /// or was given this time; then a client that next asks for changes since `asked_at` does not receive them again.
    pub async fn observe(&self, observations: Vec<Observation>, asked_at: Option<Timestamp>) -> Vec<Version> {
        if observations.is_empty() {
            return Vec::new();
        }
        let seen = observations.clone();
        let versions = self.blocking(move |log| log.observe(&seen, asked_at)).await;
        self.make_durable_soon();
        // A panic in the log was already reported; without a result everything is new.
        versions
            .unwrap_or_else(|| observations.iter().map(|observation| self.0.unknown(observation)).collect())
    }

    /// Records the complete list that a search by `_lastUpdated` found. A study that was in the list of the same search before and
    /// is missing now counts as deleted: when it is seen again, that is a change, which a client that follows the list receives.
    pub async fn observe_listing(&self, listing: ListingKey, studies: impl Iterator<Item = ResourceKey>) {
        let present: BTreeSet<_> = studies.map(|study| study.0).collect();
        self.blocking(move |log| log.observe_listing(listing, &present)).await;
        self.make_durable_soon();
    }

    /// As [`observe`](Self::observe), but blocking: for the start of the program.
    pub fn observe_at_start(&self, observations: &[Observation]) -> Vec<Version> {
        self.0.observe(observations, None)
    }

    /// Records that no archive holds the resource any more; returns whether it was ever seen. If it is seen again, that counts
    /// as a change.
    pub async fn mark_deleted(&self, resource: ResourceKey) -> bool {
        let was_seen = self.blocking(move |log| log.mark_deleted(resource)).await;
        self.make_durable_soon();
        was_seen.unwrap_or(false)
    }

    /// Counts the next observation of the resource as a change, because a search for changes could not return all of it.
    pub async fn report_again(&self, resource: ResourceKey) {
        self.blocking(move |log| log.mark_deleted(resource)).await;
        self.make_durable_soon();
    }

    /// The present time: not earlier than any time assigned so far, and earlier than every later one except those that its caller
    /// assigns with [`observe`](Self::observe).
    pub async fn moment(&self) -> Timestamp {
        let moment = self.blocking(Log::moment).await;
        self.make_durable_soon();
        moment.unwrap_or_else(|| self.0.clock.now())
    }

    /// Makes all records durable and marks the log as complete: the last call before the program ends.
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
            // If the log was dropped, the store was closed, which made the records durable.
            let Some(log) = log.upgrade() else { return };
            log.is_flush_due.store(false, Ordering::Release);
            if log.is_dirty.load(Ordering::Acquire) && log.is_durable() {
                let _ = tokio::task::spawn_blocking(move || log.flush()).await;
            }
        });
    }
}

/// The times assigned so far, in milliseconds.
#[derive(Debug)]
struct Times {
    /// The latest one; setting the clock back does not decrease it.
    latest: i64,
    /// A moment that was given to one caller only, and that was later than every time before. Anything that its caller sees is at
    /// least as recent as what anyone with an earlier time has seen.
    exclusive: Option<i64>,
}

impl Times {
    /// `moment`, if its caller alone has it and no later time was assigned since.
    fn exclusive(&self, moment: Option<Timestamp>) -> Option<i64> {
        let moment = moment?.as_millisecond();
        (self.exclusive == Some(moment) && self.latest == moment).then_some(moment)
    }
}

/// The log behind the async handle. Its calls block on the disk.
#[derive(Debug)]
struct Log {
    records: RwLock<Arc<Records>>,
    times: Mutex<Times>,
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
        let latest = records.begin_at(clock.now().as_millisecond())?;
        let times = Mutex::new(Times { latest, exclusive: None });
        let (is_dirty, is_flush_due) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self {
            records: RwLock::new(Arc::new(records)),
            times,
            entries,
            is_dirty,
            is_flush_due,
            clock,
            metrics,
        })
    }

    fn observe(&self, observations: &[Observation], asked_at: Option<Timestamp>) -> Vec<Version> {
        let noted = self.attempt(|records| match records.known(observations)? {
            Some(known) => Ok(known),
            None => self.writing(|times, now| {
                let moment = times.exclusive(asked_at);
                records.note(observations, &mut times.latest, now, moment)
            }),
        });
        match noted {
            Some(records) => records.iter().map(Record::version).collect(),
            None => observations.iter().map(|observation| self.unknown(observation)).collect(),
        }
    }

    fn observe_listing(&self, listing: ListingKey, present: &BTreeSet<[u8; 16]>) {
        self.attempt(|records| self.writing(|_, now| records.replace_listing(listing, present, now)));
    }

    fn mark_deleted(&self, resource: ResourceKey) -> bool {
        let was_seen = self.attempt(|records| self.writing(|_, _| records.mark_deleted(resource)));
        was_seen.unwrap_or(false)
    }

    fn moment(&self) -> Timestamp {
        let moment = self.attempt(|records| {
            self.writing(|times, now| {
                times.exclusive = (now > times.latest).then_some(now);
                times.latest = now.max(times.latest);
                records.keep_latest(times.latest)?;
                Ok(times.latest)
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

    /// The result if nothing can be looked up: the resource is new.
    fn unknown(&self, observation: &Observation) -> Version {
        Record::first(observation, self.next_time()).version()
    }

    fn next_time(&self) -> i64 {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.latest = self.clock.now().as_millisecond().max(times.latest.saturating_add(1));
        times.latest
    }

    /// One writer at a time assigns times; the clock is read when the writer has its turn.
    fn writing<T>(
        &self,
        write: impl FnOnce(&mut Times, i64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_dirty.store(true, Ordering::Release);
        write(&mut times, self.clock.now().as_millisecond())
    }

    /// Runs `work`. If the store fails, it is replaced by an empty one in memory, and everything is new again.
    fn attempt<T>(&self, work: impl Fn(&Records) -> Result<T, StoreError>) -> Option<T> {
        let records = Arc::clone(&self.records.read().unwrap_or_else(PoisonError::into_inner));
        let error = match work(&records) {
            Ok(done) => return Some(done),
            Err(error) => error,
        };
        tracing::error!(%error, "the change log failed; it continues in memory, and every study counts as new");
        self.metrics.change_log_failed();
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
