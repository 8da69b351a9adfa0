//! Forwards an archive's response: its status, a few of its headers, and its body through the filters that it needs.
//!
//! Text (DICOM JSON and XML) is recognized by its first bytes rather than by its Content-Type, because archives label it in
//! many ways and return errors with status 200; everything else is identified by its Content-Type. JSON is converted to XML if
//! the client prefers XML.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use super::assembled::{DICOM_JSON, no_match};
use super::content_completeness::ContentCompleteness;
use super::json_completeness::JsonCompleteness;
use super::primed_body::PrimedBody;
use super::read_ahead::{first_piece, start_of_anonymized, to_first_row};
use super::request::{Attempt, ProxyRequest};
use super::response_headers::{content_type_of, essence, forwarded_headers};
use super::stream::{ByteSource, Filter, Streamed};
use super::xml_completeness::XmlCompleteness;
use super::xml_parts::{self, is_empty_list};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::request::accept::Format;
use crate::dicomweb::request::path::Resource;
use crate::dicomweb::url_rewrite::part_headers::{PartHeaders, PartUrls, may_have_urls};
use crate::dicomweb::url_rewrite::syntax::Syntax;
use crate::dicomweb::url_rewrite::text::Rewriter;
use crate::http::negotiation;
use crate::upstream::{Archive, ContentCoding, DicomResource, UpstreamResponse};
use http_messages::body::{self, Body};
use http_messages::multipart::boundary_of;
use http_messages::multipart::only_part::SinglePart;

/// Forwards the archive's response to `attempt` of `request`.
pub(crate) async fn forward(
    archive: &Archive,
    request: &ProxyRequest,
    attempt: &Attempt,
    upstream: UpstreamResponse,
) -> Result<Response<Body>, DicomwebError> {
    let upstream = match upstream.status {
        // The bytes of a range change when URLs are rewritten, and do not fit ranges that were sent before: all bytes are
        // requested.
        StatusCode::PARTIAL_CONTENT
            if upstream.headers.contains_key(header::CONTENT_RANGE) && !is_opaque(&upstream.headers) =>
        {
            drop(upstream);
            archive.send(attempt.request.clone().without_range()).await?
        }
        _ => upstream,
    };
    let Some(upstream) = archive.unless_no_match(&attempt.request, upstream).await? else {
        return Ok(no_match(request));
    };
    match upstream.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => with_body(archive, request, attempt, upstream).await,
        StatusCode::NOT_MODIFIED => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = forwarded_headers(&upstream.headers, &request.url_map, false);
            Ok(response)
        }
        // No content means that nothing was found.
        StatusCode::NO_CONTENT => Err(DicomwebError::not_held(archive)),
        status => Err(DicomwebError::refused(archive, status, &upstream.headers)),
    }
}

/// The kind of a body, which decides its filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Json,
    /// JSON that is converted to XML.
    JsonToXml,
    Xml,
    /// Text for people; its URLs are found as in XML.
    Text,
    Multipart,
    /// A multipart body whose parts are text.
    MultipartOf(Syntax),
    Opaque,
}

async fn with_body(
    archive: &Archive,
    request: &ProxyRequest,
    attempt: &Attempt,
    upstream: UpstreamResponse,
) -> Result<Response<Body>, DicomwebError> {
    let UpstreamResponse { status, headers, body, .. } = upstream;
    let unreadable = |what| DicomwebError::Archive(archive.unreadable(what));
    let content_type = content_type_of(&headers);
    let is_text = request.resource.is_text();
    let mut kind = match kind_of(&content_type) {
        Some(kind) => kind,
        None if is_text => BodyKind::Text,
        None => return Err(unreadable("a media type that no DICOMweb service returns")),
    };
    if !is_text && attempt.only_part.is_none() && request.accepted.excludes(&content_type) {
        return Err(DicomwebError::NotAcceptable);
    }
    let gzip = ContentCoding::from_headers(&headers).map_err(unreadable)? == ContentCoding::Gzip;
    if essence(&content_type) == "text/html"
        && !is_text
        && !(request.resource.is_for_people() && request.accepted.html)
    {
        return Err(unreadable("a web page"));
    }
    let is_decoded = gzip && (is_text || kind != BodyKind::Opaque || !request.accepts_gzip);
    let length = body.size_hint().exact();
    let mut source =
        if is_decoded { ByteSource::gunzip(Bytes::new(), body) } else { ByteSource::Plain(body) };
    let mut first = None;
    if is_text {
        let mut start = first_piece(archive, &mut source).await?;
        if let ByteSource::Plain(body) = source {
            source = if ContentCoding::Identity.of_text(&start) == ContentCoding::Gzip {
                let mut gunzip = ByteSource::gunzip(start, body);
                start = first_piece(archive, &mut gunzip).await?;
                gunzip
            } else {
                ByteSource::Plain(body)
            };
        }
        kind = kind_of_text(&start, kind).map_err(unreadable)?;
        kind = match kind {
            BodyKind::Json if request.accepted.preferred_format() == Format::Xml => BodyKind::JsonToXml,
            BodyKind::Json => kind,
            _ if request.accepted.accepts(Format::Xml) => kind,
            _ => return Err(DicomwebError::NotAcceptable),
        };
        if kind == BodyKind::JsonToXml {
            start = to_first_row(archive, start, &mut source).await?;
            match is_empty_list(&start) {
                Some(true) if request.is_search() => return Ok(no_match(request)),
                // No content means that nothing was found.
                Some(true) => return Err(DicomwebError::not_held(archive)),
                Some(false) | None => {}
            }
        }
        first = Some(start);
    }
    if let Some(instance) = &request.anonymous {
        first = Some(start_of_anonymized(archive, instance, &mut source).await?);
    }
    let mut filters = filters_for(kind, archive, request, &content_type);
    let mut only_part = None;
    if let (Some(media_type), BodyKind::Multipart) = (attempt.only_part, kind) {
        let boundary = boundary_of(&content_type).ok_or_else(|| unreadable("parts without a boundary"))?;
        filters.push(Filter::SinglePart(Box::new(SinglePart::new(boundary))));
        only_part = Some(type_of_part(&content_type, media_type));
    }
    let is_decoded = is_decoded || matches!(source, ByteSource::Gunzip(..));
    let mut is_changed = is_decoded || !filters.is_empty();
    // The archive's Content-Length is kept if no URL has to be rewritten: clients can show progress, and chunked encoding is
    // avoided.
    if let (Some(_), false, [Filter::Parts(parts)]) = (length, is_decoded, filters.as_mut_slice())
        && !may_lack_end(archive, request)
    {
        let start = first_piece(archive, &mut source).await?;
        if !may_have_urls(&start) {
            parts.headers_mut().preserve_length();
            is_changed = false;
        }
        first = Some(start);
    }
    let mut out = forwarded_headers(&headers, &request.url_map, is_changed);
    out.insert(header::CONTENT_TYPE, only_part.unwrap_or_else(|| content_type_for(kind, &headers)));
    if gzip && !is_decoded {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Some(range) = headers.get(header::CONTENT_RANGE)
    {
        out.insert(header::CONTENT_RANGE, range.clone());
    }
    // Nothing but the structure of the content shows whether such a body is complete; it changes nothing.
    if status == StatusCode::OK {
        filters.splice(0..0, content_check(kind, &headers));
    }
    let received_length = length;
    let length = length.filter(|_| !is_changed);
    if let Some(length) = length {
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let streamed = Streamed::new(archive, first, source, filters, length);
    let primed = PrimedBody::read(archive, streamed, received_length).await?;
    let mut response = Response::new(body::streamed(primed));
    *response.status_mut() = status;
    *response.headers_mut() = out;
    Ok(response)
}

/// The kind of a text by its first bytes.
fn kind_of_text(start: &[u8], labeled: BodyKind) -> Result<BodyKind, &'static str> {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    let lower = start.get(..64).unwrap_or(start).to_ascii_lowercase();
    match start.first() {
        Some(b'[') => Ok(BodyKind::Json),
        Some(b'{') => Err("an object instead of a list"),
        Some(b'<') if labeled == BodyKind::Xml && !lower.starts_with(b"<!doctype") => Ok(BodyKind::Xml),
        Some(b'<') => Err("a web page"),
        _ if matches!(labeled, BodyKind::Multipart | BodyKind::MultipartOf(_)) => {
            Ok(BodyKind::MultipartOf(Syntax::Xml))
        }
        None => Err("an empty body"),
        Some(_) => Err("something that is neither DICOM JSON nor XML"),
    }
}

/// The kind of a body by its Content-Type; `None` if no DICOMweb service returns it (PS3.18 8.7.3).
fn kind_of(content_type: &str) -> Option<BodyKind> {
    let essence = essence(content_type);
    match essence.as_str() {
        "multipart/related" | "multipart/mixed" => {
            let rest = content_type.to_ascii_lowercase();
            Some(match () {
                () if rest.contains("xml") => BodyKind::MultipartOf(Syntax::Xml),
                () if rest.contains("json") => BodyKind::MultipartOf(Syntax::Json),
                () => BodyKind::Multipart,
            })
        }
        "application/json" | "application/dicom+json" => Some(BodyKind::Json),
        "application/xml" | "application/dicom+xml" | "text/xml" => Some(BodyKind::Xml),
        "application/dicom" | "application/octet-stream" | "application/pdf" | "application/zip" => {
            Some(BodyKind::Opaque)
        }
        other => match other.split_once('/')? {
            ("image" | "video" | "audio" | "model", _) => Some(BodyKind::Opaque),
            ("text", _) => Some(BodyKind::Text),
            _ => None,
        },
    }
}

/// Whether a body with these headers is forwarded byte for byte.
fn is_opaque(headers: &HeaderMap) -> bool {
    kind_of(&content_type_of(headers)) == Some(BodyKind::Opaque)
}

fn content_type_for(kind: BodyKind, headers: &HeaderMap) -> HeaderValue {
    let upstream = headers.get(header::CONTENT_TYPE);
    match (kind, upstream) {
        (BodyKind::Json, Some(upstream))
            if kind_of(upstream.to_str().unwrap_or_default()) == Some(BodyKind::Json) =>
        {
            upstream.clone()
        }
        (BodyKind::Json, _) => DICOM_JSON,
        (BodyKind::JsonToXml, _) => xml_parts::CONTENT_TYPE,
        (_, Some(upstream)) => upstream.clone(),
        (_, None) => HeaderValue::from_static("application/octet-stream"),
    }
}

/// The media type of the only part of a body: that of the Content-Type, which may contain a transfer syntax, or the requested
/// one.
fn type_of_part(content_type: &str, requested: &'static str) -> HeaderValue {
    let range = negotiation::MediaRange::parse(content_type);
    let stated = range.as_ref().and_then(|range| range.parameter("type"));
    let stated = stated
        .filter(|stated| essence(stated) == requested)
        .and_then(|stated| HeaderValue::from_str(stated).ok());
    stated.unwrap_or_else(|| HeaderValue::from_static(requested))
}

/// For a single object, image or page: the check of its structure, if nothing else shows whether it is complete.
fn content_check(kind: BodyKind, headers: &HeaderMap) -> Option<Filter> {
    let content =
        matches!(kind, BodyKind::Opaque | BodyKind::Text).then(|| ContentCompleteness::from_headers(headers));
    content.flatten().map(|content| Filter::ContentCompleteness(Box::new(content)))
}

/// Whether the archive may omit the closing delimiter, which is added then.
fn may_lack_end(archive: &Archive, request: &ProxyRequest) -> bool {
    let is_every_frame = matches!(
        &request.resource,
        Resource::Whole(DicomResource::Frames(.., frames)) if frames.is_empty()
    );
    is_every_frame && archive.profile().open_ended_frames
}

fn filters_for(kind: BodyKind, archive: &Archive, request: &ProxyRequest, content_type: &str) -> Vec<Filter> {
    let urls = || request.url_map.clone();
    let rewriter = |syntax| Filter::Urls(Box::new(Rewriter::new(urls(), syntax)));
    let parts = || {
        let urls = PartUrls::new(urls());
        let may_lack_end = may_lack_end(archive, request);
        Filter::Parts(Box::new(PartHeaders::new(urls, boundary_of(content_type), may_lack_end)))
    };
    match kind {
        BodyKind::Json => vec![Filter::JsonCompleteness(JsonCompleteness::default()), rewriter(Syntax::Json)],
        BodyKind::JsonToXml => vec![rewriter(Syntax::Json), Filter::XmlParts(Box::default())],
        BodyKind::Xml => vec![Filter::XmlCompleteness(XmlCompleteness::default()), rewriter(Syntax::Xml)],
        BodyKind::Text => vec![rewriter(Syntax::Xml)],
        BodyKind::Multipart => vec![parts()],
        BodyKind::MultipartOf(syntax) => vec![parts(), rewriter(syntax)],
        BodyKind::Opaque => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_identified_by_its_first_bytes() {
        assert_eq!(kind_of_text(b" \n[", BodyKind::Text), Ok(BodyKind::Json));
        assert_eq!(kind_of_text(b"\xEF\xBB\xBF[]", BodyKind::Opaque), Ok(BodyKind::Json));
        assert_eq!(kind_of_text(b"<?xml", BodyKind::Xml), Ok(BodyKind::Xml));
        assert_eq!(
            kind_of_text(b"--B\r\n", BodyKind::MultipartOf(Syntax::Xml)),
            Ok(BodyKind::MultipartOf(Syntax::Xml))
        );
        for invalid in ["", "500", "null", "<!doctype html>", "<html>", "{}", "Error"] {
            assert!(kind_of_text(invalid.as_bytes(), BodyKind::Json).is_err(), "{invalid}");
        }
        assert!(kind_of_text(b"<!DOCTYPE html>", BodyKind::Xml).is_err());
    }

    #[test]
    fn only_media_types_of_the_standard_are_accepted() {
        assert_eq!(kind_of("multipart/related; type='application/dicom'"), Some(BodyKind::Multipart));
        assert_eq!(
            kind_of("Multipart/Related; type=\"application/dicom+xml\""),
            Some(BodyKind::MultipartOf(Syntax::Xml))
        );
        assert_eq!(kind_of("image/jpeg"), Some(BodyKind::Opaque));
        assert_eq!(kind_of("text/html; charset=utf-8"), Some(BodyKind::Text));
        assert_eq!(kind_of("application/javascript"), None);
        assert_eq!(kind_of("nonsense"), None);
    }
}
