//! Builds responses whose body the gateway assembles: rows as DICOM JSON or Native DICOM XML (PS3.18 8.7.3), and bodies of other
//! media types.

use http::{HeaderValue, Response, StatusCode, header};

use super::filtered_body::FilteredBody;
use super::request::ProxyRequest;
use super::response_headers::set_common_headers;
use super::stream::Filter;
use super::stream_error::StreamError;
use super::xml_parts;
use crate::dicomweb::request::accept::Format;
use crate::upstream::Archive;
use http_messages::body::{self, Body};
use http_messages::multipart::writer::PartWriter;

/// The media type of rows in JSON.
pub(crate) const DICOM_JSON: HeaderValue = HeaderValue::from_static("application/dicom+json");

/// The rows of a response, in its format. They are added one by one, so that a row that cannot be converted is an error of its archive
/// before the response begins.
#[derive(Debug)]
pub(crate) struct AssembledRows {
    text: String,
    /// The writer of the parts, unless the response is in JSON.
    writer: Option<PartWriter>,
    has_row: bool,
}

impl AssembledRows {
    /// Creates a list in `format` without rows.
    pub(crate) fn new(format: Format) -> Self {
        let writer = (format == Format::Xml).then(xml_parts::writer);
        Self { text: String::new(), writer, has_row: false }
    }

    /// Adds `row`, which is in JSON.
    pub(crate) fn add(&mut self, row: &str) -> Result<(), StreamError> {
        let is_first = !std::mem::replace(&mut self.has_row, true);
        if let Some(writer) = &mut self.writer {
            return xml_parts::push_part(row, writer, &mut self.text);
        }
        self.text.push(if is_first { '[' } else { ',' });
        self.text.push_str(row);
        Ok(())
    }

    /// Returns the size of the list in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Builds the response.
    pub(crate) fn into_response(mut self) -> Response<Body> {
        match self.writer {
            None if self.has_row => {
                self.text.push(']');
                with_type(DICOM_JSON, body::full(self.text))
            }
            Some(writer) if self.has_row => {
                self.text.push_str(&writer.end());
                with_type(xml_parts::CONTENT_TYPE, body::full(self.text))
            }
            None => no_rows(Format::Json),
            Some(_) => no_rows(Format::Xml),
        }
    }
}

/// Builds a response without rows in `format`. In XML its status is 204, because a multipart body has at least one part.
pub(crate) fn no_rows(format: Format) -> Response<Body> {
    match format {
        Format::Json => with_type(DICOM_JSON, body::full("[]")),
        Format::Xml => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            set_common_headers(response.headers_mut());
            response
        }
    }
}

/// Builds a response with the rows of a JSON array from `archive` in `format`. The array is converted while it streams.
pub(crate) fn streamed_rows(archive: &Archive, array: Body, format: Format) -> Response<Body> {
    match format {
        Format::Json => with_type(DICOM_JSON, array),
        Format::Xml => {
            let parts = FilteredBody::new(array, Filter::XmlParts(Box::default()));
            with_type(xml_parts::CONTENT_TYPE, body::streamed(parts.of_archive(archive)))
        }
    }
}

/// Builds a response with `body` of the media type `content_type`.
pub(crate) fn with_type(content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    set_common_headers(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Builds the response to a search without matches (PS3.18 CP-2473).
pub(crate) fn no_match(request: &ProxyRequest) -> Response<Body> {
    no_rows(if request.accepted.accepts(Format::Json) { Format::Json } else { Format::Xml })
}
