//! Counters of the requests and responses of one connection. The service updates them, and the timers read them. This module does
//! not know about bytes on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use http_body::Body;

use super::stream_body::StreamBody;
use http_messages::observed_body::{BodyObserver, ObservedBody, PollFrame};

/// The shared counters of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    heads: AtomicU64,
    frames: AtomicU64,
    in_flight: AtomicUsize,
    unread: AtomicUsize,
    /// The number of the last use, in the order of the uses of all connections.
    last_use: AtomicU64,
}

/// The number of the next use of a connection. The numbers only order uses, so all listeners of a process may use them.
static NEXT_USE: AtomicU64 = AtomicU64::new(0);

impl Default for Activity {
    fn default() -> Self {
        Self {
            heads: AtomicU64::default(),
            frames: AtomicU64::default(),
            in_flight: AtomicUsize::default(),
            unread: AtomicUsize::default(),
            last_use: AtomicU64::new(NEXT_USE.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// A snapshot of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionState {
    heads: u64,
    frames: u64,
    /// Whether no request is in flight, or every request in flight waits for the client to read its response.
    pub(super) waits_for_client: bool,
}

impl Activity {
    /// Returns the number of complete request heads.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Acquire)
    }

    /// Whether no request is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// Returns a number that increases with the time of the last request, or of the connection if there was none.
    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Returns a snapshot, to be compared with a later one.
    pub(super) fn snapshot(&self) -> ConnectionState {
        let in_flight = self.in_flight.load(Ordering::Acquire);
        ConnectionState {
            heads: self.heads(),
            frames: self.frames.load(Ordering::Acquire),
            waits_for_client: in_flight == self.unread.load(Ordering::Acquire),
        }
    }

    /// Counts a complete request head. The request is in flight until the returned value is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.heads.fetch_add(1, Ordering::AcqRel);
        InFlight { activity: Arc::clone(self), is_unread: false }
    }
}

/// One request in flight: from its head to the last byte of its response, or until it is canceled.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    is_unread: bool,
}

impl InFlight {
    /// Records whether a frame of the response is unread, that is, returned by the last poll.
    fn set_unread(&mut self, is_unread: bool) {
        if is_unread {
            self.activity.frames.fetch_add(1, Ordering::AcqRel);
        }
        match (self.is_unread, is_unread) {
            (false, true) => drop(self.activity.unread.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(self.activity.unread.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        self.is_unread = is_unread;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_unread(false);
        self.activity.last_use.store(NEXT_USE.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        self.activity.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response body that keeps its request in flight.
pub(super) type ResponseBody<B> = ObservedBody<StreamBody<B>, InFlight>;

impl<B: Body<Data = Bytes>> BodyObserver<B> for InFlight {
    fn observe(&mut self, outcome: &PollFrame<B::Error>, _: &B) {
        self.set_unread(matches!(outcome, Poll::Ready(Some(_))));
    }
}
