//! The status and headers of an archive's response, and its body as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::call_queue::CallPermit;
use super::transfer_rate::{TooSlow, TransferRate};
use super::transport::{IncomingBody, TransportError};
use super::{ArchiveError, ArchiveErrorKind, ArchiveId};
use crate::telemetry::InFlight;

/// A response whose body has not been read yet.
#[derive(Debug)]
pub struct UpstreamResponse {
    /// The status code of the archive.
    pub status: StatusCode,
    /// The headers of the archive. None of them may be sent to a caller without a check.
    pub headers: HeaderMap,
    /// The body. Dropping it cancels the call to the archive.
    pub body: UpstreamBody,
}

/// The permit and the metric of a call, which are released when the response has been read or dropped.
pub(super) type CallPermits = (CallPermit, InFlight);

/// A body that releases the permit of the call when it is dropped. It ends with an error if it is too slow, or if other calls need
/// the permit and no client waits for the body.
#[derive(Debug)]
pub struct UpstreamBody {
    archive: ArchiveId,
    timeout: Duration,
    rate: TransferRate,
    inner: IncomingBody,
    /// A chunk that `is_empty` has read.
    read_ahead: Option<Bytes>,
    call_permits: CallPermits,
}

impl UpstreamResponse {
    /// Whether the response declares itself a web page.
    pub(super) fn is_web_page(&self) -> bool {
        let content_type = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/html") || essence.eq_ignore_ascii_case("application/xhtml+xml")
    }

    /// Whether the body is empty according to Content-Length or the last chunk. A body that ends with the connection does not
    /// count as empty, because it may have been lost.
    pub(super) async fn has_empty_body(&mut self) -> Result<bool, ArchiveError> {
        if self.headers.contains_key(header::TRANSFER_ENCODING) {
            return self.body.is_empty().await;
        }
        Ok(self.headers.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0"))
    }
}

impl UpstreamBody {
    pub(super) fn new(
        archive: ArchiveId,
        timeout: Duration,
        rate: TransferRate,
        inner: IncomingBody,
        call_permits: CallPermits,
    ) -> Self {
        Self { archive, timeout, rate, inner, read_ahead: None, call_permits }
    }

    /// Whether the body has no bytes. Reads ahead up to the first chunk that is not empty.
    async fn is_empty(&mut self) -> Result<bool, ArchiveError> {
        while let Some(frame) = self.frame().await {
            if let Ok(data) = frame?.into_data()
                && !data.is_empty()
            {
                self.read_ahead = Some(data);
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
        if let Some(data) = self.read_ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let this = &mut *self;
        let kind = match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Pending if this.call_permits.0.poll_revoked(context).is_ready() => {
                ArchiveErrorKind::Abandoned
            }
            Poll::Pending => {
                this.rate.record_wait(Instant::now());
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(frame))) => {
                match this.rate.record_bytes(Instant::now(), frame.data_ref().map_or(0, Bytes::len)) {
                    Ok(()) => return Poll::Ready(Some(Ok(frame))),
                    Err(TooSlow { min_rate }) => ArchiveErrorKind::TooSlow(min_rate),
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(this.error(error)))),
            Poll::Ready(None) => return Poll::Ready(None),
        };
        Poll::Ready(Some(Err(ArchiveError { archive: this.archive.clone(), kind })))
    }

    fn is_end_stream(&self) -> bool {
        self.read_ahead.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
