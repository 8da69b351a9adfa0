//! Selects the format of a response (R4 http#mime-type) by `_format`, otherwise by `Accept`. A format that the client does not
//! accept is never selected.

use http::{HeaderMap, HeaderValue, header};

use crate::error::Failure;
use crate::http::negotiation::{self, MediaRange};

/// The media types of responses. Several of them have the same syntax, because a response has the media type that was requested.
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

/// The syntax of a body, which several media types share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FhirSyntax {
    Json,
    Xml,
    Html,
}

/// Every supported media type, in the server's order of preference.
const SUPPORTED_MEDIA_TYPES: [(&str, FhirFormat); 9] = [
    ("application/fhir+json", FhirFormat::FhirJson),
    ("application/json", FhirFormat::Json),
    ("text/json", FhirFormat::TextJson),
    ("application/fhir+xml", FhirFormat::FhirXml),
    ("application/xml", FhirFormat::Xml),
    ("text/xml", FhirFormat::TextXml),
    ("text/html", FhirFormat::Html),
    // The media types of DSTU2.
    ("application/json+fhir", FhirFormat::FhirJson),
    ("application/xml+fhir", FhirFormat::FhirXml),
];

/// Values of `_format` that are not media types.
const SHORT_NAMES: [(&str, FhirFormat); 3] =
    [("json", FhirFormat::FhirJson), ("xml", FhirFormat::FhirXml), ("html", FhirFormat::Html)];

impl FhirFormat {
    /// Returns the value of Content-Type.
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

    /// Returns the syntax of a body with this media type.
    pub(super) fn syntax(self) -> FhirSyntax {
        match self {
            Self::FhirJson | Self::Json | Self::TextJson => FhirSyntax::Json,
            Self::FhirXml | Self::Xml | Self::TextXml => FhirSyntax::Xml,
            Self::Html => FhirSyntax::Html,
        }
    }
}

/// The supported FHIR version, as a value of the media type parameter `fhirVersion` (R4 http#version-parameter).
const FHIR_VERSION: &str = "4.0";

/// Removes the patch number from the supported version. R4 defines only `4.0`, but clients send `4.0.1`, and patches do not
/// change the formats.
fn without_patch(version: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_patch = |rest: &str| rest.strip_prefix('.').is_some_and(is_number);
    if version.strip_prefix(FHIR_VERSION).is_some_and(is_patch) { FHIR_VERSION } else { version }
}

/// Returns the FHIR version that the media type requests.
fn fhir_version(range: &MediaRange) -> Option<&str> {
    range.parameter("fhirversion").map(without_patch)
}

/// Selects the format by `format`, the value of `_format`, otherwise by `Accept`. Rejects the request if the server supports no
/// requested format.
pub(super) fn negotiate(headers: &HeaderMap, format: Option<&str>) -> Result<FhirFormat, Failure> {
    let Some(format) = format.filter(|format| !format.is_empty()) else {
        return negotiate_by_headers(headers);
    };
    // An unescaped plus sign was decoded as a space.
    let format = format.trim().replace("; ", ";").replace(' ', "+").to_ascii_lowercase();
    if let Some((_, format)) = SHORT_NAMES.iter().find(|(name, _)| *name == format) {
        return require_supported_version(headers, &[]).map(|()| *format);
    }
    let ranges: Vec<_> = MediaRange::parse(&format).into_iter().collect();
    select(headers, &ranges).and_then(|format| format.ok_or_else(|| not_acceptable("http._format")))
}

/// Selects the format by the headers only.
pub(super) fn negotiate_by_headers(headers: &HeaderMap) -> Result<FhirFormat, Failure> {
    if let Some(format) = select_single_type(headers) {
        return Ok(format);
    }
    let ranges = negotiation::ranges(headers);
    select(headers, &ranges).and_then(|format| format.ok_or_else(|| not_acceptable("http.accept")))
}

/// Selects the format of a request that accepts one media type or all media types, as most requests do, without comparing
/// weights.
fn select_single_type(headers: &HeaderMap) -> Option<FhirFormat> {
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

/// Selects the preferred format of `ranges`; `None` if none of the media types is supported.
fn select(headers: &HeaderMap, ranges: &[MediaRange]) -> Result<Option<FhirFormat>, Failure> {
    require_supported_version(headers, ranges)?;
    let is_supported =
        |range: &&MediaRange| fhir_version(range).is_none_or(|version| version == FHIR_VERSION);
    let supported: Vec<_> = ranges.iter().filter(is_supported).cloned().collect();
    let preferred = negotiation::preferred(&supported, &SUPPORTED_MEDIA_TYPES.map(|(essence, _)| essence));
    Ok(preferred.map(|index| SUPPORTED_MEDIA_TYPES[index].1))
}

/// Rejects a request with several FHIR versions, and a request whose body is in an unsupported version.
fn require_supported_version(headers: &HeaderMap, ranges: &[MediaRange]) -> Result<(), Failure> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let body_type = content_type.and_then(MediaRange::parse);
    let acceptable = ranges.iter().filter(|range| range.weight > 0.0);
    let mut versions = acceptable.chain(&body_type).filter_map(fhir_version);
    let Some(version) = versions.next() else { return Ok(()) };
    if versions.any(|other| other != version) {
        let diagnostics =
            "The request contains several values of fhirVersion, but an interaction has only one.";
        return Err(Failure::bad_request("invalid", diagnostics));
    }
    if body_type.as_ref().and_then(fhir_version).is_some_and(|version| version != FHIR_VERSION) {
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

    fn negotiated(format: Option<&str>, accept: Option<&'static str>) -> Result<FhirFormat, u16> {
        let mut headers = HeaderMap::new();
        headers.extend(accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))));
        negotiate(&headers, format).map_err(|failure| failure.status.as_u16())
    }

    #[test]
    fn every_name_of_a_format_selects_the_format() {
        for (names, format) in [
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
            for name in names {
                assert_eq!(negotiated(Some(name), Some("image/png")), Ok(format), "{name}");
                let accept: &'static str = Box::leak((*name).to_owned().into_boxed_str());
                if name.contains('/') && !name.contains(' ') {
                    assert_eq!(negotiated(None, Some(accept)), Ok(format), "{name}");
                }
                let with_version = format!("{name}; fhirVersion=4.0");
                if name.contains('/') {
                    assert_eq!(negotiated(Some(&with_version), None), Ok(format), "{with_version}");
                }
            }
        }
    }

    #[test]
    fn the_preferred_format_is_selected() {
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
            assert_eq!(negotiated(None, Some(accept)), Ok(format), "{accept}");
        }
        assert_eq!(negotiated(None, None), Ok(FhirFormat::FhirJson));
        assert_eq!(negotiated(Some(""), Some("text/xml")), Ok(FhirFormat::TextXml));
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
            assert_eq!(negotiated(format, accept), Err(status), "{format:?} {accept:?}");
        }
    }

    #[test]
    fn a_body_in_another_fhir_version_is_rejected() {
        let negotiated = |content_type, accept| {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
                (header::ACCEPT, HeaderValue::from_static(accept)),
            ];
            negotiate_by_headers(&headers.into_iter().collect()).map_err(|failure| failure.status.as_u16())
        };
        let (r3, r4) = ("application/fhir+json; fhirVersion=3.0", "application/fhir+json; fhirVersion=4.0");
        assert_eq!(negotiated(r4, r4), Ok(FhirFormat::FhirJson));
        assert_eq!(negotiated(r4, "text/xml"), Ok(FhirFormat::TextXml));
        let patch = "application/fhir+json; fhirVersion=4.0.1";
        assert_eq!(negotiated(patch, r4), Ok(FhirFormat::FhirJson));
        assert_eq!(negotiated(r4, patch), Ok(FhirFormat::FhirJson));
        assert_eq!(negotiated(r3, patch), Err(400));
        assert_eq!(negotiated(r3, "*/*"), Err(415));
        assert_eq!(negotiated(r3, r4), Err(400));
    }
}
