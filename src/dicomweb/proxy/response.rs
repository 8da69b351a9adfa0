//! Forwards an archive's response: the status, a few headers, and the body after it has passed the necessary filters.
//!
//! Text (DICOM JSON and XML) is identified by its first bytes, because its Content-Type differs between archives, and some archives
//! return errors with status 200. Other bodies are identified by their Content-Type. JSON is converted to XML if the client prefers
//! XML.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use super::assembled::{DICOM_JSON, no_match};
use super::content_completeness::ContentCompleteness;
use super::json_completeness::JsonCompleteness;
use super::prefetched_body::PrefetchedBody;
use super::read_ahead::{next_piece, read_identifying_start, read_start_of_anonymized, read_to_first_row};
use super::request::{Attempt, ProxyRequest};
use super::requested_objects::RequestedObjects;
use super::requested_rows::RequestedRows;
use super::response_headers::{
    content_type_of, essence, forwarded_content_type, forwarded_headers, with_boundary,
};
use super::row_uids::RowUids;
use super::stream::{ByteSource, Filter, StreamedBody};
use super::xml_completeness::XmlCompleteness;
use super::xml_parts::{self, without_byte_order_mark};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::request::accept::Format;
use crate::dicomweb::request::path::Resource;
use crate::dicomweb::url_rewrite::part_headers::{PartHeaders, PartUrls};
use crate::dicomweb::url_rewrite::syntax::Syntax;
use crate::dicomweb::url_rewrite::text::Rewriter;
use crate::http::negotiation;
use crate::upstream::{
    Archive, ContentCoding, DicomResource, Synthesized, UNREQUESTED_PART, UpstreamResponse,
};
use dicom_model::UidRule;
use http_messages::body::{self, Body};
use http_messages::multipart::boundary_of;
use http_messages::multipart::only_part::SinglePart;

/// The warning of a search for which the archive returned rows that do not match. It is sent if such a row is read before the
/// response begins.
pub(crate) const ROWS_OMITTED_WARNING: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"The archive returned results that do not match the search. They have been omitted\"",
);

/// Returns the warning of a search of which an archive with `rule` returned objects that clients could not retrieve. Like
/// [`ROWS_OMITTED_WARNING`], it is sent if such a row is among those that are read before the response begins.
pub(crate) fn irretrievable_rows_warning(rule: UidRule) -> HeaderValue {
    HeaderValue::from_static(match rule {
        UidRule::Strict => {
            "299 dicomweb-gateway \"The archive returned results without a valid UID (PS3.5 9.1), which cannot be retrieved. They have been omitted; lenient_uids in the configuration of the gateway allows other UIDs\""
        }
        UidRule::Lenient => {
            "299 dicomweb-gateway \"The archive returned results without a valid UID (PS3.5 9.1), which cannot be retrieved. They have been omitted\""
        }
    })
}

/// The warning of a page from which rows were omitted. The header is sent before the number of rows is known.
const PAGE_SHORTENED_WARNING: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"The page may have fewer results than the limit. There may be additional results that can be requested\"",
);

/// Forwards the archive's response to `attempt` of `request`.
pub(crate) async fn forward(
    archive: &Archive,
    request: &ProxyRequest,
    attempt: &Attempt,
    upstream: UpstreamResponse,
) -> Result<Response<Body>, DicomwebError> {
    let mut has_range = attempt.request.has_range();
    let upstream = match upstream.status {
        // Rewriting URLs changes the positions of bytes, so a range cannot be combined with other ranges. All bytes are requested
        // instead.
        StatusCode::PARTIAL_CONTENT
            if has_range
                && upstream.headers.contains_key(header::CONTENT_RANGE)
                && !is_opaque(&upstream.headers) =>
        {
            drop(upstream);
            has_range = false;
            archive.send(attempt.request.clone().without_range()).await?
        }
        _ => upstream,
    };
    let Some(upstream) = archive.none_if_no_match(&attempt.request, upstream).await? else {
        return Ok(no_match(request));
    };
    match upstream.status {
        StatusCode::PARTIAL_CONTENT
            if !is_requested_part(&upstream.headers, &request.resource, has_range) =>
        {
            Err(archive.unreadable(UNREQUESTED_PART).into())
        }
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
            forward_body(archive, request, attempt, upstream).await
        }
        StatusCode::NOT_MODIFIED => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = forwarded_headers(&upstream.headers, &request.url_map, false);
            Ok(response)
        }
        // Some archives return 204 if they do not have the resource.
        StatusCode::NO_CONTENT => Err(DicomwebError::nothing_returned(archive)),
        status => Err(DicomwebError::from_status(archive, status, &upstream.headers)),
    }
}

/// Whether a response with status 206 and these headers is the range that was requested, if there is one (RFC 9110 15.3.7), or those
/// objects of a study or series that the archive can return, each of which is whole. A list of rows or metadata is complete or an error.
fn is_requested_part(headers: &HeaderMap, resource: &Resource, has_range: bool) -> bool {
    if headers.contains_key(header::CONTENT_RANGE) {
        return has_range;
    }
    let kind = body_kind(&content_type_of(headers));
    let has_several_objects =
        matches!(resource, Resource::Whole(DicomResource::Study(_) | DicomResource::Series(..)));
    matches!(kind, Some(BodyKind::Multipart | BodyKind::MultipartOf(_))) && has_several_objects
}

/// The kind of a body, which determines its filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    /// DICOM JSON.
    Json,
    /// DICOM JSON that is converted to Native DICOM XML.
    JsonToXml,
    /// Native DICOM XML.
    Xml,
    /// Text for human readers, whose URLs are found as in XML.
    Text,
    /// A multipart body with opaque parts.
    Multipart,
    /// A multipart body whose parts are text in this syntax.
    MultipartOf(Syntax),
    /// A body that is forwarded byte for byte.
    Opaque,
}

/// Forwards a response with a body.
async fn forward_body(
    archive: &Archive,
    request: &ProxyRequest,
    attempt: &Attempt,
    upstream: UpstreamResponse,
) -> Result<Response<Body>, DicomwebError> {
    let UpstreamResponse { status, headers, body, .. } = upstream;
    let unreadable = |content| DicomwebError::Archive(archive.unreadable(content));
    let content_type = content_type_of(&headers);
    let is_text = request.resource.is_text();
    let mut kind = match body_kind(&content_type) {
        Some(kind) => kind,
        None if is_text => BodyKind::Text,
        None => return Err(unreadable("a media type that no DICOMweb service returns")),
    };
    if !is_text && attempt.only_part.is_none() && request.accepted.excludes(&content_type) {
        return Err(DicomwebError::NotAcceptable);
    }
    let is_gzip = ContentCoding::from_headers(&headers).map_err(unreadable)? == ContentCoding::Gzip;
    if essence(&content_type) == "text/html"
        && !is_text
        && !(request.resource.has_rendered_media_type() && request.accepted.accepts_html)
    {
        return Err(unreadable("a web page"));
    }
    let is_decoded = is_gzip && (is_text || kind != BodyKind::Opaque || !request.accepts_gzip);
    let upstream_length = body.size_hint().exact();
    let mut source =
        if is_decoded { ByteSource::gunzip(Bytes::new(), body) } else { ByteSource::Plain(body) };
    let mut read_ahead = None;
    if is_text {
        let mut start = read_identifying_start(archive, &mut source).await?;
        if let ByteSource::Plain(body) = source {
            source = if ContentCoding::Identity.of_text(&start) == ContentCoding::Gzip {
                let mut gunzip = ByteSource::gunzip(start, body);
                start = read_identifying_start(archive, &mut gunzip).await?;
                gunzip
            } else {
                ByteSource::Plain(body)
            };
        }
        kind = text_kind(&start, kind).map_err(unreadable)?;
        kind = match kind {
            BodyKind::Json if request.accepted.preferred_format() == Format::Xml => BodyKind::JsonToXml,
            BodyKind::Json => kind,
            _ if request.accepted.accepts(Format::Xml) => kind,
            _ => return Err(DicomwebError::NotAcceptable),
        };
        read_ahead = Some(start);
    }
    if kind == BodyKind::JsonToXml || kind == BodyKind::Json && !request.is_search() {
        let start = read_to_first_row(archive, read_ahead.unwrap_or_default(), &mut source).await?;
        if start.is_none() && request.is_search() {
            return Ok(no_match(request));
        }
        // An empty list means that the archive does not have the objects.
        read_ahead = Some(start.ok_or_else(|| DicomwebError::nothing_returned(archive))?);
    }
    if let Some(instance) = &request.anonymized_original {
        read_ahead = Some(read_start_of_anonymized(archive, instance, &mut source).await?);
    }
    let mut filters = filters_for(kind, archive, request, &content_type);
    let mut only_part = None;
    if let (Some(media_type), BodyKind::Multipart) = (request.only_part_of(attempt, &content_type), kind) {
        let boundary = boundary_of(&content_type).ok_or_else(|| unreadable("parts without a boundary"))?;
        filters.push(Filter::SinglePart(Box::new(SinglePart::new(boundary))));
        only_part = Some(part_type(&content_type, &media_type));
    }
    let is_decoded = is_decoded || matches!(source, ByteSource::Gunzip(..));
    let mut is_changed = is_decoded || !filters.is_empty();
    // The Content-Length of the archive is forwarded if the headers of the first part do not change, so that clients can display progress.
    if let (Some(_), false, [Filter::Parts(parts)]) = (upstream_length, is_decoded, filters.as_mut_slice())
        && !may_lack_closing_delimiter(archive, request)
    {
        let start = next_piece(archive, &mut source).await?;
        if boundary_of(&content_type)
            .is_some_and(|boundary| parts.headers_mut().keeps_beginning(&start, boundary))
        {
            parts.headers_mut().preserve_length();
            parts.preserve_length();
            is_changed = false;
        }
        read_ahead = Some(start);
    }
    let mut response_headers = forwarded_headers(&headers, &request.url_map, is_changed);
    response_headers
        .insert(header::CONTENT_TYPE, only_part.unwrap_or_else(|| content_type_for(kind, &headers)));
    if is_gzip && !is_decoded {
        response_headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Some(range) = headers.get(header::CONTENT_RANGE)
    {
        response_headers.insert(header::CONTENT_RANGE, range.clone());
    }
    // The check does not change the body. It is the first filter, because it reads the bytes that the archive sends.
    if status == StatusCode::OK {
        filters.splice(0..0, content_filter(kind, &headers));
    }
    let length = upstream_length.filter(|_| !is_changed);
    if let Some(length) = length {
        response_headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let streamed = StreamedBody::new(archive, read_ahead, source, filters, length);
    let prefetched = PrefetchedBody::read(archive, streamed, upstream_length).await?;
    Ok(build_response(status, response_headers, prefetched, (request.limit, archive.uid_rule())))
}

fn build_response(
    status: StatusCode,
    mut headers: HeaderMap,
    body: PrefetchedBody<StreamedBody>,
    (limit, rule): (Option<u32>, UidRule),
) -> Response<Body> {
    let (has_omitted_rows, has_irretrievable_rows) = (body.has_omitted_rows(), body.has_irretrievable_rows());
    let warnings = [
        (has_omitted_rows, ROWS_OMITTED_WARNING),
        (has_irretrievable_rows, irretrievable_rows_warning(rule)),
        ((has_omitted_rows || has_irretrievable_rows) && limit.is_some(), PAGE_SHORTENED_WARNING),
    ];
    for (_, warning) in warnings.into_iter().filter(|(applies, _)| *applies) {
        headers.append(header::WARNING, warning);
    }
    if let Some(content_type) = body.boundary().and_then(|boundary| with_boundary(&headers, boundary)) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let mut response = Response::new(body::streamed(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Determines the kind of a text by its first bytes. `declared_kind` is the kind by the Content-Type.
fn text_kind(start: &[u8], declared_kind: BodyKind) -> Result<BodyKind, &'static str> {
    let start = without_byte_order_mark(start).unwrap_or(start).trim_ascii_start();
    let lower = start.get(..64).unwrap_or(start).to_ascii_lowercase();
    match start.first() {
        Some(b'[') => Ok(BodyKind::Json),
        Some(b'{') => Err("an object instead of a list"),
        Some(b'<') if declared_kind == BodyKind::Xml && !lower.starts_with(b"<!doctype") => Ok(BodyKind::Xml),
        Some(b'<') => Err("a web page"),
        _ if matches!(declared_kind, BodyKind::Multipart | BodyKind::MultipartOf(_)) => {
            Ok(BodyKind::MultipartOf(Syntax::Xml))
        }
        None => Err("an empty body"),
        Some(_) => Err("something that is neither DICOM JSON nor XML"),
    }
}

/// Returns the kind of a body by its Content-Type, or `None` if no DICOMweb service returns this media type (PS3.18 8.7.3).
fn body_kind(content_type: &str) -> Option<BodyKind> {
    let essence = essence(content_type);
    match essence.as_str() {
        "multipart/related" | "multipart/mixed" => {
            let content_type = content_type.to_ascii_lowercase();
            Some(match () {
                () if content_type.contains("xml") => BodyKind::MultipartOf(Syntax::Xml),
                () if content_type.contains("json") => BodyKind::MultipartOf(Syntax::Json),
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
    body_kind(&content_type_of(headers)) == Some(BodyKind::Opaque)
}

/// Returns the Content-Type of the response for a body of this kind. `headers` are those of the archive.
fn content_type_for(kind: BodyKind, headers: &HeaderMap) -> HeaderValue {
    let upstream = headers.get(header::CONTENT_TYPE);
    match (kind, upstream) {
        (BodyKind::Json, Some(upstream))
            if body_kind(upstream.to_str().unwrap_or_default()) == Some(BodyKind::Json) =>
        {
            forwarded_content_type(upstream)
        }
        (BodyKind::Json, _) => DICOM_JSON,
        (BodyKind::JsonToXml, _) => xml_parts::CONTENT_TYPE,
        (_, Some(upstream)) => forwarded_content_type(upstream),
        (_, None) => HeaderValue::from_static("application/octet-stream"),
    }
}

/// Returns the media type of the only part of a body: the type that the Content-Type declares, which may have the parameter
/// `transfer-syntax`, or the requested type.
fn part_type(content_type: &str, requested: &str) -> HeaderValue {
    let range = negotiation::MediaRange::parse(content_type);
    let declared = range.as_ref().and_then(|range| range.parameter("type"));
    let matching_type = declared
        .filter(|declared| essence(declared) == requested)
        .and_then(|declared| HeaderValue::from_str(declared).ok());
    matching_type
        .or_else(|| HeaderValue::from_str(requested).ok())
        .unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"))
}

/// Returns the filter that compares rows or metadata in JSON with the request. Metadata that is completed with the UIDs of its parents
/// is compared when it is completed, because some archives return the whole study for a series.
fn comparison(archive: &Archive, request: &ProxyRequest, needs_row: bool) -> Option<Filter> {
    match &request.resource {
        Resource::Search(level) => {
            let limit = request.limit.and_then(|limit| usize::try_from(limit).ok());
            let omission_limit = if needs_row { Some(1) } else { limit };
            let uids = RowUids::of_search(archive, level);
            let rows = RequestedRows::new(request.exact_keys.clone(), uids, omission_limit);
            Some(Filter::RequestedRows(Box::new(rows)))
        }
        Resource::Metadata(_) if archive.profile().synthesized.contains(Synthesized::Parents) => None,
        Resource::Metadata(objects) => {
            Some(Filter::RequestedObjects(Box::new(RequestedObjects::new(objects))))
        }
        _ => None,
    }
}

/// Returns the filter that checks whether a single object, image or page is complete, if only the structure of its content shows it.
fn content_filter(kind: BodyKind, headers: &HeaderMap) -> Option<Filter> {
    let content =
        matches!(kind, BodyKind::Opaque | BodyKind::Text).then(|| ContentCompleteness::from_headers(headers));
    content.flatten().map(|content| Filter::ContentCompleteness(Box::new(content)))
}

/// Whether the archive may omit the closing delimiter, which the gateway then adds.
fn may_lack_closing_delimiter(archive: &Archive, request: &ProxyRequest) -> bool {
    let is_every_frame = matches!(
        &request.resource,
        Resource::Whole(DicomResource::Frames(.., frames)) if frames.is_empty()
    );
    is_every_frame && archive.profile().open_ended_frames
}

/// Returns how many parts the response for `resource` may have: one for an instance, and one for each requested frame.
fn max_parts(resource: &Resource) -> Option<usize> {
    match resource {
        Resource::Whole(DicomResource::Instance(..)) => Some(1),
        Resource::Whole(DicomResource::Frames(.., frames)) if !frames.is_empty() => Some(frames.len()),
        _ => None,
    }
}

/// Returns the filters for a body, in the order in which it passes them.
fn filters_for(kind: BodyKind, archive: &Archive, request: &ProxyRequest, content_type: &str) -> Vec<Filter> {
    let urls = || request.url_map.clone();
    let rewriter = |syntax| Filter::Urls(Box::new(Rewriter::new(urls(), syntax)));
    let parts = || {
        let urls = PartUrls::new(urls());
        let may_lack_closing_delimiter = may_lack_closing_delimiter(archive, request);
        let parts = PartHeaders::new(urls, boundary_of(content_type), may_lack_closing_delimiter);
        Filter::Parts(Box::new(parts.with_max_parts(max_parts(&request.resource))))
    };
    match kind {
        BodyKind::Json => {
            // A comparison requires that the list is complete, too.
            let check = comparison(archive, request, false)
                .unwrap_or_else(|| Filter::JsonCompleteness(JsonCompleteness::default()));
            vec![check, rewriter(Syntax::Json)]
        }
        BodyKind::JsonToXml => [comparison(archive, request, true)]
            .into_iter()
            .flatten()
            .chain([rewriter(Syntax::Json), Filter::XmlParts(Box::default())])
            .collect(),
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
        assert_eq!(text_kind(b" \n[", BodyKind::Text), Ok(BodyKind::Json));
        assert_eq!(text_kind(b"\xEF\xBB\xBF[]", BodyKind::Opaque), Ok(BodyKind::Json));
        assert_eq!(text_kind(b"<?xml", BodyKind::Xml), Ok(BodyKind::Xml));
        assert_eq!(
            text_kind(b"--B\r\n", BodyKind::MultipartOf(Syntax::Xml)),
            Ok(BodyKind::MultipartOf(Syntax::Xml))
        );
        for invalid in ["", "500", "null", "<!doctype html>", "<html>", "{}", "Error"] {
            assert!(text_kind(invalid.as_bytes(), BodyKind::Json).is_err(), "{invalid}");
        }
        assert!(text_kind(b"<!DOCTYPE html>", BodyKind::Xml).is_err());
    }

    #[test]
    fn only_media_types_of_the_standard_are_accepted() {
        assert_eq!(body_kind("multipart/related; type='application/dicom'"), Some(BodyKind::Multipart));
        assert_eq!(
            body_kind("Multipart/Related; type=\"application/dicom+xml\""),
            Some(BodyKind::MultipartOf(Syntax::Xml))
        );
        assert_eq!(body_kind("image/jpeg"), Some(BodyKind::Opaque));
        assert_eq!(body_kind("text/html; charset=utf-8"), Some(BodyKind::Text));
        assert_eq!(body_kind("application/javascript"), None);
        assert_eq!(body_kind("nonsense"), None);
    }
}
