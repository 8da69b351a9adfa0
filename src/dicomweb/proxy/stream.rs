//! Streams the body of a response: decodes it if filters must read it, passes it through the filters, and detects a premature end.
//!
//! A piece is requested from the archive only after the client has received the previous piece, so a slow client slows down the
//! archive. If a client disconnects, the body is dropped, and the request to the archive is canceled. An error aborts the transfer to
//! the client, so that the client does not accept a part of a response as complete.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::content_completeness::ContentCompleteness;
use super::empty_modalities::EmptyModalitiesFilter;
use super::json_completeness::JsonCompleteness;
use super::requested_objects::RequestedObjects;
use super::requested_rows::RequestedRows;
use super::stream_error::StreamError;
use super::xml_completeness::XmlCompleteness;
use super::xml_parts::XmlParts;
use crate::dicomweb::url_rewrite::part_headers::PartHeaders;
use crate::dicomweb::url_rewrite::text::Rewriter;
use crate::upstream::{Archive, LargeObjectAdmission, UpstreamBody};
use http_messages::gzip::Gunzip;
use http_messages::multipart::only_part::SinglePart;

/// A filter that reads a body and may change it.
#[derive(Debug)]
pub(crate) enum Filter {
    /// Replaces URLs in text.
    Urls(Box<Rewriter>),
    /// Replaces URLs in the headers of parts, and checks that the body has a closing delimiter.
    Parts(Box<PartHeaders>),
    /// Extracts the only part of a multipart body.
    SinglePart(Box<SinglePart>),
    /// Omits rows that were not requested.
    RequestedRows(Box<RequestedRows>),
    /// Forwards metadata if it is that of the requested objects.
    RequestedObjects(Box<RequestedObjects>),
    /// Checks that a JSON text is complete.
    JsonCompleteness(JsonCompleteness),
    /// Checks that an XML text is complete.
    XmlCompleteness(XmlCompleteness),
    /// Checks that an object, an image or a page is complete.
    ContentCompleteness(Box<ContentCompleteness>),
    /// Removes empty modalities from rows of studies.
    EmptyModalities(Box<EmptyModalitiesFilter>),
    /// Converts a JSON list to XML.
    XmlParts(Box<XmlParts>),
}

impl Filter {
    /// Filters the next chunk, and returns the output so far.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        match self {
            Self::Urls(rewriter) => Ok(rewriter.push(&chunk)?),
            Self::Parts(parts) => Ok(parts.push(chunk)?),
            Self::SinglePart(part) => Ok(part.push(chunk)?),
            Self::JsonCompleteness(json) => {
                json.read(&chunk);
                Ok(chunk)
            }
            Self::XmlCompleteness(xml) => {
                xml.read(&chunk);
                Ok(chunk)
            }
            Self::ContentCompleteness(content) => {
                content.read(&chunk);
                Ok(chunk)
            }
            Self::RequestedRows(rows) => rows.push(&chunk),
            Self::RequestedObjects(objects) => objects.push(&chunk),
            Self::EmptyModalities(rows) => Ok(rows.push(chunk)),
            Self::XmlParts(parts) => parts.push(&chunk),
        }
    }

    /// Returns the number of bytes in memory of an object that has not been forwarded.
    pub(crate) fn held_len(&self) -> usize {
        match self {
            Self::RequestedRows(rows) => rows.held_len(),
            Self::RequestedObjects(objects) => objects.held_len(),
            Self::XmlParts(parts) => parts.held_len(),
            _ => 0,
        }
    }

    /// Returns the rest of the output at the end of the body, or an error if the body is incomplete.
    pub(crate) fn finish(&mut self) -> Result<Bytes, StreamError> {
        match self {
            Self::Urls(rewriter) => Ok(rewriter.finish()?),
            Self::Parts(parts) => Ok(parts.finish()?),
            Self::SinglePart(part) => Ok(part.finish()?),
            Self::RequestedRows(rows) => rows.finish(),
            Self::RequestedObjects(objects) => objects.finish(),
            Self::EmptyModalities(rows) => Ok(rows.finish()),
            Self::XmlParts(parts) => parts.finish(),
            Self::JsonCompleteness(json) if !json.is_complete() => Err(StreamError::Incomplete),
            Self::XmlCompleteness(xml) if !xml.is_complete() => Err(StreamError::Incomplete),
            Self::ContentCompleteness(content) if !content.is_complete() => Err(StreamError::Incomplete),
            Self::JsonCompleteness(_) | Self::XmlCompleteness(_) | Self::ContentCompleteness(_) => {
                Ok(Bytes::new())
            }
        }
    }
}

impl Drop for StreamedBody {
    fn drop(&mut self) {
        self.archive.report_omitted_rows(self.omitted_row_count());
        self.archive.report_irretrievable_rows(self.irretrievable_row_count());
    }
}

/// The source of the bytes of a body.
#[derive(Debug)]
pub(crate) enum ByteSource {
    /// The unchanged body of the archive.
    Plain(UpstreamBody),
    /// The decoded body of the archive, which is `None` after its end.
    Gunzip(Option<UpstreamBody>, Box<Gunzip>),
}

impl ByteSource {
    /// Creates a source that decodes `start` and the rest of the body, `body`.
    pub(crate) fn gunzip(start: Bytes, body: UpstreamBody) -> Self {
        let mut gunzip = Box::<Gunzip>::default();
        gunzip.push(start);
        Self::Gunzip(Some(body), gunzip)
    }

    /// Returns the next piece, or `None` at the end of the body.
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

/// Returns the next piece that `gunzip` decodes from `body`, which becomes `None` at its end.
fn poll_decoded(
    body: &mut Option<UpstreamBody>,
    gunzip: &mut Gunzip,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, StreamError>>> {
    loop {
        match gunzip.next_piece() {
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

/// Returns the next data of an archive's body. Trailers are not forwarded.
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
pub(crate) struct StreamedBody {
    /// The archive that sends the body.
    archive: Archive,
    /// The bytes that were read ahead to identify the body.
    read_ahead: Option<Bytes>,
    source: ByteSource,
    filters: Vec<Filter>,
    /// The admission of the object that the filters hold.
    admission: LargeObjectAdmission,
    /// The number of bytes that have not been sent, if the response has a Content-Length.
    remaining_len: Option<u64>,
    /// The last bytes of a response with a Content-Length. They are sent after the body has been checked, because no error can be
    /// sent after them.
    last_bytes: Option<Bytes>,
    is_finished: bool,
}

impl StreamedBody {
    /// Creates a body of `read_ahead` and the bytes of `source`, which pass through `filters`. `length` is the Content-Length of the
    /// response, if it has one.
    pub(crate) fn new(
        archive: &Archive,
        read_ahead: Option<Bytes>,
        source: ByteSource,
        filters: Vec<Filter>,
        length: Option<u64>,
    ) -> Self {
        Self {
            archive: archive.clone(),
            read_ahead,
            source,
            filters,
            admission: LargeObjectAdmission::default(),
            remaining_len: length,
            last_bytes: None,
            is_finished: false,
        }
    }

    /// Returns the boundary of a multipart body that is forwarded, as far as it has been read.
    pub(crate) fn boundary(&self) -> Option<&str> {
        self.filters.iter().find_map(|filter| match filter {
            Filter::Parts(parts) => parts.boundary(),
            _ => None,
        })
    }

    /// Whether rows that do not match the search have been read and omitted.
    pub(crate) fn has_omitted_rows(&self) -> bool {
        self.omitted_row_count() > 0
    }

    /// Whether rows of objects that clients could not retrieve have been read and omitted.
    pub(crate) fn has_irretrievable_rows(&self) -> bool {
        self.irretrievable_row_count() > 0
    }

    fn omitted_row_count(&self) -> usize {
        self.row_filters().map(RequestedRows::omitted_count).sum()
    }

    fn irretrievable_row_count(&self) -> usize {
        self.row_filters().map(RequestedRows::irretrievable_count).sum()
    }

    fn row_filters(&self) -> impl Iterator<Item = &RequestedRows> {
        self.filters.iter().filter_map(|filter| match filter {
            Filter::RequestedRows(rows) => Some(rows.as_ref()),
            _ => None,
        })
    }

    /// Passes a chunk through all filters.
    fn filter(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        self.filters.iter_mut().try_fold(chunk, |chunk, filter| filter.push(chunk))
    }

    /// Ends all filters. The rest of the output of a filter passes through the filters after it.
    fn finish(&mut self) -> Result<Bytes, StreamError> {
        self.filters.iter_mut().try_fold(Bytes::new(), |previous, filter| {
            let mut output = if previous.is_empty() { Bytes::new() } else { filter.push(previous)? };
            let rest = filter.finish()?;
            if output.is_empty() {
                output = rest;
            } else if !rest.is_empty() {
                output = [output, rest].concat().into();
            }
            Ok(output)
        })
    }

    /// Returns the next piece of the output.
    pub(super) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamError>>> {
        while !self.is_finished {
            let held_len = self.filters.iter().map(Filter::held_len).sum();
            if let Err(error) = ready!(self.admission.poll_admit(&self.archive, held_len, context)) {
                self.is_finished = true;
                return Poll::Ready(Some(Err(error.into())));
            }
            let piece = match self.read_ahead.take() {
                Some(bytes) => Some(Ok(bytes)),
                None => ready!(self.source.poll_piece(context)),
            };
            let output = if let Some(chunk) = piece {
                chunk.and_then(|chunk| self.filter(chunk))
            } else {
                self.is_finished = true;
                self.finish()
            };
            match output {
                Ok(bytes) => {
                    let bytes = match self.last_bytes.take() {
                        Some(last) if bytes.is_empty() => last,
                        Some(last) => [last, bytes].concat().into(),
                        None => bytes,
                    };
                    let is_complete = self.remaining_len == Some(bytes.len() as u64);
                    if bytes.is_empty() {
                        continue;
                    }
                    if is_complete && !self.is_finished {
                        self.last_bytes = Some(bytes);
                        continue;
                    }
                    self.remaining_len =
                        self.remaining_len.map(|remaining| remaining.saturating_sub(bytes.len() as u64));
                    // What reads the body may wait for the permit.
                    self.admission = LargeObjectAdmission::default();
                    return Poll::Ready(Some(Ok(bytes)));
                }
                Err(error) => {
                    self.is_finished = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let body = self.get_mut();
        let next = ready!(body.poll_next(context));
        if let Some(Err(error)) = &next {
            tracing::warn!(archive = %body.archive.id(), %error, "The response of the archive failed; the client's transfer was aborted.");
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_finished
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining_len.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
