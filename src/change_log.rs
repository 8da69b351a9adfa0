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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::RwLock;

pub use listings::ListingKey;
pub use version::{Version, VersionId};

use crate::clock::SharedClock;
use crate::fingerprint::{Fingerprint, short_hash};
use crate::store::{self, OpenError, Store, StoreError};
use crate::telemetry::Metrics;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use last_updated::Record;
use stored_records::Records;

/// The delay of writes to the disk, so that several writes become durable together.
const FLUSH_DELAY: Duration = Duration::from_secs(1);

/// The key of a record: a hash of the type and id of the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub async fn open(
        store: Arc<dyn Store>,
        max_records: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Log::open(store, max_records, clock, metrics).await?)))
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
        let observations: Arc<[Observation]> = observations.into();
        let observed = Arc::clone(&observations);
        let versions = self.run(|log| async move { log.observe(&observed, requested_at).await }).await;
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
        self.run(|log| async move { log.observe_listing(listing, changed_since, &studies).await }).await;
    }

    /// Records that no archive contains the resource any more; returns whether the resource was ever seen. If it is seen again,
    /// this is a change.
    pub async fn mark_deleted(&self, resource: ResourceKey) -> bool {
        let was_seen = self.run(|log| async move { log.mark_deleted(resource).await }).await;
        was_seen.unwrap_or(false)
    }

    /// Makes the next observation of the resource count as a change, because a search for changes did not return the whole
    /// resource.
    pub async fn report_again(&self, resource: ResourceKey) {
        self.run(|log| async move { log.mark_deleted(resource).await }).await;
    }

    /// Returns the current time, which is not earlier than any time assigned so far, and earlier than every time that is
    /// assigned later, except those that the caller assigns with [`observe`](Self::observe).
    pub async fn now(&self) -> Timestamp {
        let now = self.run(|log| async move { log.now().await }).await;
        now.unwrap_or_else(|| self.0.clock.now())
    }

    /// Makes all records durable and marks the log as complete. This is the last call before the program ends.
    pub async fn close(&self) {
        self.0.is_dirty.store(false, Ordering::Release);
        self.0.attempt(|records| async move { records.end_session().await }).await;
    }

    /// Runs `work` to its end, even if the client of the request disconnects: a half of a transaction would be rolled back, but its
    /// connection would be busy until then.
    async fn run<T, F>(&self, work: impl FnOnce(Arc<Log>) -> F) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let result = tokio::spawn(work(Arc::clone(&self.0))).await.ok();
        self.schedule_flush();
        result
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
            if log.is_dirty.swap(false, Ordering::AcqRel) {
                log.flush().await;
            }
        });
    }
}

/// The log that the handles [`ChangeLog`] share.
#[derive(Debug)]
struct Log {
    records: RwLock<Arc<Records>>,
    /// The latest time that this process knows, in milliseconds. If the store is lost, later times are assigned from here on.
    latest: AtomicI64,
    max_records: u64,
    is_dirty: AtomicBool,
    is_flush_due: AtomicBool,
    clock: SharedClock,
    metrics: Metrics,
}

impl Log {
    async fn open(
        store: Arc<dyn Store>,
        max_records: u64,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let now = clock.now().as_millisecond();
        let (records, latest) = Records::open(store, max_records, now).await?;
        let (is_dirty, is_flush_due) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self {
            records: RwLock::new(Arc::new(records)),
            latest: AtomicI64::new(latest.time),
            max_records,
            is_dirty,
            is_flush_due,
            clock,
            metrics,
        })
    }

    async fn observe(&self, observations: &[Observation], requested_at: Option<Timestamp>) -> Vec<Version> {
        let requested_at = requested_at.map(Timestamp::as_millisecond);
        let records = self.attempt(|records| async move {
            if let Some(known) = records.find_unchanged(observations).await? {
                return Ok(known);
            }
            self.is_dirty.store(true, Ordering::Release);
            records.add(observations, requested_at, &*self.clock).await
        });
        match records.await {
            Some(records) => {
                let latest = records.iter().map(|record| record.first_seen_at).max();
                self.latest.fetch_max(latest.unwrap_or(i64::MIN), Ordering::AcqRel);
                records.iter().map(Record::version).collect()
            }
            None => observations.iter().map(|observation| self.new_version(observation)).collect(),
        }
    }

    async fn observe_listing(
        &self,
        listing: ListingKey,
        changed_since: Option<Timestamp>,
        studies: &BTreeSet<[u8; 16]>,
    ) {
        let changed_since = changed_since.map(Timestamp::as_millisecond);
        self.attempt(|records| async move {
            self.is_dirty.store(true, Ordering::Release);
            records.replace_listing(listing, studies, changed_since, &*self.clock).await
        })
        .await;
    }

    async fn mark_deleted(&self, resource: ResourceKey) -> bool {
        self.attempt(|records| async move { records.mark_deleted(resource).await }).await.unwrap_or(false)
    }

    async fn now(&self) -> Timestamp {
        let now = self.attempt(|records| async move {
            self.is_dirty.store(true, Ordering::Release);
            records.now(&*self.clock).await
        });
        let now = now.await.unwrap_or_else(|| self.next_time());
        self.latest.fetch_max(now, Ordering::AcqRel);
        version::timestamp(now)
    }

    async fn flush(&self) {
        self.attempt(|records| async move { records.make_durable().await }).await;
    }

    /// Returns the version of a resource as if it were seen for the first time.
    fn new_version(&self, observation: &Observation) -> Version {
        Record::new(observation, self.next_time()).version()
    }

    /// Assigns a time that is later than all times assigned so far, in milliseconds.
    fn next_time(&self) -> i64 {
        let now = self.clock.now().as_millisecond();
        let next = |latest: i64| Some(now.max(latest.saturating_add(1)));
        let before = self.latest.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        next(before.unwrap_or_else(|latest| latest)).unwrap_or(now)
    }

    /// Runs `work`. If the store fails, an empty store in memory replaces it, and every resource counts as new.
    async fn attempt<T, F>(&self, work: impl Fn(Arc<Records>) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let records = Arc::clone(&*self.records.read().await);
        let error = match work(Arc::clone(&records)).await {
            Ok(result) => return Some(result),
            Err(error) => error,
        };
        tracing::error!(%error, "the change log failed; it continues in memory, and every study counts as new");
        self.metrics.change_log_failed();
        let mut current = self.records.write().await;
        if Arc::ptr_eq(&current, &records) {
            *current = Arc::new(self.open_in_memory().await.ok()?);
        }
        let records = Arc::clone(&current);
        drop(current);
        work(records).await.ok()
    }

    /// Opens an empty log in memory, whose times are later than all times assigned so far.
    async fn open_in_memory(&self) -> Result<Records, OpenError> {
        let store = store::open_in_memory().await?;
        let latest = self.latest.load(Ordering::Acquire).max(self.clock.now().as_millisecond());
        let (records, _) = Records::open(store, self.max_records, latest).await.map_err(OpenError::Memory)?;
        Ok(records)
    }
}

#[cfg(test)]
mod tests;
