//! Objects of an archive that need much memory while they are read: rows, metadata and headers that are larger than usual. Of each
//! archive only one at a time is in memory, so that an archive whose objects do not end needs the memory of one object, not of
//! as many as it sends. Small objects need no permit. This module does not know what the objects are.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Archive, ArchiveError};

/// Maximum size in bytes of an object that is in memory without a permit. Most objects have a few kilobytes.
const MAX_SMALL_OBJECT_SIZE: usize = 1024 * 1024;

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

/// The admission of a body whose current object is in memory. It has the permit while the object is large.
#[derive(Default)]
pub struct LargeObjectAdmission {
    permit: Option<LargeObjectPermit>,
    acquisition: Option<BoxFuture<'static, Result<LargeObjectPermit, ArchiveError>>>,
}

impl fmt::Debug for LargeObjectAdmission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LargeObjectAdmission").field("permit", &self.permit).finish_non_exhaustive()
    }
}

impl LargeObjectAdmission {
    /// Waits until an object of `archive` of which `size` bytes are in memory may grow. The permit is released if the object does not
    /// require it.
    pub async fn admit(&mut self, archive: &Archive, size: usize) -> Result<(), ArchiveError> {
        poll_fn(|context| self.poll_admit(archive, size, context)).await
    }

    /// Does the same as [`admit`](Self::admit) for a body that is polled.
    pub fn poll_admit(
        &mut self,
        archive: &Archive,
        size: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ArchiveError>> {
        if size <= MAX_SMALL_OBJECT_SIZE {
            *self = Self::default();
        } else if self.permit.is_none() {
            let acquisition = self.acquisition.get_or_insert_with(|| {
                let archive = archive.clone();
                async move { archive.large_object_permit().await }.boxed()
            });
            let permit = ready!(acquisition.poll_unpin(context));
            self.acquisition = None;
            self.permit = Some(permit?);
        }
        Poll::Ready(Ok(()))
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
