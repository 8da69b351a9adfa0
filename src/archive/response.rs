//! The head of an archive's answer, and its body as it comes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::clients::Call;
use super::{ArchiveError, ArchiveErrorKind, ArchiveId};
use crate::telemetry::InFlight;

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct UpstreamResponse {
    /// As the archive said it.
    pub status: StatusCode,
    /// As the archive sent them; nothing of them may reach a caller unchecked.
    pub headers: HeaderMap,
    /// Dropping it ends the call at the archive.
    pub body: UpstreamBody,
}

/// What a call holds until its answer is read or given up.
pub(super) type Held = (OwnedSemaphorePermit, InFlight, Call);

/// A body that holds the call's permit until it is dropped.
#[derive(Debug)]
pub struct UpstreamBody {
    archive: ArchiveId,
    timeout: Duration,
    inner: reqwest::Body,
    held: Held,
}

impl UpstreamBody {
    pub(super) fn new(archive: ArchiveId, timeout: Duration, inner: reqwest::Body, held: Held) -> Self {
        let mut body = Self { archive, timeout, inner, held };
        body.note_end();
        body
    }

    /// What is at its end need not be given up, though nobody asks for more.
    fn note_end(&mut self) {
        if self.inner.is_end_stream() {
            self.held.2.ends();
        }
    }

    fn error(&self, error: &reqwest::Error) -> ArchiveError {
        let kind = if error.is_timeout() {
            ArchiveErrorKind::Timeout(self.timeout)
        } else {
            ArchiveErrorKind::BrokenOff
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
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(_)) => self.note_end(),
            None | Some(Err(_)) => self.held.2.ends(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| self.error(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
