//! Limits how many images are rendered at once, and how much memory they take together.
//!
//! Half of the memory is divided into equal shares, one per permit. The other half is for one permit at a time that needs more
//! than its share. Its holder waits for no other permit, so there is no deadlock, and all permits together never exceed the
//! memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dicomweb::error::DicomwebError;
use dicom_render::RenderError;

/// As long as a request waits for the permit of an archive.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The permits; clones share them.
#[derive(Debug, Clone)]
pub struct RenderPool {
    permits: Arc<Semaphore>,
    wide_permit: Arc<Semaphore>,
    share: usize,
    half: usize,
    max_wait: Duration,
}

impl RenderPool {
    /// A pool of `parallelism` permits, at least 1, for `memory` bytes.
    pub fn new(memory: u64, parallelism: usize) -> Self {
        let permits = parallelism.clamp(1, Semaphore::MAX_PERMITS);
        let half = usize::try_from(memory / 2).unwrap_or(usize::MAX);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            wide_permit: Arc::new(Semaphore::new(1)),
            share: half / permits,
            half,
            max_wait: MAX_WAIT,
        }
    }

    /// A permit, as soon as one is free.
    pub(super) async fn acquire(&self) -> Result<RenderPermit, DicomwebError> {
        Ok(RenderPermit { pool: self.clone(), _permit: self.acquire_from(&self.permits).await?, wide: None })
    }

    async fn acquire_from(
        &self,
        semaphore: &Arc<Semaphore>,
    ) -> Result<Arc<OwnedSemaphorePermit>, DicomwebError> {
        match tokio::time::timeout(self.max_wait, Arc::clone(semaphore).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Arc::new(permit)),
            _ => Err(DicomwebError::RenderPoolBusy),
        }
    }
}

/// The permission to render; it is released when the last of its clones is dropped.
#[derive(Debug, Clone)]
pub(super) struct RenderPermit {
    pool: RenderPool,
    _permit: Arc<OwnedSemaphorePermit>,
    wide: Option<Arc<OwnedSemaphorePermit>>,
}

impl RenderPermit {
    /// Bytes that the holder may use.
    pub(super) fn limit(&self) -> usize {
        if self.wide.is_some() { self.pool.share + self.pool.half } else { self.pool.share }
    }

    /// Waits for more memory; returns whether the limit is higher than before.
    pub(super) async fn widen(&mut self) -> Result<bool, DicomwebError> {
        if self.wide.is_some() {
            return Ok(false);
        }
        self.wide = Some(self.pool.acquire_from(&self.pool.wide_permit).await?);
        Ok(true)
    }

    /// Runs `work` on a blocking thread. The permit is held until it ends, also if the caller is canceled.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RenderError> + Send + 'static,
    ) -> Result<T, DicomwebError> {
        let permit = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        match task.await {
            Ok(result) => Ok(result?),
            // A decoder has panicked.
            Err(error) if error.is_panic() => {
                Err(RenderError::Malformed("its pixel data made a decoder fail").into())
            }
            Err(_) => Err(DicomwebError::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_permits_together_never_exceed_the_memory() {
        let pool = RenderPool { max_wait: Duration::from_millis(1), ..RenderPool::new(1000, 4) };
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(pool.acquire().await.unwrap());
        }
        assert!(permits[0].widen().await.unwrap());
        assert!(!permits[0].widen().await.unwrap(), "there is no more memory");
        assert_eq!(permits.iter().map(RenderPermit::limit).sum::<usize>(), 1000);
        assert!(matches!(pool.acquire().await, Err(DicomwebError::RenderPoolBusy)));
        assert!(matches!(permits[1].widen().await, Err(DicomwebError::RenderPoolBusy)));
        permits.remove(0);
        assert!(permits[0].widen().await.unwrap());
        assert!(pool.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn a_decoder_that_panics_releases_its_permit() {
        let pool = RenderPool::new(1000, 1);
        let permit = pool.acquire().await.unwrap();
        let broken = permit.run(|| -> Result<(), _> { panic!("a hostile stream") }).await;
        assert!(matches!(broken, Err(DicomwebError::Render(RenderError::Malformed(_)))));
        drop(permit);
        assert!(pool.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn a_permit_is_held_until_its_work_ends() {
        let pool = RenderPool::new(1000, 1);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let permit = pool.acquire().await.unwrap();
        let work =
            tokio::spawn(
                async move { permit.run(move || wait.recv().map_err(|_| RenderError::NoImage)).await },
            );
        tokio::task::yield_now().await;
        work.abort();
        assert_eq!(pool.permits.available_permits(), 0);
        go.send(()).unwrap();
        assert!(pool.acquire().await.is_ok());
    }
}
