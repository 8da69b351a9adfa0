//! A body that passes through one filter.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::stream::Filter;
use http_messages::body::{Body, BoxError};

/// Bytes that are filtered at once, which takes well under a millisecond.
const STEP_SIZE: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct Filtered {
    /// `None` after its end.
    inner: Option<Body>,
    /// Bytes that were received but not yet filtered.
    pending: Bytes,
    filter: Filter,
}

impl Filtered {
    pub(crate) fn new(inner: Body, filter: Filter) -> Self {
        Self { inner: Some(inner), pending: Bytes::new(), filter }
    }
}

impl HttpBody for Filtered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, pending, filter } = &mut *self;
        while let Some(body) = inner {
            if pending.is_empty() {
                let frame = ready!(Pin::new(body).poll_frame(context)).transpose()?;
                match frame.map(Frame::into_data) {
                    Some(Ok(data)) => *pending = data,
                    // Trailers are not forwarded.
                    Some(Err(_)) => continue,
                    None => *inner = None,
                }
            }
            let filtered = match inner {
                Some(_) => filter.push(pending.split_to(pending.len().min(STEP_SIZE)))?,
                None => filter.finish()?,
            };
            if !filtered.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(filtered))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }
}
