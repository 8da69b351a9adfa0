//! Response bodies of HTTP/2 streams, which are dropped if the client reads nothing from them for too long.
//!
//! While the flow control window of a stream is exhausted (RFC 9113 5.2), its body is not polled, so a timer in the body would not
//! expire. Meanwhile the body occupies its source: a connection to an archive, and one of its permits. Therefore the connection checks
//! its streams. The timers of the connection do not help if its other streams make progress.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_messages::body::BoxError;

/// Maximum length in bytes of a frame of a body that can be dropped. Larger frames are divided, so that the progress of a client that
/// reads slowly but steadily is visible: at 4 KiB/s it reads such a frame in half a minute.
const MAX_FRAME_LEN: usize = 128 * 1024;

/// The bodies of a connection that can be dropped. Finished bodies are removed by [`OpenStreams::drop_stalled`].
#[derive(Default)]
pub(super) struct OpenStreams(Mutex<Vec<Weak<dyn Droppable>>>);

/// A body that its connection can drop.
trait Droppable: Send + Sync {
    /// Drops the body if the client has read nothing from it for `timeout`.
    fn drop_if_stalled(&self, timeout: Duration);
}

/// A response body.
#[derive(Debug)]
pub(super) struct StreamBody<B>(BodyOwner<B>);

#[derive(Debug)]
enum BodyOwner<B> {
    /// The connection detects stalled clients.
    Connection(B),
    /// The connection can drop the body.
    Shared(Arc<Mutex<SharedBody<B>>>),
}

#[derive(Debug)]
struct SharedBody<B> {
    /// The body; `None` if it was dropped.
    body: Option<B>,
    /// The part of the last frame that was not returned yet.
    rest: Bytes,
    /// When the last frame was returned, or when the body was created; `None` while the body waits for its next frame.
    unread_since: Option<Instant>,
}

impl fmt::Debug for OpenStreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OpenStreams")
    }
}

impl OpenStreams {
    /// Drops each body from which the client has read nothing for `timeout`.
    pub(super) fn drop_stalled(&self, timeout: Duration) {
        let mut streams = lock(&self.0);
        streams.retain(|stream| stream.strong_count() > 0);
        let open: Vec<_> = streams.iter().filter_map(Weak::upgrade).collect();
        drop(streams);
        for stream in open {
            stream.drop_if_stalled(timeout);
        }
    }
}

impl<B: Send + 'static> StreamBody<B> {
    /// Creates a body that is dropped only with its connection.
    pub(super) fn of_connection(body: B) -> Self {
        Self(BodyOwner::Connection(body))
    }

    /// Creates a body that `streams` can drop.
    pub(super) fn of_stream(body: B, streams: &OpenStreams) -> Self {
        let shared = Arc::new(Mutex::new(SharedBody {
            body: Some(body),
            rest: Bytes::new(),
            unread_since: Some(Instant::now()),
        }));
        let droppable: Weak<Mutex<SharedBody<B>>> = Arc::downgrade(&shared);
        lock(&streams.0).push(droppable);
        Self(BodyOwner::Shared(shared))
    }
}

impl<B: Send> Droppable for Mutex<SharedBody<B>> {
    fn drop_if_stalled(&self, timeout: Duration) {
        let mut shared = lock(self);
        let is_stalled = shared.unread_since.is_some_and(|since| since.elapsed() >= timeout);
        let body = if is_stalled { shared.body.take() } else { None };
        drop(shared);
        drop(body);
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> Body for StreamBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let shared = match &mut self.0 {
            BodyOwner::Connection(body) => return Pin::new(body).poll_frame(context),
            BodyOwner::Shared(shared) => shared,
        };
        let mut shared = lock(shared);
        let frame = shared.poll_frame(context);
        let is_unread = matches!(frame, Poll::Ready(Some(Ok(_))));
        shared.unread_since = is_unread.then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyOwner::Connection(body) => body.is_end_stream(),
            BodyOwner::Shared(shared) => lock(shared).is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyOwner::Connection(body) => body.size_hint(),
            BodyOwner::Shared(shared) => lock(shared).size_hint(),
        }
    }
}

impl<B: Body<Data = Bytes, Error = BoxError> + Unpin> SharedBody<B> {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Some(Err("the client read nothing from the response for too long".into())));
        };
        if self.rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(context)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(frame)) => return Poll::Ready(Some(Ok(frame))),
                None => return Poll::Ready(None),
            }
        }
        let len = self.rest.len().min(MAX_FRAME_LEN);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref().map(Body::size_hint).unwrap_or_default();
        let mut hint = SizeHint::new();
        let rest = self.rest.len() as u64;
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(body.lower().saturating_add(rest));
        hint
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody as FrameStream};

    use super::*;
    use http_messages::body::{self, Body as BoxedBody};

    /// Returns an endless body, and a reference that is valid as long as the body exists.
    fn endless_body() -> (BoxedBody, Weak<()>) {
        let marker = Arc::new(());
        let weak = Arc::downgrade(&marker);
        let frames = stream::repeat_with(move || {
            assert_eq!(Arc::strong_count(&marker), 1);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
        });
        (body::streamed(FrameStream::new(frames)), weak)
    }

    #[test]
    fn stalled_body_is_dropped_and_then_ends_with_an_error() {
        let streams = OpenStreams::default();
        let (inner, marker) = endless_body();
        let mut body = StreamBody::of_stream(inner, &streams);
        assert!(body.frame().now_or_never().unwrap().unwrap().is_ok());
        streams.drop_stalled(Duration::from_hours(1));
        assert!(marker.upgrade().is_some(), "the timeout has not elapsed");
        streams.drop_stalled(Duration::ZERO);
        assert!(marker.upgrade().is_none());
        assert!(!body.is_end_stream());
        assert!(body.frame().now_or_never().unwrap().unwrap().is_err());
    }

    #[test]
    fn body_that_waits_for_its_next_frame_is_not_dropped() {
        let streams = OpenStreams::default();
        let inner = body::streamed(FrameStream::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()));
        let mut body = StreamBody::of_stream(inner, &streams);
        assert!(body.frame().now_or_never().is_none());
        streams.drop_stalled(Duration::ZERO);
        assert!(body.frame().now_or_never().is_none());
    }

    #[test]
    fn large_frame_is_divided_and_the_size_hint_is_that_of_the_remaining_bytes() {
        let streams = OpenStreams::default();
        let bytes = Bytes::from(vec![7; 2 * MAX_FRAME_LEN + 1]);
        let mut body = StreamBody::of_stream(body::full(bytes.clone()), &streams);
        let mut received = Vec::new();
        while !body.is_end_stream() {
            assert_eq!(body.size_hint().exact(), Some((bytes.len() - received.len()) as u64));
            let frame = body.frame().now_or_never().unwrap().unwrap().unwrap().into_data().unwrap();
            assert!(frame.len() <= MAX_FRAME_LEN);
            received.extend_from_slice(&frame);
        }
        assert_eq!(received, bytes);
        assert!(body.frame().now_or_never().unwrap().is_none());
    }

    #[test]
    fn finished_bodies_are_removed() {
        let streams = OpenStreams::default();
        for _ in 0..10 {
            drop(StreamBody::of_stream(endless_body().0, &streams));
        }
        streams.drop_stalled(Duration::ZERO);
        assert!(lock(&streams.0).is_empty());
    }
}
