//! The priority of work at the archives: whether the client requests that wait for it are under way, and which of them came first.
//!
//! Each client request has a priority, which is passed to every call through the handle of the archive. Work that several
//! requests share has the priority of the oldest of those that still wait for it; work for which the last
//! waiting request has left is abandoned, and may be ended. This module does not decide which call is next (`upstream` does).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::archive_id::ArchiveId;

/// The priority of one client request, or of work that several requests share. Clones share their state.
#[derive(Debug, Clone)]
pub struct RequestPriority(Arc<PriorityState>);

#[derive(Debug)]
struct PriorityState {
    holder: PriorityHolder,
    /// The archives at which a call has begun.
    begun: Mutex<Vec<ArchiveId>>,
}

#[derive(Debug)]
enum PriorityHolder {
    /// A client request, with its number in the order of arrival.
    Request(u64),
    /// The requests that wait for shared work, and those who must know when none is left.
    Shared { waiting: Mutex<Vec<RequestPriority>>, observers: Mutex<Vec<Weak<dyn WorkObserver>>> },
}

/// Something that must know when shared work is abandoned.
pub trait WorkObserver: fmt::Debug + Send + Sync {
    /// The last request that waited for some shared work has left.
    fn work_abandoned(self: Arc<Self>);
}

/// A request that waits for shared work until this value is dropped.
#[derive(Debug)]
pub struct SharedWorkWaiter {
    work: RequestPriority,
    request: RequestPriority,
}

/// The number of the next client request. The numbers only order requests, so all gateways of a process may use them.
static NEXT_ARRIVAL: AtomicU64 = AtomicU64::new(0);

impl RequestPriority {
    /// Creates the priority of a client request that arrives now.
    pub fn of_new_request() -> Self {
        Self::new(PriorityHolder::Request(NEXT_ARRIVAL.fetch_add(1, Ordering::Relaxed)))
    }

    /// Creates the priority of work that requests can share. It has no priority until a request waits for it.
    pub fn of_shared_work() -> Self {
        Self::new(PriorityHolder::Shared { waiting: Mutex::default(), observers: Mutex::default() })
    }

    fn new(holder: PriorityHolder) -> Self {
        Self(Arc::new(PriorityState { holder, begun: Mutex::default() }))
    }

    /// Adds `request` to the requests that wait for this shared work, until the result is dropped.
    pub fn wait_as(&self, request: &Self) -> SharedWorkWaiter {
        if let PriorityHolder::Shared { waiting, .. } = &self.0.holder {
            lock(waiting).push(request.clone());
        }
        SharedWorkWaiter { work: self.clone(), request: request.clone() }
    }

    /// Calls `observer` when the work, if it is shared, is abandoned.
    pub fn observe(&self, observer: Weak<dyn WorkObserver>) {
        if let PriorityHolder::Shared { observers, .. } = &self.0.holder {
            let mut observers = lock(observers);
            if !observers.iter().any(|other| other.ptr_eq(&observer)) {
                observers.push(observer);
            }
        }
    }

    /// Returns the number of the oldest request that waits for the work, in the order of arrival; `None` if the work is abandoned.
    pub fn arrival(&self) -> Option<u64> {
        match &self.0.holder {
            PriorityHolder::Request(arrival) => Some(*arrival),
            PriorityHolder::Shared { waiting, .. } => lock(waiting).iter().filter_map(Self::arrival).min(),
        }
    }

    /// Whether a call of the work, or of a request that waits for it, has begun at `archive`.
    pub fn has_begun(&self, archive: &ArchiveId) -> bool {
        let is_begun = lock(&self.0.begun).contains(archive);
        is_begun
            || match &self.0.holder {
                PriorityHolder::Request(_) => false,
                PriorityHolder::Shared { waiting, .. } => {
                    lock(waiting).iter().any(|request| request.has_begun(archive))
                }
            }
    }

    /// Records that a call has begun at `archive`, for the work and for every request that waits for it.
    pub fn begin(&self, archive: &ArchiveId) {
        let mut begun = lock(&self.0.begun);
        if !begun.contains(archive) {
            begun.push(archive.clone());
        }
        drop(begun);
        if let PriorityHolder::Shared { waiting, .. } = &self.0.holder {
            for request in lock(waiting).iter() {
                request.begin(archive);
            }
        }
    }
}

impl Drop for SharedWorkWaiter {
    fn drop(&mut self) {
        let PriorityHolder::Shared { waiting, observers } = &self.work.0.holder else { return };
        let mut waiting = lock(waiting);
        if let Some(index) = waiting.iter().position(|other| Arc::ptr_eq(&other.0, &self.request.0)) {
            waiting.swap_remove(index);
        }
        let is_abandoned = waiting.is_empty();
        drop(waiting);
        if is_abandoned {
            // The observers read priorities, so nothing is locked while they are called.
            let observers: Vec<_> = lock(observers).iter().filter_map(Weak::upgrade).collect();
            observers.into_iter().for_each(WorkObserver::work_abandoned);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_work_has_the_priority_of_the_oldest_request_that_still_waits() {
        let (older, newer) = (RequestPriority::of_new_request(), RequestPriority::of_new_request());
        let work = RequestPriority::of_shared_work();
        assert_eq!(work.arrival(), None, "no request waits");
        let newer_waits = work.wait_as(&newer);
        assert_eq!(work.arrival(), newer.arrival());
        let older_waits = work.wait_as(&older);
        assert_eq!(work.arrival(), older.arrival());
        drop(older_waits);
        assert_eq!(work.arrival(), newer.arrival());
        drop(newer_waits);
        assert_eq!(work.arrival(), None, "every request has left");
    }

    #[test]
    fn a_request_that_waits_twice_for_shared_work_still_waits_after_the_first_wait_ends() {
        let (request, work) = (RequestPriority::of_new_request(), RequestPriority::of_shared_work());
        let (first, second) = (work.wait_as(&request), work.wait_as(&request));
        drop(first);
        assert_eq!(work.arrival(), request.arrival());
        drop(second);
        assert_eq!(work.arrival(), None);
    }

    #[derive(Debug, Default)]
    struct CountingObserver(AtomicU64);

    impl WorkObserver for CountingObserver {
        fn work_abandoned(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn observers_are_called_once_when_the_last_request_leaves() {
        let observer = Arc::new(CountingObserver::default());
        let work = RequestPriority::of_shared_work();
        for _ in 0..2 {
            work.observe(Arc::downgrade(&observer) as Weak<dyn WorkObserver>);
        }
        let waiters = [(); 2].map(|()| work.wait_as(&RequestPriority::of_new_request()));
        let [first, second] = waiters;
        drop(first);
        assert_eq!(observer.0.load(Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(observer.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn shared_work_has_begun_if_it_or_a_request_that_waits_for_it_has_begun_at_the_archive() {
        let [main, other] = ["main", "other"].map(|id| ArchiveId::parse(id).unwrap());
        let (request, work) = (RequestPriority::of_new_request(), RequestPriority::of_shared_work());
        request.begin(&main);
        assert!(!work.has_begun(&main));
        let waits = work.wait_as(&request);
        assert!(work.has_begun(&main) && !work.has_begun(&other));
        work.begin(&other);
        assert!(request.has_begun(&other));
        drop(waits);
        assert!(work.has_begun(&other) && !work.has_begun(&main));
    }
}
