//! A body that passes through one filter, wherever it comes from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::stream::Filter;
use http_messages::body::{Body, BoxError};

/// So much is passed at once: what is made of it takes well under a millisecond.
const STEP: usize = 32 * 1024;

#[derive(Debug)]
pub(crate) struct Filtered {
    /// Until it has ended.
    inner: Option<Body>,
    /// What has come and not yet passed.
    waiting: Bytes,
    filter: Filter,
}

impl Filtered {
    pub(crate) fn new(inner: Body, filter: Filter) -> Self {
        Self { inner: Some(inner), waiting: Bytes::new(), filter }
    }
}

impl HttpBody for Filtered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { inner, waiting, filter } = &mut *self;
        while let Some(body) = inner {
            if waiting.is_empty() {
                let frame = ready!(Pin::new(body).poll_frame(context)).transpose()?;
                match frame.map(Frame::into_data) {
                    Some(Ok(data)) => *waiting = data,
                    // There are no trailers that may be passed on.
                    Some(Err(_)) => continue,
                    None => *inner = None,
                }
            }
            let passed = match inner {
                Some(_) => filter.push(waiting.split_to(waiting.len().min(STEP)))?,
                None => filter.finish()?,
            };
            if !passed.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(passed))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }
}
