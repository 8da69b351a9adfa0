//! Objects of an archive that need much memory while they are read: rows, metadata and headers that are larger than usual. Of each
//! archive only one at a time is in memory, so that an archive whose objects do not end needs the memory of one object, not of
//! as many as it sends. Small objects need no permit. This module does not know what the objects are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size in bytes of an object that is in memory without a permit. Most objects have a few kilobytes.
pub(super) const MAX_SMALL_OBJECT_SIZE: usize = 1024 * 1024;

/// The permit for the large object of an archive, which is released when it is dropped.
#[derive(Debug)]
pub struct LargeObjectPermit {
    _permit: OwnedSemaphorePermit,
}

/// The permits of one archive.
#[derive(Debug)]
pub(super) struct LargeObjectPermits(Arc<Semaphore>);

impl LargeObjectPermits {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Waits for the permit; returns `None` after `timeout`.
    pub(super) async fn acquire(&self, timeout: Duration) -> Option<LargeObjectPermit> {
        let permit = tokio::time::timeout(timeout, Arc::clone(&self.0).acquire_owned()).await;
        permit.ok()?.ok().map(|permit| LargeObjectPermit { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_large_object_is_in_memory_at_a_time() {
        let permits = LargeObjectPermits::new();
        let first = permits.acquire(Duration::ZERO).await.unwrap();
        assert!(permits.acquire(Duration::from_millis(1)).await.is_none());
        drop(first);
        assert!(permits.acquire(Duration::from_millis(1)).await.is_some());
    }
}
