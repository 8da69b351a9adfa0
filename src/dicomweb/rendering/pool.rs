//! Limits how many images are rendered at once, and how much memory they take together.
//!
//! Half of the memory is shared out evenly, a share for each place. The other half is for one at a time that needs more
//! than its share: who has it waits for nobody, so that nobody waits for ever, and all together never take more than there
//! is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dicomweb::error::DicomwebError;
use dicom_render::RenderError;

/// As long as a call waits for its turn at an archive.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The places; cloning gives the same ones.
#[derive(Debug, Clone)]
pub struct RenderPool {
    places: Arc<Semaphore>,
    wide: Arc<Semaphore>,
    share: usize,
    half: usize,
    longest_wait: Duration,
}

impl RenderPool {
    /// With `parallelism` places, 1 at least, in `memory` bytes.
    pub fn new(memory: u64, parallelism: usize) -> Self {
        let places = parallelism.clamp(1, Semaphore::MAX_PERMITS);
        let half = usize::try_from(memory / 2).unwrap_or(usize::MAX);
        Self {
            places: Arc::new(Semaphore::new(places)),
            wide: Arc::new(Semaphore::new(1)),
            share: half / places,
            half,
            longest_wait: MAX_WAIT,
        }
    }

    /// A place, as soon as one is free.
    pub(super) async fn enter(&self) -> Result<RenderPermit, DicomwebError> {
        Ok(RenderPermit { pool: self.clone(), _permit: self.permit_of(&self.places).await?, wide: None })
    }

    async fn permit_of(
        &self,
        semaphore: &Arc<Semaphore>,
    ) -> Result<Arc<OwnedSemaphorePermit>, DicomwebError> {
        match tokio::time::timeout(self.longest_wait, Arc::clone(semaphore).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Arc::new(permit)),
            _ => Err(DicomwebError::RenderPoolBusy),
        }
    }
}

/// A place; its clones are the same, and it is free when the last of them is gone.
#[derive(Debug, Clone)]
pub(super) struct RenderPermit {
    pool: RenderPool,
    _permit: Arc<OwnedSemaphorePermit>,
    wide: Option<Arc<OwnedSemaphorePermit>>,
}

impl RenderPermit {
    /// Bytes that may be taken here.
    pub(super) fn limit(&self) -> usize {
        if self.wide.is_some() { self.pool.share + self.pool.half } else { self.pool.share }
    }

    /// Waits for more memory; whether there is more than before.
    pub(super) async fn widen(&mut self) -> Result<bool, DicomwebError> {
        if self.wide.is_some() {
            return Ok(false);
        }
        self.wide = Some(self.pool.permit_of(&self.pool.wide).await?);
        Ok(true)
    }

    /// Does `work` where it may block. The place stays taken until it is done, though nobody may wait for it any more.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RenderError> + Send + 'static,
    ) -> Result<T, DicomwebError> {
        let place = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        match task.await {
            Ok(done) => Ok(done?),
            // A decoder that met what it did not expect.
            Err(error) if error.is_panic() => {
                Err(RenderError::Broken("a decoder gave up on its pixels").into())
            }
            Err(_) => Err(DicomwebError::Interrupted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_places_together_take_no_more_than_there_is() {
        let pool = RenderPool { longest_wait: Duration::from_millis(1), ..RenderPool::new(1000, 4) };
        let mut places = Vec::new();
        for _ in 0..4 {
            places.push(pool.enter().await.unwrap());
        }
        assert!(places[0].widen().await.unwrap());
        assert!(!places[0].widen().await.unwrap(), "there is nothing more to be had");
        assert_eq!(places.iter().map(RenderPermit::limit).sum::<usize>(), 1000);
        assert!(matches!(pool.enter().await, Err(DicomwebError::RenderPoolBusy)));
        assert!(matches!(places[1].widen().await, Err(DicomwebError::RenderPoolBusy)));
        places.remove(0);
        assert!(places[0].widen().await.unwrap());
        assert!(pool.enter().await.is_ok());
    }

    #[tokio::test]
    async fn a_decoder_that_panics_takes_nothing_with_it() {
        let pool = RenderPool::new(1000, 1);
        let place = pool.enter().await.unwrap();
        let broken = place.work(|| -> Result<(), _> { panic!("a hostile stream") }).await;
        assert!(matches!(broken, Err(DicomwebError::Render(RenderError::Broken(_)))));
        drop(place);
        assert!(pool.enter().await.is_ok());
    }

    #[tokio::test]
    async fn a_place_is_taken_until_its_work_is_done() {
        let pool = RenderPool::new(1000, 1);
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let place = pool.enter().await.unwrap();
        let work =
            tokio::spawn(
                async move { place.work(move || wait.recv().map_err(|_| RenderError::NoImage)).await },
            );
        tokio::task::yield_now().await;
        work.abort();
        assert_eq!(pool.places.available_permits(), 0);
        go.send(()).unwrap();
        assert!(pool.enter().await.is_ok());
    }
}
