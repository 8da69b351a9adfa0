//! The body of an answer on its way: decoded where it must be read, passed through filters, watched for a premature end.
//!
//! One piece is asked for only when the last one was taken, so that a slow client slows the archive down; a client that
//! goes away drops the body, and with it the call to the archive. Whatever is wrong with the rest of a body ends it with
//! an error, and an error breaks the transfer: no client takes half an answer for a whole one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::json_completeness::JsonCompleteness;
use super::stream_error::StreamError;
use super::xml_parts::XmlParts;
use crate::dicomweb::url_rewrite::part_headers::PartHeaders;
use crate::dicomweb::url_rewrite::text::Rewriter;
use crate::upstream::UpstreamBody;
use http_messages::gzip::Gunzip;
use http_messages::multipart::only_part::SinglePart;

/// Something that reads along, and may change what it reads.
#[derive(Debug)]
pub(crate) enum Filter {
    /// Replaces addresses in text.
    UrlMap(Box<Rewriter>),
    /// Replaces addresses in the headers of parts, and watches for the last delimiter.
    Parts(Box<PartHeaders>),
    /// Lets only the one part of a multipart body pass.
    SinglePart(Box<SinglePart>),
    /// Watches for the end of a JSON text.
    JsonCompleteness(JsonCompleteness),
    /// Watches for the end of an XML text.
    XmlEnd {
        /// The last byte that was no blank.
        last: u8,
    },
    /// Makes XML of a list in JSON.
    XmlParts(Box<XmlParts>),
}

impl Filter {
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        match self {
            Self::UrlMap(rewriter) => Ok(rewriter.push(&chunk)?),
            Self::Parts(parts) => Ok(parts.push(chunk)?),
            Self::SinglePart(part) => Ok(part.push(chunk)?),
            Self::JsonCompleteness(end) => {
                end.read(&chunk);
                Ok(chunk)
            }
            Self::XmlEnd { last } => {
                *last = chunk.trim_ascii_end().last().copied().unwrap_or(*last);
                Ok(chunk)
            }
            Self::XmlParts(parts) => parts.push(&chunk),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        match self {
            Self::UrlMap(rewriter) => Ok(rewriter.finish()?),
            Self::Parts(parts) => Ok(parts.finish()?),
            Self::SinglePart(part) => Ok(part.finish()?),
            Self::XmlParts(parts) => parts.finish(),
            Self::JsonCompleteness(end) if !end.is_complete() => Err(StreamError::Incomplete),
            Self::XmlEnd { last } if *last != b'>' => Err(StreamError::Incomplete),
            Self::JsonCompleteness(_) | Self::XmlEnd { .. } => Ok(Bytes::new()),
        }
    }
}

/// Where the bytes come from.
#[derive(Debug)]
pub(crate) enum ByteSource {
    /// The archive, as it sent them.
    Plain(UpstreamBody),
    /// The archive, decoded; no body when it has ended.
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

/// The next piece that `gunzip` makes of `body`, which is taken out at its end.
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

/// The next data of an archive's body; trailers say nothing that may be passed on.
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
    /// What was read ahead to know what the body is.
    first: Option<Bytes>,
    source: ByteSource,
    filters: Vec<Filter>,
    /// What is still to come, when the head of the answer promises a length.
    length: Option<u64>,
    /// What fulfils that promise. It goes out when the body is known to be whole, as nothing can be said behind it.
    last: Option<Bytes>,
    finished: bool,
}

impl Streamed {
    /// What `source` gives behind `first`, through `filters`; so many bytes when the head of the answer promises a `length`.
    pub(crate) fn new(
        first: Option<Bytes>,
        source: ByteSource,
        filters: Vec<Filter>,
        length: Option<u64>,
    ) -> Self {
        Self { first, source, filters, length, last: None, finished: false }
    }

    fn pass(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        self.filters.iter_mut().try_fold(chunk, |chunk, filter| filter.push(chunk))
    }

    /// Each filter's rest goes through the filters behind it.
    fn finish(&mut self) -> Result<Bytes, StreamError> {
        self.filters.iter_mut().try_fold(Bytes::new(), |carried, filter| {
            let mut written = if carried.is_empty() { Bytes::new() } else { filter.push(carried)? };
            let rest = filter.finish()?;
            if written.is_empty() {
                written = rest;
            } else if !rest.is_empty() {
                written = [written, rest].concat().into();
            }
            Ok(written)
        })
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, StreamError>>> {
        while !self.finished {
            let piece = match self.first.take() {
                Some(first) => Some(Ok(first)),
                None => ready!(self.source.poll_piece(context)),
            };
            let out = if let Some(chunk) = piece {
                chunk.and_then(|chunk| self.pass(chunk))
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
                    let fulfils = self.length == Some(bytes.len() as u64);
                    if bytes.is_empty() {
                        continue;
                    }
                    if fulfils && !self.finished {
                        self.last = Some(bytes);
                        continue;
                    }
                    self.length = self.length.map(|rest| rest.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Err(error) => {
                    self.finished = true;
                    tracing::warn!(%error, "An answer of an archive broke off; the client's transfer was broken too.");
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
        let next = ready!(self.get_mut().poll_next(context));
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.finished
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
