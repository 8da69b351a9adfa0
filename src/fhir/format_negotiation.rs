//! Chooses the format of a response (R4 http#mime-type): by `_format`, else by `Accept`, and never a format that was not
//! requested.

use http::{HeaderMap, HeaderValue, header};

use crate::error::Failure;
use crate::http::negotiation::{self, MediaRange};

/// The formats, each with the name that the caller used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum FhirFormat {
    /// `application/fhir+json`.
    #[default]
    FhirJson,
    /// `application/json`.
    Json,
    /// `text/json`.
    TextJson,
    /// `application/fhir+xml`.
    FhirXml,
    /// `application/xml`.
    Xml,
    /// `text/xml`.
    TextXml,
    /// `text/html`: a page for browsers.
    Html,
}

/// The syntax of the body, independent of the media type's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FhirSyntax {
    Json,
    Xml,
    Html,
}

/// Every supported media type, in the server's order of preference.
const OFFERED: [(&str, FhirFormat); 9] = [
    ("application/fhir+json", FhirFormat::FhirJson),
    ("application/json", FhirFormat::Json),
    ("text/json", FhirFormat::TextJson),
    ("application/fhir+xml", FhirFormat::FhirXml),
    ("application/xml", FhirFormat::Xml),
    ("text/xml", FhirFormat::TextXml),
    ("text/html", FhirFormat::Html),
    // The names of STU2.
    ("application/json+fhir", FhirFormat::FhirJson),
    ("application/xml+fhir", FhirFormat::FhirXml),
];

/// Values of `_format` that are not media types.
const SHORT: [(&str, FhirFormat); 3] =
    [("json", FhirFormat::FhirJson), ("xml", FhirFormat::FhirXml), ("html", FhirFormat::Html)];

impl FhirFormat {
    pub(super) fn content_type(self) -> HeaderValue {
        const FHIR_JSON: HeaderValue = HeaderValue::from_static("application/fhir+json; charset=utf-8");
        const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
        const TEXT_JSON: HeaderValue = HeaderValue::from_static("text/json; charset=utf-8");
        const FHIR_XML: HeaderValue = HeaderValue::from_static("application/fhir+xml; charset=utf-8");
        const XML: HeaderValue = HeaderValue::from_static("application/xml; charset=utf-8");
        const TEXT_XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");
        const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
        match self {
            Self::FhirJson => FHIR_JSON,
            Self::Json => JSON,
            Self::TextJson => TEXT_JSON,
            Self::FhirXml => FHIR_XML,
            Self::Xml => XML,
            Self::TextXml => TEXT_XML,
            Self::Html => HTML,
        }
    }

    pub(super) fn syntax(self) -> FhirSyntax {
        match self {
            Self::FhirJson | Self::Json | Self::TextJson => FhirSyntax::Json,
            Self::FhirXml | Self::Xml | Self::TextXml => FhirSyntax::Xml,
            Self::Html => FhirSyntax::Html,
        }
    }
}

/// The supported FHIR version, as in the parameter `fhirVersion` of a media type (R4 http#version-parameter).
const VERSION: &str = "4.0";

/// The version without its patch number if it is the supported one: R4 has `4.0` only, but clients write `4.0.1`, and patches do
/// not change the formats.
fn without_patch(version: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_patch = |rest: &str| rest.strip_prefix('.').is_some_and(is_number);
    if version.strip_prefix(VERSION).is_some_and(is_patch) { VERSION } else { version }
}

fn fhir_version(range: &MediaRange) -> Option<&str> {
    range.parameter("fhirversion").map(without_patch)
}

/// Chooses by `_format`, else by `Accept`. If nothing fits, the request is rejected.
pub(super) fn negotiate(headers: &HeaderMap, format: Option<&str>) -> Result<FhirFormat, Failure> {
    let Some(format) = format.filter(|format| !format.is_empty()) else { return accepted(headers) };
    // An unescaped plus was decoded as a blank.
    let format = format.trim().replace("; ", ";").replace(' ', "+").to_ascii_lowercase();
    if let Some((_, format)) = SHORT.iter().find(|(name, _)| *name == format) {
        return require_supported_version(headers, &[]).map(|()| *format);
    }
    let ranges: Vec<_> = MediaRange::parse(&format).into_iter().collect();
    choose(headers, &ranges).and_then(|format| format.ok_or_else(|| not_acceptable("http._format")))
}

/// Chooses by the headers alone.
pub(super) fn accepted(headers: &HeaderMap) -> Result<FhirFormat, Failure> {
    if let Some(format) = accept_common_type(headers) {
        return Ok(format);
    }
    let ranges = negotiation::ranges(headers);
    choose(headers, &ranges).and_then(|format| format.ok_or_else(|| not_acceptable("http.accept")))
}

/// Most clients list one type or none, so that no preferences have to be compared.
fn accept_common_type(headers: &HeaderMap) -> Option<FhirFormat> {
    if headers.contains_key(header::CONTENT_TYPE) {
        return None;
    }
    let mut lines = headers.get_all(header::ACCEPT).iter();
    match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
        (None | Some(b"*/*" | b"application/fhir+json"), None) => Some(FhirFormat::FhirJson),
        (Some(b"application/json"), None) => Some(FhirFormat::Json),
        _ => None,
    }
}

fn choose(headers: &HeaderMap, ranges: &[MediaRange]) -> Result<Option<FhirFormat>, Failure> {
    require_supported_version(headers, ranges)?;
    let is_supported = |range: &&MediaRange| fhir_version(range).is_none_or(|version| version == VERSION);
    let supported: Vec<_> = ranges.iter().filter(is_supported).cloned().collect();
    let preferred = negotiation::preferred(&supported, &OFFERED.map(|(essence, _)| essence));
    Ok(preferred.map(|index| OFFERED[index].1))
}

/// A request uses one FHIR version, and a body in another version cannot be read.
fn require_supported_version(headers: &HeaderMap, ranges: &[MediaRange]) -> Result<(), Failure> {
    let of_body = headers.get(header::CONTENT_TYPE).and_then(|line| line.to_str().ok());
    let of_body = of_body.and_then(MediaRange::parse);
    let acceptable = ranges.iter().filter(|range| range.quality > 0.0);
    let mut versions = acceptable.chain(&of_body).filter_map(fhir_version);
    let Some(first) = versions.next() else { return Ok(()) };
    if versions.any(|other| other != first) {
        let diagnostics = "The request contains two values of fhirVersion; an interaction uses one.";
        return Err(Failure::bad_request("invalid", diagnostics));
    }
    if of_body.as_ref().and_then(fhir_version).is_some_and(|version| version != VERSION) {
        let diagnostics = "The body is in a FHIR version other than 4.0, which this server supports.";
        return Err(Failure::unsupported_media_type(diagnostics).with_expression("http.content-type"));
    }
    Ok(())
}

fn not_acceptable(expression: &str) -> Failure {
    Failure::not_acceptable(
        "None of the requested media types is available. Available are application/fhir+json, application/fhir+xml and, for \
         browsers, text/html, in FHIR version 4.0.",
    )
    .with_expression(expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(format: Option<&str>, accept: Option<&'static str>) -> Result<FhirFormat, u16> {
        let mut headers = HeaderMap::new();
        headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))));
        negotiate(&headers, format).map_err(|failure| failure.status.as_u16())
    }

    #[test]
    fn every_spelling_of_a_format_is_that_format() {
        for (spellings, format) in [
            (
                &["json", "application/fhir+json", "application/fhir json", "application/json+fhir", "JSON"]
                    [..],
                FhirFormat::FhirJson,
            ),
            (&["application/json"], FhirFormat::Json),
            (&["text/json"], FhirFormat::TextJson),
            (
                &["xml", "application/fhir+xml", "application/fhir xml", "application/xml+fhir"],
                FhirFormat::FhirXml,
            ),
            (&["application/xml"], FhirFormat::Xml),
            (&["text/xml"], FhirFormat::TextXml),
            (&["html", "text/html"], FhirFormat::Html),
        ] {
            for spelling in spellings {
                assert_eq!(chosen(Some(spelling), Some("image/png")), Ok(format), "{spelling}");
                let accept: &'static str = Box::leak((*spelling).to_owned().into_boxed_str());
                if spelling.contains('/') && !spelling.contains(' ') {
                    assert_eq!(chosen(None, Some(accept)), Ok(format), "{spelling}");
                }
                let wanted = format!("{spelling}; fhirVersion=4.0");
                if spelling.contains('/') {
                    assert_eq!(chosen(Some(&wanted), None), Ok(format), "{wanted}");
                }
            }
        }
    }

    #[test]
    fn the_preferred_format_is_chosen() {
        for (accept, format) in [
            ("*/*", FhirFormat::FhirJson),
            ("application/*", FhirFormat::FhirJson),
            ("text/*", FhirFormat::TextJson),
            ("application/fhir+json;q=1.0, application/json+fhir;q=0.9", FhirFormat::FhirJson),
            ("application/fhir+xml;q=1.0, application/fhir+json;q=0.9", FhirFormat::FhirXml),
            ("application/fhir+xml;q=0.5, application/json", FhirFormat::Json),
            ("application/fhir+xml, application/fhir+json", FhirFormat::FhirXml),
            ("application/xml, */*;q=0.1", FhirFormat::Xml),
            ("*/*, application/fhir+json;q=0", FhirFormat::Json),
            ("application/fhir+json; fhirVersion=4.0", FhirFormat::FhirJson),
            ("application/fhir+json; fhirVersion=\"4.0\"; charset=UTF-8", FhirFormat::FhirJson),
            ("application/fhir+json; fhirVersion=4.0.1", FhirFormat::FhirJson),
            ("application/fhir+xml; fhirVersion=4.0.0", FhirFormat::FhirXml),
            (
                "application/fhir+json; fhirVersion=4.0.1, application/fhir+xml; fhirVersion=4.0",
                FhirFormat::FhirJson,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", FhirFormat::Html),
            ("text/turtle, application/fhir+json;q=0.2", FhirFormat::FhirJson),
        ] {
            assert_eq!(chosen(None, Some(accept)), Ok(format), "{accept}");
        }
        assert_eq!(chosen(None, None), Ok(FhirFormat::FhirJson));
        assert_eq!(chosen(Some(""), Some("text/xml")), Ok(FhirFormat::TextXml));
    }

    #[test]
    fn an_unsupported_format_is_rejected() {
        for (format, accept, status) in [
            (Some("ttl"), Some("application/json"), 406),
            (Some("text/turtle"), None, 406),
            (Some("application/fhir+turtle"), None, 406),
            (Some("application/fhir+xml,application/fhir+json"), None, 406),
            (Some("text/csv"), None, 406),
            (None, Some("image/png"), 406),
            (None, Some("application/fhir+json;q=0"), 406),
            (None, Some("nonsense"), 406),
            (None, Some("application/fhir+json; fhirVersion=3.0"), 406),
            (Some("application/fhir+xml; fhirVersion=5.0"), None, 406),
            (None, Some("application/fhir+json; fhirVersion=4.1"), 406),
            (None, Some("application/fhir+json; fhirVersion=4.0."), 406),
            (None, Some("application/fhir+json; fhirVersion=4.0.x"), 406),
            (None, Some("application/fhir+json; fhirVersion=4.01"), 406),
            (
                None,
                Some("application/fhir+json; fhirVersion=4.0, application/fhir+xml; fhirVersion=3.0"),
                400,
            ),
        ] {
            assert_eq!(chosen(format, accept), Err(status), "{format:?} {accept:?}");
        }
    }

    #[test]
    fn a_body_of_another_fhir_version_is_rejected() {
        let chosen = |content_type, accept| {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
                (header::ACCEPT, HeaderValue::from_static(accept)),
            ];
            accepted(&headers.into_iter().collect()).map_err(|failure| failure.status.as_u16())
        };
        let (old, new) = ("application/fhir+json; fhirVersion=3.0", "application/fhir+json; fhirVersion=4.0");
        assert_eq!(chosen(new, new), Ok(FhirFormat::FhirJson));
        assert_eq!(chosen(new, "text/xml"), Ok(FhirFormat::TextXml));
        let patch = "application/fhir+json; fhirVersion=4.0.1";
        assert_eq!(chosen(patch, new), Ok(FhirFormat::FhirJson));
        assert_eq!(chosen(new, patch), Ok(FhirFormat::FhirJson));
        assert_eq!(chosen(old, patch), Err(400));
        assert_eq!(chosen(old, "*/*"), Err(415));
        assert_eq!(chosen(old, new), Err(400));
    }
}
