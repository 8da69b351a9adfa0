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
    /// Complete request heads.
    head_count: AtomicU64,
    /// Request heads whose first bytes have been read, including the complete ones (HTTP/1).
    begun_head_count: AtomicU64,
    /// Frames of response bodies.
    frame_count: AtomicU64,
    /// Requests in flight.
    in_flight_count: AtomicUsize,
    /// Requests in flight whose client has not read the last frame of the response.
    unread_count: AtomicUsize,
    /// The sequence number of the last use, among the uses of all connections.
    last_use: AtomicU64,
}

/// The sequence number of the next use of a connection. The numbers only order uses, so all listeners of a process share them.
static NEXT_USE: AtomicU64 = AtomicU64::new(0);

impl Default for Activity {
    fn default() -> Self {
        Self {
            head_count: AtomicU64::default(),
            begun_head_count: AtomicU64::default(),
            frame_count: AtomicU64::default(),
            in_flight_count: AtomicUsize::default(),
            unread_count: AtomicUsize::default(),
            last_use: AtomicU64::new(NEXT_USE.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// A snapshot of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionState {
    head_count: u64,
    frame_count: u64,
    /// Whether no request is in flight, or every request in flight waits for the client to read its response.
    pub(super) waits_for_client: bool,
}

impl Activity {
    /// Returns the number of complete request heads.
    pub(super) fn head_count(&self) -> u64 {
        self.head_count.load(Ordering::Acquire)
    }

    /// Records bytes of the next head; returns whether they are its first ones.
    pub(super) fn begin_head(&self) -> bool {
        let count = self.head_count() + 1;
        self.begun_head_count.swap(count, Ordering::AcqRel) != count
    }

    /// Whether bytes of the next head have been read, but not the whole head.
    pub(super) fn is_in_head(&self) -> bool {
        self.begun_head_count.load(Ordering::Acquire) > self.head_count()
    }

    /// Whether no request is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight_count.load(Ordering::Acquire) == 0
    }

    /// Returns the sequence number of the last request, or of the start of the connection if there was no request.
    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Returns a snapshot, to be compared with a later one.
    pub(super) fn snapshot(&self) -> ConnectionState {
        let in_flight_count = self.in_flight_count.load(Ordering::Acquire);
        ConnectionState {
            head_count: self.head_count(),
            frame_count: self.frame_count.load(Ordering::Acquire),
            waits_for_client: in_flight_count == self.unread_count.load(Ordering::Acquire),
        }
    }

    /// Counts a complete request head. The request is in flight until the returned value is dropped.
    pub(super) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight_count.fetch_add(1, Ordering::AcqRel);
        self.head_count.fetch_add(1, Ordering::AcqRel);
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
    /// Records whether a frame of the response is unread: the last poll returned it, and the body has not been polled again.
    fn set_unread(&mut self, is_unread: bool) {
        if is_unread {
            self.activity.frame_count.fetch_add(1, Ordering::AcqRel);
        }
        match (self.is_unread, is_unread) {
            (false, true) => drop(self.activity.unread_count.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(self.activity.unread_count.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        self.is_unread = is_unread;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_unread(false);
        self.activity.last_use.store(NEXT_USE.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        self.activity.in_flight_count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A response body that keeps its request in flight.
pub(super) type ResponseBody<B> = ObservedBody<StreamBody<B>, InFlight>;

impl<B: Body<Data = Bytes>> BodyObserver<B> for InFlight {
    fn observe(&mut self, outcome: &PollFrame<B::Error>, _: &B) {
        self.set_unread(matches!(outcome, Poll::Ready(Some(_))));
    }
}
