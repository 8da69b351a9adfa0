//! Builds responses whose body the gateway assembles: rows as DICOM JSON or Native DICOM XML (PS3.18 8.7.3), and bodies of other
//! media types.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::filtered_body::FilteredBody;
use super::request::ProxyRequest;
use super::response_headers::set_common_headers;
use super::stream::Filter;
use super::xml_parts::{self, is_empty_list};
use crate::dicomweb::request::accept::Format;
use crate::upstream::Archive;
use http_messages::body::{self, Body};

/// The media type of rows in JSON.
pub(crate) const DICOM_JSON: HeaderValue = HeaderValue::from_static("application/dicom+json");

/// Builds a response without rows in `format`.
pub(crate) fn no_rows(format: Format) -> Response<Body> {
    rows("[]", format)
}

/// Builds a response with the rows of the JSON array `text` in `format`. An empty list in XML is a response with status 204,
/// because a multipart body has at least one part.
pub(crate) fn rows(text: impl Into<Bytes>, format: Format) -> Response<Body> {
    let text = text.into();
    if format == Format::Xml && is_empty_list(&text) == Some(true) {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        set_common_headers(response.headers_mut());
        return response;
    }
    match format {
        Format::Json => with_type(DICOM_JSON, body::full(text)),
        Format::Xml => in_xml(xml_parts(body::full(text))),
    }
}

/// Builds a response with the rows of a JSON array from `archive` in `format`. The array is converted while it streams.
pub(crate) fn streamed_rows(archive: &Archive, array: Body, format: Format) -> Response<Body> {
    match format {
        Format::Json => with_type(DICOM_JSON, array),
        Format::Xml => in_xml(xml_parts(array).of_archive(archive)),
    }
}

fn xml_parts(array: Body) -> FilteredBody {
    FilteredBody::new(array, Filter::XmlParts(Box::default()))
}

fn in_xml(parts: FilteredBody) -> Response<Body> {
    with_type(xml_parts::CONTENT_TYPE, body::streamed(parts))
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
