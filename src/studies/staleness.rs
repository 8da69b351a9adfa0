//! Serves cached studies that the archives have not confirmed for longer than `cache.fresh_for`: while the studies are revalidated
//! in the background (`cache.stale_for`, RFC 5861 3), and if the archives fail (`cache.stale_if_error`, RFC 5861 4). Both are off
//! by default.
//!
//! Neither extends the lifetime of the content below the rows, and invalidated content is never served.

use std::sync::Arc;
use std::time::Duration;

use super::assembly::AssembledStudy;
use super::background::{BackgroundQueue, BackgroundWork};
use super::{Freshness, Representation, Studies, StudiesError};
use crate::auth::Access;
use crate::encoded_resource::{EncodedResource, Reuse};
use crate::upstream::ErrorClass;
use dicom_model::StudyUid;

/// The number of revalidations in the background at the same time. Each takes one search.
const REVALIDATION_CONCURRENCY: usize = 4;

/// Maximum ages of studies that are served although the archives have not just confirmed them. An age that is not above the
/// freshness lifetime has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StalenessLimits {
    /// The age up to which a study is served and revalidated in the background.
    pub stale_for: Duration,
    /// The age up to which a study is served if the archives fail.
    pub stale_if_error: Duration,
}

/// The studies that are being revalidated in the background.
#[derive(Debug)]
pub(super) struct Revalidations(pub(super) Arc<BackgroundQueue>);

impl Default for Revalidations {
    fn default() -> Self {
        Self(Arc::new(BackgroundQueue::new(REVALIDATION_CONCURRENCY)))
    }
}

impl Studies {
    /// Returns the time since the archives last confirmed the study.
    fn age(&self, study: &AssembledStudy) -> Duration {
        self.cache.age(study.confirmed_at)
    }

    /// Returns the resource of a cached study for a response that is not confirmed by the archives now.
    pub fn reuse_cached(&self, study: &AssembledStudy, has_failed_revalidation: bool) -> EncodedResource {
        study.encoded.with_reuse(Reuse { age: self.age(study), has_failed_revalidation })
    }

    /// Whether `study` may be served while it is revalidated in the background.
    pub(super) fn may_serve_stale(&self, study: &AssembledStudy) -> bool {
        self.age(study) < self.limits.staleness.stale_for
    }

    /// Revalidates the study in the background, unless this is already in progress.
    pub(super) fn revalidate_in_background(&self, uid: &StudyUid, representation: &Representation) {
        let revalidations = &self.revalidations.0;
        let Some(work) = revalidations.add(uid, representation) else { return };
        self.read_in_background(work, Freshness::Cached);
    }

    /// Reads the study of `work` when it has a permit.
    pub(super) fn read_in_background(&self, work: BackgroundWork, freshness: Freshness) {
        let studies = self.with_background_limits();
        tokio::spawn(async move {
            let Some(_permit) = work.permit().await else { return };
            let (uid, representation) = work.study();
            let reading = studies.read_current(uid, representation, &Access::all(), freshness).await;
            if let Err(error) = reading {
                tracing::debug!(%error, "a cached study could not be read again in the background");
                studies.reject_after(&error, uid, representation);
            }
        });
    }

    /// Makes the next request read the cached study again, and report an error to its client, because `error` shows that the content is
    /// not current. If an archive failed, this is only so if no stale study may be served after a failure.
    fn reject_after(&self, error: &StudiesError, uid: &StudyUid, representation: &Representation) {
        if is_failure_of_archive(error) && !self.limits.staleness.stale_if_error.is_zero() {
            return;
        }
        if let Some(study) = self.cached(uid, representation) {
            let invalidated = Arc::new(study.to_invalidated(self.cache.elapsed()));
            self.cache.insert(AssembledStudy::cache_key(uid, representation), invalidated);
        }
    }

    /// Returns the cached study that may be served although reading it failed with `error`.
    pub(super) fn find_stale_after_error(
        &self,
        uid: &StudyUid,
        representation: &Representation,
        access: &Access,
        error: &StudiesError,
    ) -> Option<Arc<AssembledStudy>> {
        if !access.may_see_all() || !is_failure_of_archive(error) {
            return None;
        }
        self.cached(uid, representation).filter(|study| {
            study.has_every_row
                && !study.content_age.is_invalidated()
                && self.age(study) < self.limits.staleness.stale_if_error
        })
    }
}

/// Whether an archive did not respond, or responded that it cannot respond now (RFC 5861 4: 500, 502, 503 and 504).
fn is_failure_of_archive(error: &StudiesError) -> bool {
    match error {
        StudiesError::Archive(error) => {
            matches!(error.class(), ErrorClass::Unavailable | ErrorClass::TimedOut | ErrorClass::Disconnected)
                || error.is_server_error()
        }
        StudiesError::LoadTimeout(_) => true,
        _ => false,
    }
}
