//! What goes on inside one connection: told by the service side, read by the timers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use http_messages::body::BoxError;

/// Shared by everybody who looks after one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    heads: AtomicU64,
    pieces: AtomicU64,
    in_flight: AtomicUsize,
    untaken: AtomicUsize,
}

/// What has been going on up to one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ConnectionState {
    heads: u64,
    pieces: u64,
    /// There is nothing to be done, or nothing that can be done before the peer takes what it was given.
    pub(super) is_peers_turn: bool,
}

impl Activity {
    /// How many heads have been read whole.
    pub(super) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Acquire)
    }

    /// Nothing is being answered.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// For comparison with a later moment.
    pub(super) fn standing(&self) -> ConnectionState {
        let in_flight = self.in_flight.load(Ordering::Acquire);
        ConnectionState {
            heads: self.heads(),
            pieces: self.pieces.load(Ordering::Acquire),
            is_peers_turn: in_flight == self.untaken.load(Ordering::Acquire),
        }
    }

    /// A head has been read whole. Its request is in flight until the returned value is dropped.
    pub(super) fn request_begun(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.heads.fetch_add(1, Ordering::AcqRel);
        InFlight { activity: Arc::clone(self), is_untaken: false }
    }
}

/// One request, from its head to the last byte of its answer or to the moment at which nobody wants it any more.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    is_untaken: bool,
}

impl InFlight {
    /// A piece of the answer was handed over; it is untaken until more is asked for.
    fn set_untaken(&mut self, is_untaken: bool) {
        if is_untaken {
            self.activity.pieces.fetch_add(1, Ordering::AcqRel);
        }
        match (self.is_untaken, is_untaken) {
            (false, true) => drop(self.activity.untaken.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(self.activity.untaken.fetch_sub(1, Ordering::AcqRel)),
            _ => {}
        }
        self.is_untaken = is_untaken;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_untaken(false);
        self.activity.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that keeps its request in flight.
#[derive(Debug)]
pub(super) struct AnswerBody<B> {
    body: B,
    in_flight: InFlight,
}

impl<B> AnswerBody<B> {
    /// Keeps `in_flight` for as long as `body` is being sent.
    pub(super) fn new(body: B, in_flight: InFlight) -> Self {
        Self { body, in_flight }
    }
}

impl<B: http_body::Body<Data = Bytes, Error = BoxError> + Unpin> http_body::Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.in_flight.set_untaken(matches!(frame, Poll::Ready(Some(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
