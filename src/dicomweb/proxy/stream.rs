//! Streams the body of a response: decodes it if it must be read, runs it through filters, and detects a premature end.
//!
//! A piece is requested only when the client has taken the one before, so that a slow client slows the archive down; a client
//! that disconnects drops the body, and with it the request to the archive. Any error in the rest of a body aborts the client's
//! transfer, so that no client mistakes half a response for a complete one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::content_completeness::ContentCompleteness;
use super::empty_modalities::EmptyModalities;
use super::json_completeness::JsonCompleteness;
use super::stream_error::StreamError;
use super::xml_completeness::XmlCompleteness;
use super::xml_parts::XmlParts;
use crate::dicomweb::url_rewrite::part_headers::PartHeaders;
use crate::dicomweb::url_rewrite::text::Rewriter;
use crate::upstream::{Archive, ArchiveId, UpstreamBody};
use http_messages::gzip::Gunzip;
use http_messages::multipart::only_part::SinglePart;

/// A filter that reads a body, and may change it.
#[derive(Debug)]
pub(crate) enum Filter {
    /// Replaces URLs in text.
    Urls(Box<Rewriter>),
    /// Replaces URLs in the headers of parts, and checks that there is a closing delimiter.
    Parts(Box<PartHeaders>),
    /// Extracts the only part of a multipart body.
    SinglePart(Box<SinglePart>),
    /// Checks that a JSON text is complete.
    JsonCompleteness(JsonCompleteness),
    /// Checks that an XML text is complete.
    XmlCompleteness(XmlCompleteness),
    /// Checks that an object, an image or a page is complete.
    ContentCompleteness(Box<ContentCompleteness>),
    /// Removes empty modalities from rows of studies.
    EmptyModalities(Box<EmptyModalities>),
    /// Converts a JSON list to XML.
    XmlParts(Box<XmlParts>),
}

impl Filter {
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        match self {
            Self::Urls(rewriter) => Ok(rewriter.push(&chunk)?),
            Self::Parts(parts) => Ok(parts.push(chunk)?),
            Self::SinglePart(part) => Ok(part.push(chunk)?),
            Self::JsonCompleteness(end) => {
                end.read(&chunk);
                Ok(chunk)
            }
            Self::XmlCompleteness(text) => {
                text.read(&chunk);
                Ok(chunk)
            }
            Self::ContentCompleteness(content) => {
                content.read(&chunk);
                Ok(chunk)
            }
            Self::EmptyModalities(rows) => Ok(rows.push(chunk)),
            Self::XmlParts(parts) => parts.push(&chunk),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        match self {
            Self::Urls(rewriter) => Ok(rewriter.finish()?),
            Self::Parts(parts) => Ok(parts.finish()?),
            Self::SinglePart(part) => Ok(part.finish()?),
            Self::EmptyModalities(rows) => Ok(rows.finish()),
            Self::XmlParts(parts) => parts.finish(),
            Self::JsonCompleteness(end) if !end.is_complete() => Err(StreamError::Incomplete),
            Self::XmlCompleteness(text) if !text.is_complete() => Err(StreamError::Incomplete),
            Self::ContentCompleteness(content) if !content.is_complete() => Err(StreamError::Incomplete),
            Self::JsonCompleteness(_) | Self::XmlCompleteness(_) | Self::ContentCompleteness(_) => {
                Ok(Bytes::new())
            }
        }
    }
}

/// The source of the bytes.
#[derive(Debug)]
pub(crate) enum ByteSource {
    /// The archive, as it sent them.
    Plain(UpstreamBody),
    /// The archive, decoded; the body is `None` after its end.
    Gunzip(Option<UpstreamBody>, Box<Gunzip>),
}

impl ByteSource {
    /// Decodes `start` and what follows it in `body`.
    pub(crate) fn gunzip(start: Bytes, body: UpstreamBody) -> Self {
        let mut gunzip = Box::<Gunzip>::default();
        gunzip.push(start);
        Self::Gunzip(Some(body), gunzip)
    }

    /// The next piece; `None` at the end.
    pub(crate) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamError>>> {
        match self {
            Self::Plain(body) => poll_data(body, context),
            Self::Gunzip(body, gunzip) => poll_decoded(body, gunzip, context),
        }
    }
}

/// The next piece that `gunzip` decodes from `body`, which becomes `None` at its end.
fn poll_decoded(
    body: &mut Option<UpstreamBody>,
    gunzip: &mut Gunzip,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, StreamError>>> {
    loop {
        match gunzip.piece() {
            Ok(None) => {}
            piece => return Poll::Ready(piece.map_err(StreamError::from).transpose()),
        }
        let Some(encoded) = body else { return Poll::Ready(None) };
        match ready!(poll_data(encoded, context)) {
            Some(Ok(data)) => gunzip.push(data),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => {
                *body = None;
                return Poll::Ready(gunzip.finish().map_err(StreamError::from).transpose());
            }
        }
    }
}

/// The next data of an archive's body; trailers are not forwarded.
pub(crate) fn poll_data(
    body: &mut UpstreamBody,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, StreamError>>> {
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(data))),
                Err(_) => {}
            },
        }
    }
}

/// A body that passes through filters.
#[derive(Debug)]
pub(crate) struct Streamed {
    /// The archive that the bytes come from.
    archive: ArchiveId,
    /// The bytes that were read ahead to identify the body.
    first: Option<Bytes>,
    source: ByteSource,
    filters: Vec<Filter>,
    /// The bytes that remain, if the response has a Content-Length.
    length: Option<u64>,
    /// The bytes that complete that length. They are sent when the body is known to be complete, because no error can follow
    /// them.
    last: Option<Bytes>,
    finished: bool,
}

impl Streamed {
    /// A body of `first` and the bytes of `source` from `archive`, through `filters`; with exactly `length` bytes if the response has a
    /// Content-Length.
    pub(crate) fn new(
        archive: &Archive,
        first: Option<Bytes>,
        source: ByteSource,
        filters: Vec<Filter>,
        length: Option<u64>,
    ) -> Self {
        Self { archive: archive.id().clone(), first, source, filters, length, last: None, finished: false }
    }

    fn filter(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        self.filters.iter_mut().try_fold(chunk, |chunk, filter| filter.push(chunk))
    }

    /// The rest of each filter passes through the filters after it.
    fn finish(&mut self) -> Result<Bytes, StreamError> {
        self.filters.iter_mut().try_fold(Bytes::new(), |previous, filter| {
            let mut written = if previous.is_empty() { Bytes::new() } else { filter.push(previous)? };
            let rest = filter.finish()?;
            if written.is_empty() {
                written = rest;
            } else if !rest.is_empty() {
                written = [written, rest].concat().into();
            }
            Ok(written)
        })
    }

    /// The next piece of the output.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamError>>> {
        while !self.finished {
            let piece = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => ready!(self.source.poll_piece(context)),
            };
            let out = if let Some(chunk) = piece {
                chunk.and_then(|chunk| self.filter(chunk))
            } else {
                self.finished = true;
                self.finish()
            };
            match out {
                Ok(bytes) => {
                    let bytes = match self.last.take() {
                        Some(last) if bytes.is_empty() => last,
                        Some(last) => [last, bytes].concat().into(),
                        None => bytes,
                    };
                    let is_complete = self.length == Some(bytes.len() as u64);
                    if bytes.is_empty() {
                        continue;
                    }
                    if is_complete && !self.finished {
                        self.last = Some(bytes);
                        continue;
                    }
                    self.length = self.length.map(|rest| rest.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Err(error) => {
                    self.finished = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let body = self.get_mut();
        let next = ready!(body.poll_next(context));
        if let Some(Err(error)) = &next {
            tracing::warn!(archive = %body.archive, %error, "The response of the archive failed; the client's transfer was aborted.");
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.finished
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
