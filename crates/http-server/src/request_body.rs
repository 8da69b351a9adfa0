//! What a service leaves unread of a request's body.
//!
//! A connection of HTTP/1 lives on only when every byte of a request is taken off it (RFC 9112 §9.3): what is left would
//! otherwise be cut with the connection, and with it the next request of a client that had no reason to expect that. So a
//! body is lent to the service, comes back when the service lets go of it, and is read to its end within bounds; where
//! that cannot be, the answer says that the connection ends. HTTP/2 needs none of this: a stream is reset by itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The most that is read for nothing: beyond that a new connection costs less than the rest of the body.
const MAX_REST_SIZE: u64 = 8 * 1024 * 1024;

/// The body of a request, for as long as a service wants it.
#[derive(Debug)]
pub struct RequestBody {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl RequestBody {
    /// One that nobody waits for: there is nothing in it.
    pub(super) fn given(body: Incoming) -> Self {
        Self { body: Some(body), back: None }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits when the connection is gone already.
            let _ = back.send(body);
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The way back of a body.
pub(super) struct UnreadBody {
    back: oneshot::Receiver<Incoming>,
    /// The client sends its body only when it is told to, so nothing of it need be on the way.
    is_held_back: bool,
}

/// `request` as the service gets it, and what is left to do after it, if anything can be left.
pub(super) fn split(request: Request<Incoming>) -> (Request<RequestBody>, Option<UnreadBody>) {
    if request.body().is_end_stream() || request.version() > Version::HTTP_11 {
        return (request.map(RequestBody::given), None);
    }
    let (sender, back) = oneshot::channel();
    let is_held_back = request.headers().contains_key(EXPECT);
    let lent = request.map(|body| RequestBody { body: Some(body), back: Some(sender) });
    (lent, Some(UnreadBody { back, is_held_back }))
}

impl UnreadBody {
    /// Takes what was left of the body off the connection before `response` goes out, or has `response` end the connection.
    pub(super) async fn settle<B>(mut self, mut response: Response<B>, within: Duration) -> Response<B> {
        let is_read = match self.back.try_recv() {
            Ok(body) if body.is_end_stream() => true,
            // What a refusal does not trust is not read.
            Ok(_) if self.is_held_back || response.headers().contains_key(CONNECTION) => false,
            Ok(body) => timeout(within, read_for_nothing(body)).await.unwrap_or(false),
            Err(_) => false,
        };
        if !is_read {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Whether the body's end was reached.
async fn read_for_nothing(mut body: Incoming) -> bool {
    let mut read = 0;
    while read <= MAX_REST_SIZE && body.size_hint().lower() <= MAX_REST_SIZE {
        match body.frame().await {
            None => return true,
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => return false,
        }
    }
    false
}
