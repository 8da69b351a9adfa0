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
mod pending;
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
use crate::store::{self, OpenError, Store, StoreError, StoreKind};
use crate::telemetry::Metrics;
use crate::upstream::ArchiveId;
use dicom_model::StudyUid;
use last_updated::Record;
use pending::PendingDeletions;
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
    ) -> Result<Vec<Version>, ChangeLogAway> {
        if observations.is_empty() {
            return Ok(Vec::new());
        }
        self.run(|log| async move { log.observe(&observations, requested_at).await }).await
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
    ) -> Result<(), ChangeLogAway> {
        let studies: BTreeSet<_> = studies.map(|study| study.0).collect();
        self.run(|log| async move { log.observe_listing(listing, changed_since, &studies).await }).await
    }

    /// Records that no archive contains the resource any more; returns whether the resource was ever seen. If it is seen again,
    /// this is a change. While a shared store is away, it is not known whether the resource was seen, and the deletion is recorded
    /// later.
    pub async fn mark_deleted(&self, resource: ResourceKey) -> bool {
        let was_seen = self.run(|log| async move { log.mark_deleted(resource).await }).await;
        if was_seen.is_err() && self.0.pending.add(resource) {
            self.record_pending_later();
        }
        was_seen.unwrap_or(false)
    }

    /// Makes the next observation of the resource count as a change, because a search for changes did not return the whole
    /// resource.
    pub async fn report_again(&self, resource: ResourceKey) {
        self.mark_deleted(resource).await;
    }

    /// Returns the current time, which is not earlier than any time assigned so far, and earlier than every time that is
    /// assigned later, except those that the caller assigns with [`observe`](Self::observe).
    pub async fn now(&self) -> Result<Timestamp, ChangeLogAway> {
        self.run(|log| async move { log.now().await }).await
    }

    /// Makes all records durable and marks the log as complete. This is the last call before the program ends.
    pub async fn close(&self) {
        self.0.is_dirty.store(false, Ordering::Release);
        // The failures are logged. No caller waits for them.
        let _ = self.0.record_pending().await;
        let _ = self.0.attempt(|records| async move { records.end_session().await }).await;
    }

    /// Runs `work` to its end, even if the client of the request disconnects: a half of a transaction would be rolled back, but its
    /// connection would be busy until then.
    async fn run<T, F>(&self, work: impl FnOnce(Arc<Log>) -> F) -> Result<T, ChangeLogAway>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChangeLogAway>> + Send + 'static,
    {
        // A panic in the log was already reported.
        let result = tokio::spawn(work(Arc::clone(&self.0))).await.unwrap_or(Err(ChangeLogAway::DEFAULT));
        self.schedule_flush();
        result
    }

    /// Records the deletions that are pending as soon as the store has returned.
    fn record_pending_later(&self) {
        let log = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FLUSH_DELAY).await;
                let Some(log) = log.upgrade() else { return };
                if log.record_pending().await.is_ok() {
                    return;
                }
            }
        });
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

/// The shared store does not respond, so it is not known when the content of a resource was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store does not respond, so it is not known when studies last changed")]
pub struct ChangeLogAway {
    /// The wait before a retry.
    pub retry_after: Duration,
}

impl ChangeLogAway {
    const DEFAULT: Self = Self { retry_after: Duration::from_secs(5) };
}

/// The log that the handles [`ChangeLog`] share.
#[derive(Debug)]
struct Log {
    records: RwLock<Arc<Records>>,
    /// The latest time that this process knows, in milliseconds. If the store is lost, later times are assigned from here on.
    latest: AtomicI64,
    max_records: u64,
    pending: PendingDeletions,
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
            pending: PendingDeletions::default(),
            is_dirty,
            is_flush_due,
            clock,
            metrics,
        })
    }

    async fn observe(
        &self,
        observations: &[Observation],
        requested_at: Option<Timestamp>,
    ) -> Result<Vec<Version>, ChangeLogAway> {
        let requested_at = requested_at.map(Timestamp::as_millisecond);
        let records = self.attempt(|records| async move {
            if let Some(known) = records.find_unchanged(observations).await? {
                return Ok(known);
            }
            self.is_dirty.store(true, Ordering::Release);
            records.add(observations, requested_at, &*self.clock).await
        });
        let records = records.await?;
        let latest = records.iter().map(|record| record.first_seen_at).max();
        self.latest.fetch_max(latest.unwrap_or(i64::MIN), Ordering::AcqRel);
        Ok(records.iter().map(Record::version).collect())
    }

    async fn observe_listing(
        &self,
        listing: ListingKey,
        changed_since: Option<Timestamp>,
        studies: &BTreeSet<[u8; 16]>,
    ) -> Result<(), ChangeLogAway> {
        let changed_since = changed_since.map(Timestamp::as_millisecond);
        self.attempt(|records| async move {
            self.is_dirty.store(true, Ordering::Release);
            records.replace_listing(listing, studies, changed_since, &*self.clock).await
        })
        .await
    }

    async fn mark_deleted(&self, resource: ResourceKey) -> Result<bool, ChangeLogAway> {
        self.attempt(|records| async move { records.mark_deleted(resource).await }).await
    }

    /// Records the deletions that were observed while the store was away.
    async fn record_pending(&self) -> Result<(), ChangeLogAway> {
        let pending = self.pending.get();
        if pending.is_empty() {
            return Ok(());
        }
        let resources = &pending;
        self.attempt(|records| async move { records.mark_all_deleted(resources).await }).await?;
        self.pending.remove(&pending);
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, ChangeLogAway> {
        let now = self.attempt(|records| async move {
            self.is_dirty.store(true, Ordering::Release);
            records.now(&*self.clock).await
        });
        let now = now.await?;
        self.latest.fetch_max(now, Ordering::AcqRel);
        Ok(version::timestamp(now))
    }

    async fn flush(&self) {
        // The failure is logged.
        let _ = self.attempt(|records| async move { records.make_durable().await }).await;
    }

    /// Runs `work`. If a store of this process fails, an empty store in memory replaces it, and every resource counts as new. A shared
    /// store is not replaced, because other gateways go on using it.
    async fn attempt<T, F>(&self, work: impl Fn(Arc<Records>) -> F) -> Result<T, ChangeLogAway>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let records = Arc::clone(&*self.records.read().await);
        let error = match work(Arc::clone(&records)).await {
            Ok(result) => return Ok(result),
            Err(error) => error,
        };
        self.metrics.change_log_failed();
        if records.store().kind() == StoreKind::Shared {
            tracing::debug!(%error, "the change log failed");
            let retry_after = match error {
                StoreError::CircuitOpen(wait) => wait,
                _ => ChangeLogAway::DEFAULT.retry_after,
            };
            return Err(ChangeLogAway { retry_after });
        }
        tracing::error!(%error, "the change log failed; it continues in memory, and every study counts as new");
        let replaced = self.replace(&records).await;
        let result = match replaced {
            Ok(records) => work(records).await,
            Err(error) => Err(StoreError::Database(error.to_string())),
        };
        result.map_err(|error| {
            tracing::error!(%error, "the change log in memory failed");
            ChangeLogAway::DEFAULT
        })
    }

    /// Replaces `failed` by an empty log in memory, unless another caller has done so.
    async fn replace(&self, failed: &Arc<Records>) -> Result<Arc<Records>, OpenError> {
        let mut current = self.records.write().await;
        if Arc::ptr_eq(&current, failed) {
            *current = Arc::new(self.open_in_memory().await?);
        }
        Ok(Arc::clone(&current))
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
