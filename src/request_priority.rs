//! The priority of work at the archives. It consists of the order of arrival of the client requests that wait for the work, and of
//! the archives that the work or these requests have already called.
//!
//! Each client request has a priority, which is passed to every call through the handle of the archive. Work that several
//! requests share has the priority of the oldest request that still waits for it. When no request waits for it any more, the work
//! is abandoned, and may be aborted. This module does not select the next call (`upstream` does).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::archive_id::ArchiveId;

/// The priority of one client request, or of work that several requests share. Clones share their state.
#[derive(Debug, Clone)]
pub struct RequestPriority(Arc<PriorityState>);

#[derive(Debug)]
struct PriorityState {
    kind: PriorityKind,
    /// The archives at which a call has started.
    called_archives: Mutex<Vec<ArchiveId>>,
}

#[derive(Debug)]
enum PriorityKind {
    /// A client request, with its number in the order of arrival.
    Request(u64),
    /// The requests that wait for shared work, and the observers to notify when no request waits any more.
    Shared { waiting_requests: Mutex<Vec<RequestPriority>>, observers: Mutex<Vec<Weak<dyn WorkObserver>>> },
}

/// An observer of shared work, which is notified when the work is abandoned.
pub trait WorkObserver: fmt::Debug + Send + Sync {
    /// Handles work for which no request waits any more.
    fn handle_abandoned_work(self: Arc<Self>);
}

/// A request that waits for shared work until this value is dropped.
#[derive(Debug)]
pub struct SharedWorkWaiter {
    work: RequestPriority,
    request: RequestPriority,
}

/// The number of the next client request. The numbers only order requests, so all gateways of a process may share them.
static NEXT_ARRIVAL: AtomicU64 = AtomicU64::new(0);

impl RequestPriority {
    /// Creates the priority of a client request that arrives now.
    pub fn of_new_request() -> Self {
        Self::new(PriorityKind::Request(NEXT_ARRIVAL.fetch_add(1, Ordering::Relaxed)))
    }

    /// Creates the priority of work that requests can share. It has no priority until a request waits for it.
    pub fn of_shared_work() -> Self {
        Self::new(PriorityKind::Shared { waiting_requests: Mutex::default(), observers: Mutex::default() })
    }

    fn new(kind: PriorityKind) -> Self {
        Self(Arc::new(PriorityState { kind, called_archives: Mutex::default() }))
    }

    /// Adds `request` to the requests that wait for this shared work, until the result is dropped.
    pub fn add_waiter(&self, request: &Self) -> SharedWorkWaiter {
        if let PriorityKind::Shared { waiting_requests, .. } = &self.0.kind {
            lock(waiting_requests).push(request.clone());
        }
        SharedWorkWaiter { work: self.clone(), request: request.clone() }
    }

    /// Calls `observer` when the work, if it is shared, is abandoned.
    pub fn observe(&self, observer: Weak<dyn WorkObserver>) {
        if let PriorityKind::Shared { observers, .. } = &self.0.kind {
            let mut observers = lock(observers);
            if !observers.iter().any(|other| other.ptr_eq(&observer)) {
                observers.push(observer);
            }
        }
    }

    /// Returns the number of the oldest request that waits for the work, in the order of arrival; `None` if the work is abandoned.
    pub fn arrival(&self) -> Option<u64> {
        match &self.0.kind {
            PriorityKind::Request(arrival) => Some(*arrival),
            PriorityKind::Shared { waiting_requests, .. } => {
                lock(waiting_requests).iter().filter_map(Self::arrival).min()
            }
        }
    }

    /// Whether a call of the work, or of a request that waits for it, has started at `archive`.
    pub fn has_called(&self, archive: &ArchiveId) -> bool {
        let has_own_call = lock(&self.0.called_archives).contains(archive);
        has_own_call
            || match &self.0.kind {
                PriorityKind::Request(_) => false,
                PriorityKind::Shared { waiting_requests, .. } => {
                    lock(waiting_requests).iter().any(|request| request.has_called(archive))
                }
            }
    }

    /// Records that a call has started at `archive`, for the work and for every request that waits for it.
    pub fn record_call(&self, archive: &ArchiveId) {
        let mut called_archives = lock(&self.0.called_archives);
        if !called_archives.contains(archive) {
            called_archives.push(archive.clone());
        }
        drop(called_archives);
        if let PriorityKind::Shared { waiting_requests, .. } = &self.0.kind {
            for request in lock(waiting_requests).iter() {
                request.record_call(archive);
            }
        }
    }
}

impl Drop for SharedWorkWaiter {
    fn drop(&mut self) {
        let PriorityKind::Shared { waiting_requests, observers } = &self.work.0.kind else { return };
        let mut waiting_requests = lock(waiting_requests);
        if let Some(index) = waiting_requests.iter().position(|other| Arc::ptr_eq(&other.0, &self.request.0))
        {
            waiting_requests.swap_remove(index);
        }
        let is_abandoned = waiting_requests.is_empty();
        drop(waiting_requests);
        if is_abandoned {
            // The observers read priorities, so nothing is locked while they are called.
            let observers: Vec<_> = lock(observers).iter().filter_map(Weak::upgrade).collect();
            observers.into_iter().for_each(WorkObserver::handle_abandoned_work);
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
        let newer_waiter = work.add_waiter(&newer);
        assert_eq!(work.arrival(), newer.arrival());
        let older_waiter = work.add_waiter(&older);
        assert_eq!(work.arrival(), older.arrival());
        drop(older_waiter);
        assert_eq!(work.arrival(), newer.arrival());
        drop(newer_waiter);
        assert_eq!(work.arrival(), None, "no request waits any more");
    }

    #[test]
    fn a_request_that_waits_twice_for_shared_work_still_waits_after_the_first_wait_ends() {
        let (request, work) = (RequestPriority::of_new_request(), RequestPriority::of_shared_work());
        let (first, second) = (work.add_waiter(&request), work.add_waiter(&request));
        drop(first);
        assert_eq!(work.arrival(), request.arrival());
        drop(second);
        assert_eq!(work.arrival(), None);
    }

    #[derive(Debug, Default)]
    struct CountingObserver(AtomicU64);

    impl WorkObserver for CountingObserver {
        fn handle_abandoned_work(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn observers_are_notified_once_when_the_last_request_stops_waiting() {
        let observer = Arc::new(CountingObserver::default());
        let work = RequestPriority::of_shared_work();
        for _ in 0..2 {
            work.observe(Arc::downgrade(&observer) as Weak<dyn WorkObserver>);
        }
        let waiters = [(); 2].map(|()| work.add_waiter(&RequestPriority::of_new_request()));
        let [first, second] = waiters;
        drop(first);
        assert_eq!(observer.0.load(Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(observer.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn shared_work_has_called_an_archive_if_it_or_a_request_that_waits_for_it_has_called_it() {
        let [main, other] = ["main", "other"].map(|id| ArchiveId::parse(id).unwrap());
        let (request, work) = (RequestPriority::of_new_request(), RequestPriority::of_shared_work());
        request.record_call(&main);
        assert!(!work.has_called(&main));
        let waiter = work.add_waiter(&request);
        assert!(work.has_called(&main) && !work.has_called(&other));
        work.record_call(&other);
        assert!(request.has_called(&other));
        drop(waiter);
        assert!(work.has_called(&other) && !work.has_called(&main));
    }
}
