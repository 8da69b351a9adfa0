//! Archives with a change feed: a cached study is read again at once when its archive has stored an object in it. Without a feed, or
//! if the feed fails or omits a change, the study is read again when its lifetime ends ([`deep_check`](super::deep_check)).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::Studies;
use super::assembly::AssembledStudy;
use super::deep_check::CHECKED_REPRESENTATIONS;
use crate::change_log::ResourceKey;
use crate::upstream::{Archive, ArchiveError};
use dicom_model::StudyUid;

/// The time between two requests for changes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Studies {
    /// Starts to follow the change feed of `archive`, a client with separate limits, so that a feed that fails does not affect
    /// searches.
    pub fn follow_changes(&self, archive: Archive) -> AbortHandle {
        let studies = self.clone();
        let polling = async move {
            let (mut last_change, mut is_failing) = (None, false);
            loop {
                tokio::time::sleep(POLL_INTERVAL).await;
                let result = studies.process_changes(&archive, &mut last_change).await;
                match &result {
                    Err(error) if !is_failing => tracing::warn!(
                        archive = %archive.id(),
                        error = %error.kind,
                        "The change feed of the archive cannot be read; changed studies are read again after cache.deep_check. See rest_url."
                    ),
                    Ok(()) if is_failing => {
                        tracing::info!(archive = %archive.id(), "The change feed of the archive can be read again.");
                    }
                    _ => {}
                }
                is_failing = result.is_err();
            }
        };
        tokio::spawn(polling).abort_handle()
    }

    /// Processes the changes after the number `last_change`, and advances it. Without a number, only determines the number of the
    /// last change; older changes need no processing, because the gateway reads their studies later.
    async fn process_changes(
        &self,
        archive: &Archive,
        last_change: &mut Option<u64>,
    ) -> Result<(), ArchiveError> {
        let Some(mut processed_change) = *last_change else {
            *last_change = Some(archive.last_change().await?);
            return Ok(());
        };
        loop {
            let changes = archive.changes_since(processed_change).await?;
            for study in &changes.studies {
                self.report_changed(study).await;
            }
            // The numbers start again if the database of the archive was replaced.
            let is_reset = changes.last_change < processed_change;
            *last_change = if is_reset { None } else { Some(changes.last_change) };
            if is_reset || !changes.has_more || changes.last_change == processed_change {
                return Ok(());
            }
            processed_change = changes.last_change;
        }
    }

    /// Reads the study again in the background if it is cached with its instances; the next read waits for this. Otherwise
    /// the study counts as changed for searches by `_lastUpdated`.
    async fn report_changed(&self, uid: &StudyUid) {
        let mut is_cached = false;
        for representation in CHECKED_REPRESENTATIONS {
            let Some(entry) = self.cached(uid, &representation) else { continue };
            is_cached = true;
            let key = AssembledStudy::cache_key(uid, &representation);
            self.cache.insert(key, Arc::new(entry.to_invalidated(self.cache.elapsed())));
            self.check_in_background(uid, &representation);
        }
        if !is_cached {
            self.change_log.report_again(ResourceKey::study(uid)).await;
        }
    }
}
