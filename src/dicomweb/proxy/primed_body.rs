//! Reads the beginning of a body before the response begins: an archive whose short or first part fails gets an error status, which says
//! more than a connection that is aborted.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::stream::Streamed;
use super::stream_error::StreamError;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;

/// A body that is not longer is read completely before the response begins.
const MAX_PRIMED_LEN: u64 = 16 * 1024;

/// A body of which the beginning has been read.
#[derive(Debug)]
pub(crate) struct PrimedBody {
    /// What has been read.
    ready: VecDeque<Bytes>,
    rest: Streamed,
}

impl PrimedBody {
    /// Reads the beginning of `body`: everything if the archive declares a short `length`, otherwise the first piece and what has
    /// arrived with it. An empty body is an error: no resource is empty.
    pub(crate) async fn read(
        archive: &Archive,
        mut body: Streamed,
        length: Option<u64>,
    ) -> Result<Self, DicomwebError> {
        let is_short = length.is_some_and(|length| length <= MAX_PRIMED_LEN);
        let (mut ready, mut read) = (VecDeque::new(), 0);
        while read < MAX_PRIMED_LEN {
            let has_begun = !ready.is_empty();
            let next = poll_fn(|context| match body.poll_next(context) {
                Poll::Ready(next) => Poll::Ready(next.map(Some)),
                Poll::Pending if has_begun && !is_short => Poll::Ready(Some(None)),
                Poll::Pending => Poll::Pending,
            });
            match next.await {
                Some(Some(Ok(piece))) => {
                    read += piece.len() as u64;
                    ready.push_back(piece);
                }
                Some(Some(Err(error))) => return Err(error.before_response(archive)),
                None if ready.is_empty() => return Err(archive.unreadable("an empty body").into()),
                Some(None) | None => break,
            }
        }
        Ok(Self { ready, rest: body })
    }
}

impl Body for PrimedBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let body = self.get_mut();
        if let Some(piece) = body.ready.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut body.rest).poll_frame(context));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let ready: u64 = self.ready.iter().map(|piece| piece.len() as u64).sum();
        let rest = self.rest.size_hint().exact();
        rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ready + rest))
    }
}
