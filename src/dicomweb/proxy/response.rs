//! Forwards an archive's response: its status, a few of its headers, and its body through the filters that it needs.
//!
//! Text - DICOM JSON and XML - is recognised by its first bytes rather than by its Content-Type, as archives label it in
//! many ways and answer errors as 200; everything else is decided by its Content-Type. JSON becomes XML where that is wanted.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use super::assembled::{DICOM_JSON, no_match};
use super::json_completeness::JsonCompleteness;
use super::read_ahead::{first_piece, start_of_anonymized, to_first_row};
use super::request::{Attempt, ProxyRequest};
use super::response_headers::{content_type_of, essence, forwarded_headers};
use super::stream::{ByteSource, Filter, Streamed};
use super::xml_parts::{self, is_empty_list};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::request::accept::Format;
use crate::dicomweb::request::path::Resource;
use crate::dicomweb::url_rewrite::part_headers::{PartAddresses, PartHeaders, begins_with_address};
use crate::dicomweb::url_rewrite::syntax::Syntax;
use crate::dicomweb::url_rewrite::text::Rewriter;
use crate::http::negotiation;
use crate::upstream::{Archive, UpstreamResponse};
use http_messages::body::{self, Body};
use http_messages::gzip::is_gzip;
use http_messages::multipart::boundary_of;
use http_messages::multipart::only_part::SinglePart;

/// Passes on what the archive answered to `attempt`, which asked `question`.
pub(crate) async fn forward(
    archive: &Archive,
    question: &ProxyRequest,
    attempt: &Attempt,
    upstream: UpstreamResponse,
) -> Result<Response<Body>, DicomwebError> {
    let upstream = match upstream.status {
        // A part of what is rewritten fits nothing that was sent before: the whole is asked for instead.
        StatusCode::PARTIAL_CONTENT
            if upstream.headers.contains_key(header::CONTENT_RANGE) && !is_opaque(&upstream.headers) =>
        {
            drop(upstream);
            archive.send(attempt.request.clone().without_range()).await?
        }
        _ => upstream,
    };
    let Some(upstream) = archive.unless_no_match(&attempt.request, upstream).await? else {
        return Ok(no_match(question));
    };
    match upstream.status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => with_body(archive, question, attempt, upstream).await,
        StatusCode::NOT_MODIFIED => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = forwarded_headers(&upstream.headers, &question.addresses, false);
            Ok(response)
        }
        // Nothing to send is nothing found.
        StatusCode::NO_CONTENT => {
            Err(DicomwebError::refused(archive, StatusCode::NOT_FOUND, &upstream.headers))
        }
        status => Err(DicomwebError::refused(archive, status, &upstream.headers)),
    }
}

/// What a body is, and so which way it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Json,
    /// Becomes XML on its way.
    JsonToXml,
    Xml,
    /// Text for people; its addresses are found as in XML.
    Text,
    Multipart,
    /// Parts that are text.
    MultipartOf(Syntax),
    Opaque,
}

async fn with_body(
    archive: &Archive,
    question: &ProxyRequest,
    attempt: &Attempt,
    upstream: UpstreamResponse,
) -> Result<Response<Body>, DicomwebError> {
    let UpstreamResponse { status, headers, body, .. } = upstream;
    let unreadable = |what| DicomwebError::Archive(archive.unreadable(what));
    let content_type = content_type_of(&headers);
    let mut kind = match kind_of(&content_type) {
        Some(kind) => kind,
        None if question.resource.is_text() => BodyKind::Text,
        None => return Err(unreadable("a media type that no DICOMweb service has")),
    };
    let gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return Err(unreadable("a content encoding that was not asked for")),
    };
    let is_text = question.resource.is_text();
    if essence(&content_type) == "text/html"
        && !is_text
        && !(question.resource.is_for_people() && question.accepted.html)
    {
        return Err(unreadable("a web page"));
    }
    let decoded = gzip && (is_text || kind != BodyKind::Opaque || !question.takes_gzip);
    let length = body.size_hint().exact();
    let mut source = if decoded { ByteSource::gunzip(Bytes::new(), body) } else { ByteSource::Plain(body) };
    let mut first = None;
    if is_text {
        let mut start = first_piece(archive, &mut source).await?;
        if let ByteSource::Plain(body) = source {
            source = if is_gzip(&start) {
                let mut gunzip = ByteSource::gunzip(start, body);
                start = first_piece(archive, &mut gunzip).await?;
                gunzip
            } else {
                ByteSource::Plain(body)
            };
        }
        kind = kind_of_text(&start, kind, question.is_search()).map_err(unreadable)?;
        kind = match kind {
            BodyKind::Json if question.accepted.wanted() == Format::Xml => BodyKind::JsonToXml,
            BodyKind::Json => kind,
            _ if question.accepted.takes(Format::Xml) => kind,
            _ => return Err(DicomwebError::NotAcceptable),
        };
        if kind == BodyKind::JsonToXml {
            start = to_first_row(archive, start, &mut source).await?;
            match is_empty_list(&start) {
                Some(true) if question.is_search() => return Ok(no_match(question)),
                // Nothing to send is nothing found.
                Some(true) => return Err(DicomwebError::refused(archive, StatusCode::NOT_FOUND, &headers)),
                Some(false) | None => {}
            }
        }
        first = Some(start);
    }
    if let Some(instance) = &question.anonymous {
        first = Some(start_of_anonymized(archive, instance, &mut source).await?);
    }
    let mut filters = filters_for(kind, archive, question, &content_type);
    let mut only_part = None;
    if let (Some(media_type), BodyKind::Multipart) = (attempt.only_part, kind) {
        let boundary = boundary_of(&content_type).ok_or_else(|| unreadable("parts without a boundary"))?;
        filters.push(Filter::SinglePart(Box::new(SinglePart::new(boundary))));
        only_part = Some(type_of_part(&content_type, media_type));
    }
    let decoded = decoded || matches!(source, ByteSource::Gunzip(..));
    let mut changed = decoded || !filters.is_empty();
    // A length that is promised is kept where nothing need change: progress can be seen, and chunks cost nothing.
    if let (Some(_), false, [Filter::Parts(parts)]) = (length, decoded, filters.as_mut_slice()) {
        let start = first_piece(archive, &mut source).await?;
        if !begins_with_address(&start) {
            parts.headers_mut().keep_length();
            changed = false;
        }
        first = Some(start);
    }
    let mut out = forwarded_headers(&headers, &question.addresses, changed);
    out.insert(header::CONTENT_TYPE, only_part.unwrap_or_else(|| shown_type(kind, &headers)));
    if gzip && !decoded {
        out.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Some(range) = headers.get(header::CONTENT_RANGE)
    {
        out.insert(header::CONTENT_RANGE, range.clone());
    }
    let length = length.filter(|_| !changed);
    if let Some(length) = length {
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let streamed = Streamed::new(first, source, filters, length);
    let mut response = Response::new(body::streamed(streamed));
    *response.status_mut() = status;
    *response.headers_mut() = out;
    Ok(response)
}

/// What the first bytes of a text show it to be.
fn kind_of_text(start: &[u8], labelled: BodyKind, is_search: bool) -> Result<BodyKind, &'static str> {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    let lower = start.get(..64).unwrap_or(start).to_ascii_lowercase();
    match start.first() {
        Some(b'[') => Ok(BodyKind::Json),
        Some(b'{') if !is_search => Ok(BodyKind::Json),
        Some(b'{') => Err("an object where a list must stand"),
        Some(b'<') if labelled == BodyKind::Xml && !lower.starts_with(b"<!doctype") => Ok(BodyKind::Xml),
        Some(b'<') => Err("a web page"),
        _ if matches!(labelled, BodyKind::Multipart | BodyKind::MultipartOf(_)) => {
            Ok(BodyKind::MultipartOf(Syntax::Xml))
        }
        None => Err("nothing"),
        Some(_) => Err("something that is neither DICOM JSON nor XML"),
    }
}

/// What a Content-Type says a body to be; `None` when no DICOMweb service answers with it (PS3.18 8.7.3).
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

/// Whether a body of that head passes byte for byte.
fn is_opaque(headers: &HeaderMap) -> bool {
    kind_of(&content_type_of(headers)) == Some(BodyKind::Opaque)
}

fn shown_type(kind: BodyKind, headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(header::CONTENT_TYPE);
    match (kind, given) {
        (BodyKind::Json, Some(given))
            if kind_of(given.to_str().unwrap_or_default()) == Some(BodyKind::Json) =>
        {
            given.clone()
        }
        (BodyKind::Json, _) => DICOM_JSON,
        (BodyKind::JsonToXml, _) => xml_parts::CONTENT_TYPE,
        (_, Some(given)) => given.clone(),
        (_, None) => HeaderValue::from_static("application/octet-stream"),
    }
}

/// The media type of the one part of a body: as the head tells it, with the transfer syntax that it may name, or as it was
/// asked for.
fn type_of_part(content_type: &str, asked: &'static str) -> HeaderValue {
    let range = negotiation::MediaRange::parse(content_type);
    let told = range.as_ref().and_then(|range| range.parameter("type"));
    let told = told.filter(|told| essence(told) == asked).and_then(|told| HeaderValue::from_str(told).ok());
    told.unwrap_or_else(|| HeaderValue::from_static(asked))
}

fn filters_for(
    kind: BodyKind,
    archive: &Archive,
    question: &ProxyRequest,
    content_type: &str,
) -> Vec<Filter> {
    let addresses = || question.addresses.clone();
    let rewriter = |syntax| Filter::UrlMap(Box::new(Rewriter::new(addresses(), syntax)));
    let parts = || {
        let every_frame = matches!(
            &question.resource,
            Resource::Whole(crate::upstream::DicomResource::Frames(.., frames)) if frames.is_empty()
        );
        let may_end_open = every_frame && archive.profile().open_ended_frames;
        let addresses = PartAddresses::new(addresses());
        Filter::Parts(Box::new(PartHeaders::new(addresses, boundary_of(content_type), may_end_open)))
    };
    match kind {
        BodyKind::Json => vec![Filter::JsonCompleteness(JsonCompleteness::default()), rewriter(Syntax::Json)],
        BodyKind::JsonToXml => vec![rewriter(Syntax::Json), Filter::XmlParts(Box::default())],
        BodyKind::Xml => vec![Filter::XmlEnd { last: 0 }, rewriter(Syntax::Xml)],
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
    fn a_text_is_what_it_begins_with() {
        assert_eq!(kind_of_text(b" \n[", BodyKind::Text, true), Ok(BodyKind::Json));
        assert_eq!(kind_of_text(b"\xEF\xBB\xBF[]", BodyKind::Opaque, true), Ok(BodyKind::Json));
        assert_eq!(kind_of_text(b"{\"a\"", BodyKind::Json, false), Ok(BodyKind::Json));
        assert_eq!(kind_of_text(b"<?xml", BodyKind::Xml, true), Ok(BodyKind::Xml));
        assert_eq!(
            kind_of_text(b"--B\r\n", BodyKind::MultipartOf(Syntax::Xml), false),
            Ok(BodyKind::MultipartOf(Syntax::Xml))
        );
        for no_answer in ["", "500", "null", "<!doctype html>", "<html>", "{}", "Error"] {
            assert!(kind_of_text(no_answer.as_bytes(), BodyKind::Json, true).is_err(), "{no_answer}");
        }
        assert!(kind_of_text(b"<!DOCTYPE html>", BodyKind::Xml, true).is_err());
    }

    #[test]
    fn only_media_types_of_the_standard_pass() {
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
