//! The body of a forwarded response. A slow body is forwarded as long as chunks arrive; if no chunk arrives within the timeout,
//! the body ends with an error. The time that the client takes to read is not limited here.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::TransportError;

/// A forwarded body with a timeout between two chunks.
#[derive(Debug)]
pub(in crate::upstream) struct TimedBody {
    body: Incoming,
    idle_timeout: Duration,
    /// Runs only while a chunk is awaited, so that a client that reads slowly does not count as an archive that sends nothing.
    timer: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, idle_timeout: Duration) -> Self {
        Self { body, idle_timeout, timer: None }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| TransportError::Disconnected)));
        }
        let idle_timeout = this.idle_timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(TransportError::TimedOut)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
