//! What goes on inside one connection: told by the service side, read by the timers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::http::body::{Body, BoxError};

/// Shared by everybody who looks after one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    heads: AtomicU64,
    in_flight: AtomicUsize,
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

    /// A head has been read whole. Its request is in flight until the returned value is dropped.
    pub(super) fn request_begun(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.heads.fetch_add(1, Ordering::AcqRel);
        InFlight(Arc::clone(self))
    }
}

/// One request, from its head to the last byte of its answer or to the moment at which nobody wants it any more.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that keeps its request in flight.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

impl AnswerBody {
    /// Keeps `in_flight` for as long as `body` is being sent.
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
