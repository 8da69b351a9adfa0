//! A bounded queue of cached studies for work in the background. It contains each study once, and a few studies are processed at
//! the same time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Representation;
use dicom_model::StudyUid;

/// Maximum number of studies in a queue.
const MAX_QUEUED_STUDIES: usize = 1000;

/// The studies that wait for work in the background, or are being worked on.
#[derive(Debug)]
pub(super) struct BackgroundQueue {
    queued: Mutex<HashSet<(StudyUid, Representation)>>,
    permits: Semaphore,
}

impl BackgroundQueue {
    /// Creates a queue of which `concurrency` studies are processed at the same time.
    pub(super) fn new(concurrency: usize) -> Self {
        Self { queued: Mutex::default(), permits: Semaphore::new(concurrency) }
    }

    /// Adds a study; `None` if it is already in the queue, or if the queue is full.
    pub(super) fn add(
        self: &Arc<Self>,
        uid: &StudyUid,
        representation: &Representation,
    ) -> Option<BackgroundWork> {
        let study = (uid.clone(), representation.clone());
        let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
        let is_added = queued.len() < MAX_QUEUED_STUDIES && queued.insert(study.clone());
        is_added.then(|| BackgroundWork { queue: Arc::clone(self), study })
    }
}

/// A place in the queue, which becomes free when the value is dropped.
#[derive(Debug)]
pub(super) struct BackgroundWork {
    queue: Arc<BackgroundQueue>,
    study: (StudyUid, Representation),
}

impl BackgroundWork {
    /// Returns the study.
    pub(super) fn study(&self) -> &(StudyUid, Representation) {
        &self.study
    }

    /// Waits until the work may begin. The work ends when the permit is dropped.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.queue.permits.acquire().await.ok()
    }
}

impl Drop for BackgroundWork {
    fn drop(&mut self) {
        self.queue.queued.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.study);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_and_contains_each_study_once() {
        let uid = |number: usize| StudyUid::parse(&format!("1.2.{number}")).unwrap();
        let queue = Arc::new(BackgroundQueue::new(1));
        let mut queued: Vec<_> = (0..MAX_QUEUED_STUDIES + 10)
            .filter_map(|number| queue.add(&uid(number), &Representation::Full))
            .collect();
        assert_eq!(queued.len(), MAX_QUEUED_STUDIES);
        queued.pop();
        assert!(queue.add(&uid(0), &Representation::Full).is_none());
        assert!(queue.add(&uid(0), &Representation::Summary).is_some());
    }
}
