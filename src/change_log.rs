//! The change log records when the current content of each study was first seen. Most archives have no change feed, so
//! `meta.lastUpdated` is the time at which the gateway first saw the content, and it never decreases.
//!
//! For each study the log stores one small record: hashes of its UID, of its rows and of its content, a time, and whether the
//! study was deleted. Each Patient that was read has a record of the rows of all studies of this patient. The log contains no identifier, name or date of a patient, not even a UID. In a durable store the records
//! survive a restart. If they are lost, every study counts as just seen: a client that requests changes may receive a study
//! twice but never misses one.
//!
//! If a study leaves an archive and returns unchanged, its return is a change for a client that has searched for changes in the
//! meantime. `listings` detects it by comparing each list with the previous one.
//!
//! Writes become durable in batches, up to one second later. A crash may lose the record of content that was seen and reported,
//! and the study may have changed back since. Therefore, after a crash, every record is doubtful, and every study counts as just
//! seen. The latest time is in the store, so that no time is used twice if the clock is set back. A client can miss a change
//! only if a crash loses the latest time and the clock is set back.
//!
//! The module does not query archives; it receives observations as fingerprints and digests.

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

/// The delay of writes to the disk, so that several writes become durable together.
const FLUSH_DELAY: Duration = Duration::from_secs(1);

/// The key of a record: a hash of the type and id of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResourceKey([u8; 16]);

impl ResourceKey {
    /// Returns the key of the ImagingStudy of a study.
    pub fn study(study: &StudyUid) -> Self {
        Self::new("ImagingStudy", study.as_str())
    }

    /// Returns the key of the ImagingStudy of one of several patients who have a study with this UID. `patient` is the id of the Patient.
    pub fn study_of_patient(study: &StudyUid, patient: &str) -> Self {
        Self::new("ImagingStudy", &format!("{}/{patient}", study.as_str()))
    }

    /// Returns the key of the Patient with this id.
    pub fn patient(id: &str) -> Self {
        Self::new("Patient", id)
    }

    /// Returns the key of the Endpoint of an archive.
    pub fn endpoint(archive: &ArchiveId) -> Self {
        Self::new("Endpoint", archive.as_str())
    }

    fn new(resource_type: &str, id: &str) -> Self {
        Self(short_hash([resource_type.as_bytes(), b"/", id.as_bytes()]))
    }
}

/// A hash of a complete resource without its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 16]);

impl ContentDigest {
    /// Computes the digest of the JSON of a resource.
    pub fn from_json(json: &[u8]) -> Self {
        Self(short_hash([json]))
    }
}

/// The observation of a resource at an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The resource.
    pub resource: ResourceKey,
    /// The fingerprint of the rows of the resource, and of the mapping rules.
    pub fingerprint: Fingerprint,
    /// The digest of the content, if the whole resource was fetched.
    pub content: Option<ContentDigest>,
}

/// The change log. Clones share the same log.
#[derive(Debug, Clone)]
pub struct ChangeLog(Arc<Log>);

impl ChangeLog {
    /// Opens the log in `store`, with at most `max_records`. The oldest records are evicted first, and their resources count
    /// as new when they are seen again.
    pub fn open(
        store: Arc<dyn Store>,
        max_records: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Log::new(Records::open(store, max_records)?, max_records, clock, metrics)?)))
    }

    /// Records observations and returns the version of each: the known version, with the time at which it was first seen, or a
    /// new version. `requested_at` is a time that [`now`](Self::now) returned before the archives were queried. New versions have
    /// this time if no other caller received it and no later time was assigned; then a client that next requests changes since
    /// `requested_at` does not receive them again.
    pub async fn observe(
        &self,
        observations: Vec<Observation>,
        requested_at: Option<Timestamp>,
    ) -> Vec<Version> {
        if observations.is_empty() {
            return Vec::new();
        }
        let task_observations = observations.clone();
        let versions = self.run_blocking(move |log| log.observe(&task_observations, requested_at)).await;
        self.schedule_flush();
        // A panic in the log was already reported. Without a result every resource counts as new.
        versions.unwrap_or_else(|| {
            observations.iter().map(|observation| self.0.new_version(observation)).collect()
        })
    }

    /// Records the complete list that a search by `_lastUpdated` found. A study that was in the previous list of the same search
    /// and is missing now counts as deleted. For the clients of the list, its return is a change, and so is a study that the
    /// previous list did not contain. `changed_since` is the time in the client's search, if there is one; without a
    /// previous list, it determines which studies may be new to the client.
    pub async fn observe_listing(
        &self,
        listing: ListingKey,
        changed_since: Option<Timestamp>,
        studies: impl Iterator<Item = ResourceKey>,
    ) {
        let studies: BTreeSet<_> = studies.map(|study| study.0).collect();
        self.run_blocking(move |log| log.observe_listing(listing, changed_since, &studies)).await;
        self.schedule_flush();
    }

    /// Does the same as [`observe`](Self::observe), but blocks, for the start of the program.
    pub fn observe_at_start(&self, observations: &[Observation]) -> Vec<Version> {
        self.0.observe(observations, None)
    }

    /// Records that no archive contains the resource any more; returns whether the resource was ever seen. If it is seen again,
    /// this is a change.
    pub async fn mark_deleted(&self, resource: ResourceKey) -> bool {
        let was_seen = self.run_blocking(move |log| log.mark_deleted(resource)).await;
        self.schedule_flush();
        was_seen.unwrap_or(false)
    }

    /// Makes the next observation of the resource count as a change, because a search for changes did not return the whole
    /// resource.
    pub async fn report_again(&self, resource: ResourceKey) {
        self.run_blocking(move |log| log.mark_deleted(resource)).await;
        self.schedule_flush();
    }

    /// Returns the current time, which is not earlier than any time assigned so far, and earlier than every time that is
    /// assigned later, except those that the caller assigns with [`observe`](Self::observe).
    pub async fn now(&self) -> Timestamp {
        let now = self.run_blocking(Log::now).await;
        self.schedule_flush();
        now.unwrap_or_else(|| self.0.clock.now())
    }

    /// Makes all records durable and marks the log as complete. This is the last call before the program ends.
    pub async fn close(&self) {
        self.run_blocking(Log::close).await;
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Log) -> T + Send + 'static,
    ) -> Option<T> {
        let log = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&log)).await.ok()
    }

    fn schedule_flush(&self) {
        if !self.0.is_dirty.load(Ordering::Acquire) || self.0.is_flush_due.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(FLUSH_DELAY).await;
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
    /// The latest time that was assigned. It does not decrease if the clock is set back.
    latest: i64,
    /// A time of [`ChangeLog::now`] that only one caller has received, and that was later than all earlier times. The
    /// observations of this caller are at least as recent as those of callers with an earlier time.
    exclusive: Option<i64>,
}

impl Times {
    /// Returns `time` if only its caller has received it, and no later time was assigned since.
    fn exclusive(&self, time: Option<Timestamp>) -> Option<i64> {
        let time = time?.as_millisecond();
        (self.exclusive == Some(time) && self.latest == time).then_some(time)
    }
}

/// The log that the handles [`ChangeLog`] share. Its methods block on the disk.
#[derive(Debug)]
struct Log {
    records: RwLock<Arc<Records>>,
    times: Mutex<Times>,
    max_records: u64,
    is_dirty: AtomicBool,
    is_flush_due: AtomicBool,
    clock: SharedClock,
    metrics: Metrics,
}

impl Log {
    fn new(
        mut records: Records,
        max_records: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let latest = records.start_session(clock.now().as_millisecond())?;
        let times = Mutex::new(Times { latest, exclusive: None });
        let (is_dirty, is_flush_due) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self {
            records: RwLock::new(Arc::new(records)),
            times,
            max_records,
            is_dirty,
            is_flush_due,
            clock,
            metrics,
        })
    }

    fn observe(&self, observations: &[Observation], requested_at: Option<Timestamp>) -> Vec<Version> {
        let records = self.attempt(|records| match records.find_unchanged(observations)? {
            Some(known) => Ok(known),
            None => self.write(|times, now| {
                let exclusive = times.exclusive(requested_at);
                records.add(observations, &mut times.latest, now, exclusive)
            }),
        });
        match records {
            Some(records) => records.iter().map(Record::version).collect(),
            None => observations.iter().map(|observation| self.new_version(observation)).collect(),
        }
    }

    fn observe_listing(
        &self,
        listing: ListingKey,
        changed_since: Option<Timestamp>,
        studies: &BTreeSet<[u8; 16]>,
    ) {
        let changed_since = changed_since.map(Timestamp::as_millisecond);
        self.attempt(|records| {
            self.write(|times, now| {
                records.replace_listing(listing, studies, changed_since, now.max(times.latest))
            })
        });
    }

    fn mark_deleted(&self, resource: ResourceKey) -> bool {
        let was_seen = self.attempt(|records| self.write(|_, _| records.mark_deleted(resource)));
        was_seen.unwrap_or(false)
    }

    fn now(&self) -> Timestamp {
        let now = self.attempt(|records| {
            self.write(|times, now| {
                times.exclusive = (now > times.latest).then_some(now);
                times.latest = now.max(times.latest);
                records.store_latest(times.latest)?;
                Ok(times.latest)
            })
        });
        version::timestamp(now.unwrap_or_else(|| self.next_time()))
    }

    fn flush(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.attempt(Records::make_durable);
    }

    fn close(&self) {
        self.is_dirty.store(false, Ordering::Release);
        self.attempt(Records::end_session);
    }

    /// Returns the version of a resource as if it were seen for the first time.
    fn new_version(&self, observation: &Observation) -> Version {
        Record::new(observation, self.next_time()).version()
    }

    /// Assigns a time that is later than all times assigned so far, in milliseconds.
    fn next_time(&self) -> i64 {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.latest = self.clock.now().as_millisecond().max(times.latest.saturating_add(1));
        times.latest
    }

    /// Calls `write` with the assigned times and the current time. One writer at a time assigns times, and the clock is read
    /// when the writer has the lock.
    fn write<T>(
        &self,
        write: impl FnOnce(&mut Times, i64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_dirty.store(true, Ordering::Release);
        write(&mut times, self.clock.now().as_millisecond())
    }

    /// Runs `work`. If the store fails, an empty store in memory replaces it, and every resource counts as new.
    fn attempt<T>(&self, work: impl Fn(&Records) -> Result<T, StoreError>) -> Option<T> {
        let records = Arc::clone(&self.records.read().unwrap_or_else(PoisonError::into_inner));
        let error = match work(&records) {
            Ok(result) => return Some(result),
            Err(error) => error,
        };
        tracing::error!(%error, "the change log failed; it continues in memory, and every study counts as new");
        self.metrics.change_log_failed();
        let mut current = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &records) {
            let empty = store::open(None).ok()?;
            *current = Arc::new(Records::open(empty, self.max_records).ok()?);
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
