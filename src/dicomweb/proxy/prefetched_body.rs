//! Reads the beginning of a body before the headers of the response are sent. If the archive fails in this part, the client receives
//! an error status, which is more informative than an aborted connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::stream::StreamedBody;
use super::stream_error::StreamError;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;

/// Maximum length in bytes of a body that is read completely before the response begins.
const MAX_PREFETCHED_LEN: u64 = 16 * 1024;

/// A body whose beginning has been read.
#[derive(Debug)]
pub(crate) struct PrefetchedBody {
    /// The pieces that have been read.
    pieces: VecDeque<Bytes>,
    rest: StreamedBody,
}

impl PrefetchedBody {
    /// Reads the beginning of `body`: the whole body if the archive declares a short `length`, otherwise the first piece and the
    /// pieces that have already arrived. An empty body is an error, because no resource is empty.
    pub(crate) async fn read(
        archive: &Archive,
        mut body: StreamedBody,
        length: Option<u64>,
    ) -> Result<Self, DicomwebError> {
        let is_short = length.is_some_and(|length| length <= MAX_PREFETCHED_LEN);
        let (mut pieces, mut read_len) = (VecDeque::new(), 0);
        while read_len < MAX_PREFETCHED_LEN {
            let has_begun = !pieces.is_empty();
            let next = poll_fn(|context| match body.poll_next(context) {
                Poll::Ready(next) => Poll::Ready(next.map(Some)),
                Poll::Pending if has_begun && !is_short => Poll::Ready(Some(None)),
                Poll::Pending => Poll::Pending,
            });
            match next.await {
                Some(Some(Ok(piece))) => {
                    read_len += piece.len() as u64;
                    pieces.push_back(piece);
                }
                Some(Some(Err(error))) => return Err(error.before_response(archive)),
                None if pieces.is_empty() => return Err(archive.unreadable("an empty body").into()),
                Some(None) | None => break,
            }
        }
        Ok(Self { pieces, rest: body })
    }

    /// Whether rows that do not match the search have been read and omitted.
    pub(crate) fn has_omitted_rows(&self) -> bool {
        self.rest.has_omitted_rows()
    }

    /// Whether rows of objects that clients could not retrieve have been read and omitted.
    pub(crate) fn has_irretrievable_rows(&self) -> bool {
        self.rest.has_irretrievable_rows()
    }
}

impl Body for PrefetchedBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let body = self.get_mut();
        if let Some(piece) = body.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let frame = ready!(Pin::new(&mut body.rest).poll_frame(context));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read_len: u64 = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        let rest_len = self.rest.size_hint().exact();
        rest_len.map_or_else(SizeHint::default, |rest_len| SizeHint::with_exact(read_len + rest_len))
    }
}
