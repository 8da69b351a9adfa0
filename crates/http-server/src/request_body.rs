//! Reads the part of a request body that the service did not read.
//!
//! An HTTP/1 connection can be reused only if every byte of the request is read (RFC 9112 9.3). Otherwise the connection must be
//! closed, and the next request of the client can be lost. Therefore the service gets the body in a wrapper that returns it on
//! drop, and the rest is read within limits. If that is not possible, the response announces the end of the connection. HTTP/2 does
//! not need this, because each stream is reset separately. This module does not know about the content of the body.

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

/// Maximum number of unread bytes that are read and discarded. Reading more costs more than a new connection.
const MAX_DISCARDED_SIZE: u64 = 8 * 1024 * 1024;

/// The body of a request. It returns the unread part when it is dropped.
#[derive(Debug)]
pub struct RequestBody {
    body: Option<Incoming>,
    return_sender: Option<oneshot::Sender<Incoming>>,
}

impl RequestBody {
    /// Creates a body that need not be returned.
    pub(super) fn without_return(body: Incoming) -> Self {
        Self { body: Some(body), return_sender: None }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let (Some(body), Some(sender)) = (self.body.take(), self.return_sender.take()) {
            // Sending fails if the connection is already closed.
            let _ = sender.send(body);
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

/// Receives the body after the service has dropped it.
pub(super) struct UnreadBody {
    receiver: oneshot::Receiver<Incoming>,
    /// Whether the client waits for 100 Continue before it sends the body (RFC 9110 10.1.1).
    expects_continue: bool,
}

/// Returns the request for the service, and the receiver of the unread body if there can be one.
pub(super) fn wrap_body(request: Request<Incoming>) -> (Request<RequestBody>, Option<UnreadBody>) {
    if request.body().is_end_stream() || request.version() > Version::HTTP_11 {
        return (request.map(RequestBody::without_return), None);
    }
    let (sender, receiver) = oneshot::channel();
    let expects_continue = request.headers().contains_key(EXPECT);
    let wrapped = request.map(|body| RequestBody { body: Some(body), return_sender: Some(sender) });
    (wrapped, Some(UnreadBody { receiver, expects_continue }))
}

impl UnreadBody {
    /// Reads the rest of the body before `response` is sent, or adds `Connection: close` to `response`.
    pub(super) async fn read_or_close<B>(
        mut self,
        mut response: Response<B>,
        read_timeout: Duration,
    ) -> Response<B> {
        let is_read = match self.receiver.try_recv() {
            Ok(body) if body.is_end_stream() => true,
            // The rest is not read if the response ends the connection anyway.
            Ok(_) if self.expects_continue || response.headers().contains_key(CONNECTION) => false,
            Ok(body) => timeout(read_timeout, discard(body)).await.unwrap_or(false),
            Err(_) => false,
        };
        if !is_read {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Reads and discards the body. Returns whether its end was reached.
async fn discard(mut body: Incoming) -> bool {
    let mut discarded_size = 0;
    while discarded_size <= MAX_DISCARDED_SIZE && body.size_hint().lower() <= MAX_DISCARDED_SIZE {
        match body.frame().await {
            None => return true,
            Some(Ok(frame)) => discarded_size += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => return false,
        }
    }
    false
}
