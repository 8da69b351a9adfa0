//! Reads the beginning of a body before the headers of the response are sent. If the archive fails in this part, the client receives
//! an error status, which is more informative than an aborted connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::stream::StreamedBody;
use super::stream_error::StreamError;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;
use http_messages::body::{self, Body};

/// Maximum length in bytes of a body that is read completely before the response begins.
const MAX_PREFETCHED_LEN: u64 = 16 * 1024;

/// A body whose beginning has been read.
#[derive(Debug)]
pub(crate) struct PrefetchedBody<B> {
    /// The pieces that have been read.
    pieces: VecDeque<Bytes>,
    rest: B,
}

impl PrefetchedBody<StreamedBody> {
    /// Reads the beginning of `body`: the whole body if the archive declares a short `length`, otherwise the first piece and the
    /// pieces that have already arrived. An empty body is an error, because no resource is empty.
    pub(crate) async fn read(
        archive: &Archive,
        body: StreamedBody,
        length: Option<u64>,
    ) -> Result<Self, DicomwebError> {
        let is_short = length.is_some_and(|length| length <= MAX_PREFETCHED_LEN);
        let prefetched = Self::read_beginning(body, is_short, StreamedBody::poll_next).await;
        let prefetched = prefetched.map_err(|error| error.before_response(archive))?;
        if prefetched.pieces.is_empty() {
            return Err(archive.unreadable("an empty body").into());
        }
        Ok(prefetched)
    }

    /// Returns the boundary of a multipart body that is forwarded. It precedes every piece of the body.
    pub(crate) fn boundary(&self) -> Option<&str> {
        self.rest.boundary()
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

impl<B> PrefetchedBody<B> {
    /// Reads the whole `body` if it is short, otherwise the first piece and the pieces that have already arrived. `poll` returns the
    /// next piece.
    async fn read_beginning<E>(
        mut body: B,
        is_short: bool,
        poll: impl Fn(&mut B, &mut Context<'_>) -> Poll<Option<Result<Bytes, E>>>,
    ) -> Result<Self, E> {
        let (mut pieces, mut read_len) = (VecDeque::new(), 0);
        while read_len < MAX_PREFETCHED_LEN {
            let has_begun = !pieces.is_empty();
            let next = poll_fn(|context| match poll(&mut body, context) {
                Poll::Pending if has_begun && !is_short => Poll::Ready(None),
                next => next,
            });
            let Some(piece) = next.await.transpose()? else { break };
            read_len += piece.len() as u64;
            pieces.push_back(piece);
        }
        Ok(Self { pieces, rest: body })
    }
}

/// Returns `response`, whose body is made of data of `archive`, after the beginning of the body has been read: the first piece, and the
/// pieces that need no wait.
pub(crate) async fn with_prefetched_beginning(
    archive: &Archive,
    response: Response<Body>,
) -> Result<Response<Body>, DicomwebError> {
    let (parts, body) = response.into_parts();
    let poll_data = |body: &mut Body, context: &mut Context<'_>| loop {
        match ready!(Pin::new(&mut *body).poll_frame(context)).transpose() {
            Ok(Some(frame)) => {
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Ok(None) => return Poll::Ready(None),
            Err(error) => return Poll::Ready(Some(Err(StreamError::of_body(error)))),
        }
    };
    let prefetched = PrefetchedBody::read_beginning(body, false, poll_data).await;
    let prefetched = prefetched.map_err(|error| error.before_response(archive))?;
    Ok(Response::from_parts(parts, body::streamed(prefetched)))
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for PrefetchedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let body = self.get_mut();
        if let Some(piece) = body.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Pin::new(&mut body.rest).poll_frame(context)
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
