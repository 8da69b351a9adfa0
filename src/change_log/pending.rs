//! The deletions that were observed while a shared store was away. They are recorded when it has returned: otherwise a client that
//! has received a 404 would miss the return of the study.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ResourceKey;

/// Maximum number of pending deletions, which take a few megabytes: more than are observed in an outage.
const MAX_PENDING: usize = 100_000;

/// The resources whose deletion is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct PendingDeletions(Mutex<BTreeSet<ResourceKey>>);

impl PendingDeletions {
    /// Adds a resource; returns whether it is the first one.
    pub(super) fn add(&self, resource: ResourceKey) -> bool {
        let mut pending = self.lock();
        let is_first = pending.is_empty();
        if pending.len() < MAX_PENDING {
            pending.insert(resource);
        } else {
            tracing::error!(
                "too many deletions were observed while the store was away; clients that follow changes may miss one"
            );
        }
        is_first
    }

    /// Returns the resources.
    pub(super) fn get(&self) -> Vec<ResourceKey> {
        self.lock().iter().copied().collect()
    }

    /// Removes resources whose deletion was recorded.
    pub(super) fn remove(&self, recorded: &[ResourceKey]) {
        let mut pending = self.lock();
        for resource in recorded {
            pending.remove(resource);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ResourceKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
