//! The queue of the calls to one archive: admission control for client requests, and the order in which calls get a permit.
//!
//! A request starts when its first call gets a permit. Its further calls take precedence over those of requests that have not
//! started; otherwise every call would wait behind all new requests, and under overload most requests would be aborted half-done.
//! A bounded number of requests may wait for their first call; further requests are rejected at once. While a request has a
//! quarter of the permits of a class, the other requests take precedence, so that one large request leaves permits for small requests.
//! Calls of abandoned work, which no client waits for, get a permit only while no other call waits; those in flight are aborted
//! when another call needs the permit.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::ArchiveId;
use super::request::RequestClass;
use crate::request_priority::{RequestPriority, WorkObserver};

/// While other requests wait, one request may use the number of permits of a class divided by this number.
const SHARE_DIVISOR: usize = 4;

/// The limits of one class of calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClassLimits {
    /// Maximum number of calls in flight.
    pub(super) max_calls: usize,
    /// Maximum number of requests that wait for their first call.
    pub(super) max_waiting: usize,
}

/// The reason why a call gets no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPermit {
    /// The maximum number of requests already waits.
    QueueFull,
    /// No request waits for the result of the call, but other calls wait for a permit.
    Abandoned,
}

/// The queue of one archive.
#[derive(Debug)]
pub(super) struct CallQueue(Arc<QueueShared>);

#[derive(Debug)]
struct QueueShared {
    archive: ArchiveId,
    state: Mutex<QueueState>,
}

#[derive(Debug)]
struct QueueState {
    next_call: u64,
    searches: ClassQueue,
    metadata: ClassQueue,
    retrievals: ClassQueue,
}

/// The calls of one class.
#[derive(Debug)]
struct ClassQueue {
    limits: ClassLimits,
    in_flight: Vec<CallInFlight>,
    waiting: Vec<WaitingCall>,
}

/// A call with a permit.
#[derive(Debug)]
struct CallInFlight {
    id: u64,
    priority: RequestPriority,
    /// Revokes the permit; `None` if it was revoked.
    revocation: Option<oneshot::Sender<()>>,
}

/// A call that waits for a permit.
#[derive(Debug)]
struct WaitingCall {
    id: u64,
    priority: RequestPriority,
    sender: oneshot::Sender<CallPermit>,
}

/// The permission for one call, until this value is dropped.
#[derive(Debug)]
pub(super) struct CallPermit {
    queue: Arc<QueueShared>,
    class: RequestClass,
    id: u64,
    revocation: oneshot::Receiver<()>,
}

/// A call in the queue, which is removed when this value is dropped.
#[derive(Debug)]
pub(super) struct QueuedCall {
    queue: Arc<QueueShared>,
    class: RequestClass,
    id: u64,
    receiver: oneshot::Receiver<CallPermit>,
}

/// Permits for calls that were waiting. They are sent after the state was unlocked, because a permit that is not received is
/// released, which locks the state.
type Grants = Vec<(oneshot::Sender<CallPermit>, CallPermit)>;

impl CallQueue {
    /// Creates the queue of `archive`.
    pub(super) fn new(
        archive: ArchiveId,
        searches: ClassLimits,
        metadata: ClassLimits,
        retrievals: ClassLimits,
    ) -> Self {
        let class_queue = |limits| ClassQueue { limits, in_flight: Vec::new(), waiting: Vec::new() };
        let state = QueueState {
            next_call: 0,
            searches: class_queue(searches),
            metadata: class_queue(metadata),
            retrievals: class_queue(retrievals),
        };
        Self(Arc::new(QueueShared { archive, state: Mutex::new(state) }))
    }

    /// Adds a call for the work with `priority` to the queue.
    pub(super) fn join(
        &self,
        class: RequestClass,
        priority: &RequestPriority,
    ) -> Result<QueuedCall, NoPermit> {
        let (sender, receiver) = oneshot::channel();
        let observer: Weak<QueueShared> = Arc::downgrade(&self.0);
        priority.observe(observer);
        let mut state = self.0.lock_state();
        let id = state.next_call;
        state.next_call += 1;
        state.class_queue(class).waiting.push(WaitingCall { id, priority: priority.clone(), sender });
        let grants = self.0.grant(&mut state);
        let class_queue = state.class_queue(class);
        let is_waiting = class_queue.waiting.iter().any(|call| call.id == id);
        let is_full = is_waiting
            && !priority.has_called(&self.0.archive)
            && class_queue.new_requests(&self.0.archive).len() > class_queue.limits.max_waiting;
        if is_full {
            class_queue.waiting.retain(|call| call.id != id);
        }
        drop(state);
        send(grants);
        if is_full {
            Err(NoPermit::QueueFull)
        } else {
            Ok(QueuedCall { queue: Arc::clone(&self.0), class, id, receiver })
        }
    }
}

impl QueuedCall {
    /// Waits for the permit. The call keeps its place in the queue if the future is dropped.
    pub(super) async fn permit(&mut self) -> Result<CallPermit, NoPermit> {
        (&mut self.receiver).await.map_err(|_| NoPermit::Abandoned)
    }
}

impl Drop for QueuedCall {
    fn drop(&mut self) {
        let mut state = self.queue.lock_state();
        let waiting = &mut state.class_queue(self.class).waiting;
        let Some(index) = waiting.iter().position(|call| call.id == self.id) else { return };
        waiting.remove(index);
        // The call may have prevented new requests of another class from starting.
        let grants = self.queue.grant(&mut state);
        drop(state);
        send(grants);
    }
}

impl CallPermit {
    /// Is ready when the call must be aborted, because no client waits for its result and other calls wait for the permit.
    pub(super) fn poll_revoked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.revocation.is_terminated() {
            return Poll::Ready(());
        }
        Pin::new(&mut self.revocation).poll(context).map(drop)
    }
}

impl WorkObserver for QueueShared {
    fn handle_abandoned_work(self: Arc<Self>) {
        let mut state = self.lock_state();
        let grants = self.grant(&mut state);
        drop(state);
        send(grants);
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let mut state = self.queue.lock_state();
        state.class_queue(self.class).in_flight.retain(|call| call.id != self.id);
        let grants = self.queue.grant(&mut state);
        drop(state);
        send(grants);
    }
}

fn send(grants: Grants) {
    for (sender, permit) in grants {
        // If the call was canceled meanwhile, its permit is dropped, and the next call gets it.
        drop(sender.send(permit));
    }
}

impl QueueShared {
    fn lock_state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the free permits to waiting calls. Abandoned calls that get none are removed from the queue, and abandoned calls in
    /// flight lose their permits if other calls need them.
    fn grant(self: &Arc<Self>, state: &mut QueueState) -> Grants {
        let mut grants = Grants::new();
        loop {
            let count = grants.len();
            for class in [RequestClass::Search, RequestClass::Metadata, RequestClass::Retrieve] {
                let admits_new_requests = state.admits_new_requests(class, &self.archive);
                let class_queue = state.class_queue(class);
                while class_queue.in_flight.len() < class_queue.limits.max_calls
                    && let Some(index) = class_queue.next(admits_new_requests, &self.archive)
                {
                    let WaitingCall { id, priority, sender } = class_queue.waiting.remove(index);
                    let (revocation, revoked) = oneshot::channel();
                    priority.record_call(&self.archive);
                    class_queue.in_flight.push(CallInFlight { id, priority, revocation: Some(revocation) });
                    let permit = CallPermit { queue: Arc::clone(self), class, id, revocation: revoked };
                    grants.push((sender, permit));
                }
                class_queue.waiting.retain(|call| call.priority.arrival().is_some());
                class_queue.revoke_abandoned(admits_new_requests, &self.archive);
            }
            // A call that has started in one class may admit new requests to the other.
            if grants.len() == count {
                return grants;
            }
        }
    }
}

impl QueueState {
    fn class_queue(&mut self, class: RequestClass) -> &mut ClassQueue {
        match class {
            RequestClass::Search => &mut self.searches,
            RequestClass::Metadata => &mut self.metadata,
            RequestClass::Retrieve => &mut self.retrievals,
        }
    }

    /// Whether requests whose first call is of `class` may start. Most requests need searches and then metadata. If as many started
    /// requests wait in one of the two classes as the class has permits, the class is the bottleneck, and a new request would only
    /// wait there.
    fn admits_new_requests(&self, class: RequestClass, archive: &ArchiveId) -> bool {
        let other = match class {
            RequestClass::Search => &self.metadata,
            RequestClass::Metadata => &self.searches,
            RequestClass::Retrieve => return true,
        };
        other.started_requests(archive).len() < other.limits.max_calls
    }
}

impl ClassQueue {
    /// Returns the index of the next call; `None` if no call may start.
    fn next(&self, admits_new_requests: bool, archive: &ArchiveId) -> Option<usize> {
        let max_calls_per_request = (self.limits.max_calls / SHARE_DIVISOR).max(1);
        let mut calls_by_request: HashMap<u64, usize> = HashMap::new();
        for arrival in self.in_flight.iter().filter_map(|call| call.priority.arrival()) {
            *calls_by_request.entry(arrival).or_default() += 1;
        }
        let rank = |call: &WaitingCall| {
            let arrival = call.priority.arrival();
            let is_new = !call.priority.has_called(archive);
            let calls = arrival.and_then(|arrival| calls_by_request.get(&arrival));
            let has_full_share = calls.is_some_and(|calls| *calls >= max_calls_per_request);
            (admits_new_requests || !is_new).then_some((
                arrival.is_none(),
                has_full_share,
                is_new,
                arrival,
                call.id,
            ))
        };
        let ranks = self.waiting.iter().enumerate().filter_map(|(index, call)| Some((rank(call)?, index)));
        ranks.min().map(|(_, index)| index)
    }

    /// Revokes the permits of as many abandoned calls as other calls need. No waiting call is abandoned.
    fn revoke_abandoned(&mut self, admits_new_requests: bool, archive: &ArchiveId) {
        let may_start = |call: &&WaitingCall| admits_new_requests || call.priority.has_called(archive);
        let needed_count = self.waiting.iter().filter(may_start).count();
        let revoked_count = self.in_flight.iter().filter(|call| call.revocation.is_none()).count();
        let abandoned = self.in_flight.iter_mut().filter(|call| call.priority.arrival().is_none());
        let revocations = abandoned.filter_map(|call| call.revocation.take());
        for revocation in revocations.take(needed_count.saturating_sub(revoked_count)) {
            // A call that ends at this moment does not need to be aborted.
            let _ = revocation.send(());
        }
    }

    /// Returns the requests that wait for their first call.
    fn new_requests(&self, archive: &ArchiveId) -> BTreeSet<u64> {
        let new = self.waiting.iter().filter(|call| !call.priority.has_called(archive));
        new.filter_map(|call| call.priority.arrival()).collect()
    }

    /// Returns the started requests that wait for a further call.
    fn started_requests(&self, archive: &ArchiveId) -> BTreeSet<u64> {
        let started = self.waiting.iter().filter(|call| call.priority.has_called(archive));
        started.filter_map(|call| call.priority.arrival()).collect()
    }
}

#[cfg(test)]
mod tests;
