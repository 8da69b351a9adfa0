//! Responses that the gateway assembles itself: rows as DICOM JSON or Native DICOM XML (PS3.18 8.7.3), and bodies of one media
//! type.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::filtered_body::Filtered;
use super::request::ProxyRequest;
use super::response_headers::describe;
use super::stream::Filter;
use super::xml_parts::{self, is_empty_list};
use crate::dicomweb::request::accept::Format;
use http_messages::body::{self, Body};

/// The media type of rows in JSON.
pub(crate) const DICOM_JSON: HeaderValue = HeaderValue::from_static("application/dicom+json");

/// A response of the JSON array `text` in `format`. An empty list has no XML (no multipart body is empty): the response is 204.
pub(crate) fn rows(text: impl Into<Bytes>, format: Format) -> Response<Body> {
    let text = text.into();
    if format == Format::Xml && is_empty_list(&text) == Some(true) {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        describe(response.headers_mut());
        return response;
    }
    rows_in(body::full(text), format)
}

/// A response of a JSON array that is assembled while it streams, in `format`.
pub(crate) fn rows_in(array: Body, format: Format) -> Response<Body> {
    match format {
        Format::Json => with_type(DICOM_JSON, array),
        Format::Xml => {
            let parts = Filtered::new(array, Filter::XmlParts(Box::default()));
            with_type(xml_parts::CONTENT_TYPE, body::streamed(parts))
        }
    }
}

/// A response of `body` with that media type.
pub(crate) fn with_type(content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    describe(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// The response to a search without matches (PS3.18 CP-2473).
pub(crate) fn no_match(request: &ProxyRequest) -> Response<Body> {
    rows("[]", if request.accepted.accepts(Format::Json) { Format::Json } else { Format::Xml })
}
