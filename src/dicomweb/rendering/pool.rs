//! Limits the number of images that are rendered at the same time, the memory for all of them together, and the time of each.
//!
//! Half of the memory is divided into equal shares, one per permit. The other half is available to one permit at a time that
//! needs more than its share. The owner of this half does not wait for another permit, so there is no deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dicomweb::error::DicomwebError;
use dicom_render::{Cancellation, CodecError, RenderError};

/// Maximum time that a request waits for a permit: the same time as for a permit of an archive.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A pool of permits for rendering. Clones share the same permits.
#[derive(Debug, Clone)]
pub struct RenderPool {
    permits: Arc<Semaphore>,
    /// The permit for the half of the memory that is not divided.
    extra_permit: Arc<Semaphore>,
    /// The memory of one permit in bytes.
    share_size: usize,
    /// The memory of the extra permit in bytes.
    extra_size: usize,
    max_wait: Duration,
    /// Maximum time for opening an object, and for rendering one image.
    timeout: Duration,
}

impl RenderPool {
    /// Creates a pool of `parallelism` permits, at least one, for `memory` bytes. Rendering one image takes at most `timeout`.
    pub fn new(memory: u64, parallelism: usize, timeout: Duration) -> Self {
        let permits = parallelism.clamp(1, Semaphore::MAX_PERMITS);
        let half_size = usize::try_from(memory / 2).unwrap_or(usize::MAX);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            extra_permit: Arc::new(Semaphore::new(1)),
            share_size: half_size / permits,
            extra_size: half_size,
            max_wait: MAX_WAIT,
            timeout,
        }
    }

    /// Waits for a permit.
    pub(super) async fn acquire(&self) -> Result<RenderPermit, DicomwebError> {
        Ok(RenderPermit { pool: self.clone(), _permit: self.acquire_from(&self.permits).await?, extra: None })
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

/// A permit for rendering, which is released when its last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct RenderPermit {
    pool: RenderPool,
    _permit: Arc<OwnedSemaphorePermit>,
    extra: Option<Arc<OwnedSemaphorePermit>>,
}

impl RenderPermit {
    /// Returns the size in bytes of the memory that the owner may use.
    pub(super) fn limit(&self) -> usize {
        let extra_size = if self.extra.is_some() { self.pool.extra_size } else { 0 };
        self.pool.share_size + extra_size
    }

    /// Waits for more memory. Returns whether the limit has increased.
    pub(super) async fn acquire_extra_memory(&mut self) -> Result<bool, DicomwebError> {
        if self.extra.is_some() {
            return Ok(false);
        }
        self.extra = Some(self.pool.acquire_from(&self.pool.extra_permit).await?);
        Ok(true)
    }

    /// Runs `work` on a blocking thread. It is canceled after the timeout of the pool, or if the caller is canceled. The permit is not
    /// released before `work` ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Cancellation<'_>) -> Result<T, RenderError> + Send + 'static,
    ) -> Result<T, DicomwebError> {
        let (permit, timeout) = (self.clone(), self.pool.timeout);
        let caller = Caller::default();
        let is_canceled = Arc::clone(&caller.is_canceled);
        let task = tokio::task::spawn_blocking(move || {
            // The wait for a thread does not count.
            let started = Instant::now();
            let is_too_late = || started.elapsed() >= timeout;
            let result = work(Cancellation::new(&|| is_canceled.load(Ordering::Relaxed) || is_too_late()));
            drop(permit);
            result.map_err(|error| match error {
                RenderError::Codec(CodecError::Canceled) => DicomwebError::RenderTimeout(timeout),
                error => error.into(),
            })
        });
        match task.await {
            Ok(result) => result,
            // A decoder has panicked.
            Err(error) if error.is_panic() => {
                Err(RenderError::Malformed("its pixel data made a decoder fail").into())
            }
            Err(_) => Err(DicomwebError::Interrupted),
        }
    }
}

/// The caller that waits for the result, until this value is dropped.
#[derive(Debug, Default)]
struct Caller {
    is_canceled: Arc<AtomicBool>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.is_canceled.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timeout that no test reaches.
    const UNREACHED: Duration = Duration::from_hours(1);

    /// Work that ends only if it is canceled.
    fn work_until_canceled(cancellation: Cancellation<'_>) -> Result<(), RenderError> {
        loop {
            cancellation.check()?;
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn work_that_takes_too_long_is_canceled() {
        let pool = RenderPool::new(1000, 1, Duration::from_millis(1));
        let permit = pool.acquire().await.unwrap();
        let result = permit.run(work_until_canceled).await;
        assert!(matches!(result, Err(DicomwebError::RenderTimeout(_))));
    }

    #[tokio::test]
    async fn work_ends_when_its_caller_is_canceled() {
        let pool = RenderPool { max_wait: UNREACHED, ..RenderPool::new(1000, 1, UNREACHED) };
        let permit = pool.acquire().await.unwrap();
        let work = tokio::spawn(async move { permit.run(work_until_canceled).await });
        tokio::task::yield_now().await;
        work.abort();
        assert!(pool.acquire().await.is_ok(), "the permit is released");
    }

    #[tokio::test]
    async fn all_permits_together_never_exceed_the_memory() {
        let pool = RenderPool { max_wait: Duration::from_millis(1), ..RenderPool::new(1000, 4, UNREACHED) };
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(pool.acquire().await.unwrap());
        }
        assert!(permits[0].acquire_extra_memory().await.unwrap());
        assert!(!permits[0].acquire_extra_memory().await.unwrap(), "there is no more memory");
        assert_eq!(permits.iter().map(RenderPermit::limit).sum::<usize>(), 1000);
        assert!(matches!(pool.acquire().await, Err(DicomwebError::RenderPoolBusy)));
        assert!(matches!(permits[1].acquire_extra_memory().await, Err(DicomwebError::RenderPoolBusy)));
        permits.remove(0);
        assert!(permits[0].acquire_extra_memory().await.unwrap());
        assert!(pool.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn a_decoder_that_panics_releases_its_permit() {
        let pool = RenderPool::new(1000, 1, UNREACHED);
        let permit = pool.acquire().await.unwrap();
        let result = permit.run(|_| -> Result<(), _> { panic!("a malformed stream") }).await;
        assert!(matches!(result, Err(DicomwebError::Render(RenderError::Malformed(_)))));
        drop(permit);
        assert!(pool.acquire().await.is_ok());
    }

    #[tokio::test]
    async fn a_permit_is_not_released_before_its_work_ends() {
        let pool = RenderPool::new(1000, 1, UNREACHED);
        let (end_sender, end_receiver) = std::sync::mpsc::channel::<()>();
        let permit = pool.acquire().await.unwrap();
        let work = tokio::spawn(async move {
            permit.run(move |_| end_receiver.recv().map_err(|_| RenderError::NoImage)).await
        });
        tokio::task::yield_now().await;
        work.abort();
        assert_eq!(pool.permits.available_permits(), 0);
        end_sender.send(()).unwrap();
        assert!(pool.acquire().await.is_ok());
    }
}
