//! A text whose addresses are replaced as it passes, wherever it comes from.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use crate::dicomweb::rewrite::Rewriter;
use crate::http::body::{Body, BoxError};

pub(super) struct Respelled {
    /// Until it has ended.
    inner: Option<Body>,
    rewriter: Rewriter,
}

impl Respelled {
    pub(super) fn new(inner: Body, rewriter: Rewriter) -> Self {
        Self { inner: Some(inner), rewriter }
    }
}

impl HttpBody for Respelled {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while let Some(inner) = &mut self.inner {
            let frame = ready!(Pin::new(inner).poll_frame(context)).transpose()?;
            let text = match frame.map(Frame::into_data) {
                Some(Ok(data)) => self.rewriter.push(&data)?,
                // There are no trailers that may be passed on.
                Some(Err(_)) => continue,
                None => {
                    self.inner = None;
                    self.rewriter.finish()?
                }
            };
            if !text.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(text))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }
}
