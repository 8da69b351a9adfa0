//! The status and headers of an archive's response, and its body as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;

use super::transport::{Incoming, TransportError};
use super::{ArchiveError, ArchiveErrorKind, ArchiveId};
use crate::telemetry::InFlight;

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct UpstreamResponse {
    /// The archive's status.
    pub status: StatusCode,
    /// The archive's headers. None of them may be sent to a caller unchecked.
    pub headers: HeaderMap,
    /// Dropping it cancels the call to the archive.
    pub body: UpstreamBody,
}

/// What a call holds until its response has been read or dropped.
pub(super) type Held = (OwnedSemaphorePermit, InFlight);

/// A body that holds the call's permit until it is dropped.
#[derive(Debug)]
pub struct UpstreamBody {
    archive: ArchiveId,
    timeout: Duration,
    inner: Incoming,
    /// A chunk that was read ahead of the consumer.
    first: Option<Bytes>,
    _held: Held,
}

impl UpstreamResponse {
    /// Whether the body is empty, according to Content-Length or the last chunk. Where only the end of the connection would
    /// show it, the body may have been lost.
    pub(super) async fn is_without_content(&mut self) -> Result<bool, ArchiveError> {
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            return self.body.is_empty().await;
        }
        Ok(self.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0"))
    }
}

impl UpstreamBody {
    pub(super) fn new(archive: ArchiveId, timeout: Duration, inner: Incoming, held: Held) -> Self {
        Self { archive, timeout, inner, first: None, _held: held }
    }

    /// Reads ahead up to the first bytes.
    async fn is_empty(&mut self) -> Result<bool, ArchiveError> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data()
                && !data.is_empty()
            {
                self.first = Some(data);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn error(&self, error: TransportError) -> ArchiveError {
        let kind = match error {
            TransportError::TimedOut => ArchiveErrorKind::Timeout(self.timeout),
            TransportError::Unreachable(_)
            | TransportError::ForbiddenAddress
            | TransportError::Disconnected => ArchiveErrorKind::Truncated,
        };
        ArchiveError { archive: self.archive.clone(), kind }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = ArchiveError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ArchiveError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| self.error(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
