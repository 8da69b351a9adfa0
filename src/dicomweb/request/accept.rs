//! The media ranges that a client accepts (PS3.18 8.7), and those that are requested from an archive.
//!
//! Clients write media ranges in many forms: without quotes, in single quotes, with the transfer syntax inside the quotes, as
//! lists with weights. Archives support fewer forms, and many reject lists. Therefore each range is parsed and serialized in
//! the form of the standard. If an archive rejects the list, its ranges are requested one by one, in the order of preference.

use http::{HeaderMap, HeaderValue};

use super::path::Resource;
use crate::http::negotiation::{self, MediaRange};
use crate::upstream::DicomResource;
use dicom_model::Uid;

/// Maximum number of requests to an archive for one resource, in addition to the request for an only part. It suffices for the
/// image types that a browser lists.
const MAX_ATTEMPTS: usize = 6;

const JSON: HeaderValue = HeaderValue::from_static("application/dicom+json, application/json;q=0.9");
const XML_PARTS: HeaderValue = HeaderValue::from_static("multipart/related; type=\"application/dicom+xml\"");

/// The format of rows and metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// DICOM JSON (PS3.18 Annex F).
    Json,
    /// Native DICOM XML (PS3.19 A.1), one part per object.
    Xml,
}

/// The media types of one request to an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedTypes {
    /// The `Accept` header. If it is `None`, the archive chooses the media type.
    pub(crate) media_types: Option<HeaderValue>,
    /// The media type of the only part of a multipart body. If it is not `None`, the client receives the content of this part.
    pub(crate) only_part: Option<&'static str>,
}

impl RequestedTypes {
    fn from_media_types(media_types: Option<HeaderValue>) -> Self {
        Self { media_types, only_part: None }
    }
}

/// The media types that a client accepts for one resource.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accepted {
    /// The media types of the requests to the archive, which are sent in this order until the archive accepts one.
    attempts: Vec<RequestedTypes>,
    /// The accepted formats of rows and metadata, the most preferred one first.
    formats: Vec<Format>,
    /// Whether one of the ranges is HTML.
    pub(crate) accepts_html: bool,
    /// The ranges of the client in their order, including those with weight 0.
    pub(crate) ranges: Vec<MediaRange>,
    /// The usual media type of the response, if it is a single object, frame or image.
    single_type: Option<&'static str>,
}

impl Accepted {
    /// Parses the `Accept` headers of a request for `resource`; `None` if no accepted media type is available.
    pub(crate) fn read(headers: &HeaderMap, resource: &Resource) -> Option<Self> {
        let has_no_accept = !headers.contains_key(http::header::ACCEPT);
        let unsorted_ranges = negotiation::ranges(headers);
        let ranges = negotiation::by_preference(unsorted_ranges.clone());
        let accepts_html = ranges.iter().any(|range| range.essence == "text/html");
        if resource.is_text() {
            let mut formats = Vec::new();
            for format in ranges.iter().filter_map(|range| accepted_format(range, &unsorted_ranges)) {
                if !formats.contains(&format) {
                    formats.push(format);
                }
            }
            let mut media_types: Vec<_> = formats
                .iter()
                .map(|format| match format {
                    Format::Json => JSON,
                    Format::Xml => XML_PARTS,
                })
                .collect();
            // If the archive does not provide XML, it is converted from JSON.
            if formats == [Format::Xml] {
                media_types.push(JSON);
            }
            let attempts: Vec<_> = media_types
                .into_iter()
                .map(|format| RequestedTypes::from_media_types(Some(format)))
                .collect();
            return (!attempts.is_empty()).then_some(Self {
                attempts,
                formats,
                accepts_html,
                ranges: unsorted_ranges,
                single_type: None,
            });
        }
        if has_no_accept {
            return Some(Self {
                attempts: vec![RequestedTypes::from_media_types(None)],
                formats: Vec::new(),
                accepts_html,
                ranges: unsorted_ranges,
                single_type: None,
            });
        }
        let serialized: Vec<_> = ranges
            .iter()
            .filter_map(|range| Some((to_standard_form(range, resource)?, range.weight)))
            .collect();
        let (first_range, _) = serialized.first()?;
        let mut accept_values = vec![join_ranges(&serialized)];
        if serialized.len() > 1 {
            accept_values.push(first_range.clone());
            accept_values.extend(serialized.iter().skip(1).map(|(range, _)| range.clone()));
            accept_values.dedup();
        }
        let media_types =
            accept_values.iter().take(MAX_ATTEMPTS).filter_map(|text| HeaderValue::from_str(text).ok());
        let mut attempts: Vec<_> =
            media_types.map(|media_types| RequestedTypes::from_media_types(Some(media_types))).collect();
        attempts.extend(ranges.iter().find_map(|range| request_as_only_part(range, resource)));
        Some(Self {
            attempts,
            formats: Vec::new(),
            accepts_html,
            ranges: unsorted_ranges,
            single_type: single_type(resource),
        })
    }

    /// Creates the media types for rows or metadata that the gateway processes: DICOM JSON.
    pub(crate) fn rows() -> Self {
        Self {
            attempts: vec![RequestedTypes::from_media_types(Some(JSON))],
            formats: vec![Format::Json],
            accepts_html: false,
            ranges: Vec::new(),
            single_type: None,
        }
    }

    /// Creates the media types for a whole object in its stored transfer syntax. Every archive supports multipart bodies. Some
    /// archives do not support `transfer-syntax=*`, so the last request has no transfer syntax.
    pub(crate) fn object() -> Self {
        let attempt = |media_types| RequestedTypes {
            media_types: Some(HeaderValue::from_static(media_types)),
            only_part: Some("application/dicom"),
        };
        let attempts = [
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            "application/dicom; transfer-syntax=*",
            "multipart/related; type=\"application/dicom\"",
        ];
        Self {
            attempts: attempts.map(attempt).to_vec(),
            formats: Vec::new(),
            accepts_html: false,
            ranges: Vec::new(),
            single_type: None,
        }
    }

    /// Creates the value for a request whose query, not its `Accept` header, contains the media types. `accepts_html` states whether
    /// one of them is HTML.
    pub(crate) fn in_query(accepts_html: bool) -> Self {
        Self {
            attempts: vec![RequestedTypes::from_media_types(None)],
            formats: Vec::new(),
            accepts_html,
            ranges: Vec::new(),
            single_type: None,
        }
    }

    /// Returns the media types of the requests to the archive, in the order in which they are sent.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = RequestedTypes> + use<> {
        self.attempts.clone().into_iter()
    }

    /// Returns the media type of the only part of a body with this Content-Type, if the client accepts its content, but no multipart
    /// body: some archives ignore `Accept` and always return one. A type that the body does not declare is the requested one.
    pub(crate) fn only_part_of(&self, content_type: &str) -> Option<String> {
        let usual_type = self.single_type?;
        let content = MediaRange::parse(content_type)?;
        let accepted = || self.ranges.iter().filter(|range| range.weight > 0.0);
        let accepts = |media_type: &str| accepted().any(|range| range.covers(media_type));
        let named_type = || accepted().find(|range| !range.essence.contains('*'));
        match type_parameter(&content) {
            _ if accepts(&content.essence) => None,
            Some(declared) => accepts(&declared).then_some(declared),
            None if accepts(usual_type) => Some(usual_type.to_owned()),
            None => named_type().map(|range| range.essence.clone()),
        }
    }

    /// Whether the client accepts rows or metadata in `format`.
    pub(crate) fn accepts(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// Whether the client excludes `content_type`: the most specific range that matches it has weight 0.
    pub(crate) fn excludes(&self, content_type: &str) -> bool {
        excludes(&self.ranges, content_type)
    }

    /// Returns the preferred format of rows or metadata.
    pub(crate) fn preferred_format(&self) -> Format {
        self.formats.first().copied().unwrap_or(Format::Json)
    }
}

/// Whether the most specific of `ranges` that matches `content_type` has weight 0 (RFC 9110 12.4.2, 12.5.1). A range with a
/// `type` or `transfer-syntax` parameter matches only content with the same value, and is more specific than a range without it.
/// `*/*;q=0` has no effect. A type that no range matches is not excluded, because clients expect DICOM JSON for
/// `application/json`.
fn excludes(ranges: &[MediaRange], content_type: &str) -> bool {
    let Some(content) = MediaRange::parse(content_type) else { return false };
    let is_match =
        |in_range: Option<&str>, in_content: Option<&str>| in_range.is_none() || in_range == in_content;
    let matching = ranges.iter().filter(|range| {
        range.essence != "*/*"
            && range.covers(&content.essence)
            && is_match(type_parameter(range).as_deref(), type_parameter(&content).as_deref())
            && is_match(transfer_syntax(range), transfer_syntax(&content))
    });
    let specificity = |range: &&MediaRange| {
        (range.specificity(), type_parameter(range).is_some(), transfer_syntax(range).is_some())
    };
    // The first of equally specific ranges applies, but `max_by_key` returns the last.
    matching.rev().max_by_key(specificity).is_some_and(|range| range.weight <= 0.0)
}

/// Returns the format of rows and metadata that `range` accepts and `all_ranges` do not exclude. For `*/*`, this is the first
/// format that is not excluded.
fn accepted_format(range: &MediaRange, all_ranges: &[MediaRange]) -> Option<Format> {
    let accepts_json = || !excludes(all_ranges, "application/dicom+json");
    let accepts_xml = || !excludes(all_ranges, "multipart/related; type=\"application/dicom+xml\"");
    named_format(range)
        .filter(|format| match format {
            Format::Json => accepts_json(),
            Format::Xml => accepts_xml(),
        })
        .or_else(|| (range.essence == "*/*" && accepts_xml()).then_some(Format::Xml))
}

/// Returns the format of rows and metadata that a range names; JSON for a wildcard.
fn named_format(range: &MediaRange) -> Option<Format> {
    match range.essence.as_str() {
        "multipart/related" => match type_parameter(range).as_deref() {
            Some("application/dicom+json" | "application/json" | "*/*" | "application/*") => {
                Some(Format::Json)
            }
            None | Some("application/dicom+xml") => Some(Format::Xml),
            Some(_) => None,
        },
        "application/dicom+xml" => Some(Format::Xml),
        _ if range.covers("application/dicom+json") || range.covers("application/json") => Some(Format::Json),
        _ => None,
    }
}

/// Returns the `type` of a multipart range, in lower case and without the parameters that some viewers append to it.
pub(crate) fn type_parameter(range: &MediaRange) -> Option<String> {
    let text = range.parameter("type")?.trim_matches('\'');
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Returns a range in the form of PS3.18 8.7.4, without its weight; `None` if the range is invalid.
fn to_standard_form(range: &MediaRange, resource: &Resource) -> Option<String> {
    if !is_media_range(&range.essence) {
        return None;
    }
    let mut text = range.essence.clone();
    if let Some(inner) = type_parameter(range) {
        let inner = if inner == "*/*" { default_type(resource) } else { &inner };
        if !is_media_range(inner) {
            return None;
        }
        text.push_str("; type=\"");
        text.push_str(inner);
        text.push('"');
    }
    match transfer_syntax(range) {
        None | Some("") => {}
        Some(syntax) if syntax == "*" || Uid::parse(syntax).is_ok() => {
            text.push_str("; transfer-syntax=");
            text.push_str(syntax);
        }
        Some(_) => return None,
    }
    Some(text)
}

/// Returns the usual media type of the response for `resource`, if it is one object, frame or image, which is the only part of a multipart
/// body.
fn single_type(resource: &Resource) -> Option<&'static str> {
    match resource {
        Resource::Whole(DicomResource::Instance(..)) => Some("application/dicom"),
        Resource::Bulkdata(..) => Some("application/octet-stream"),
        Resource::Whole(DicomResource::Frames(.., frames)) if frames.len() == 1 => {
            Some("application/octet-stream")
        }
        Resource::Rendered(DicomResource::Frames(.., frames)) if frames.len() == 1 => Some("image/jpeg"),
        Resource::Rendered(DicomResource::Instance(..)) | Resource::Thumbnail(_) => Some("image/jpeg"),
        Resource::Whole(_) | Resource::Rendered(_) | Resource::Metadata(_) | Resource::Search(_) => None,
    }
}

/// Returns the media types that request a single object as the only part of a multipart body, which every archive supports; `None` if
/// `range` does not request a single object.
fn request_as_only_part(range: &MediaRange, resource: &Resource) -> Option<RequestedTypes> {
    let media_type = match resource {
        Resource::Whole(DicomResource::Instance(..)) => "application/dicom",
        Resource::Whole(DicomResource::Frames(.., frames)) if frames.len() == 1 => "application/octet-stream",
        Resource::Bulkdata(..) => "application/octet-stream",
        _ => return None,
    };
    let mut parts = format!("multipart/related; type=\"{media_type}\"");
    match transfer_syntax(range) {
        _ if range.essence != media_type => return None,
        None | Some("") => {}
        Some(syntax) if syntax == "*" || Uid::parse(syntax).is_ok() => {
            parts.push_str("; transfer-syntax=");
            parts.push_str(syntax);
        }
        Some(_) => return None,
    }
    Some(RequestedTypes { media_types: HeaderValue::from_str(&parts).ok(), only_part: Some(media_type) })
}

/// Returns the transfer syntax of a range, which is a parameter of the range or inside the quotes of `type`.
pub(crate) fn transfer_syntax(range: &MediaRange) -> Option<&str> {
    let in_type = || {
        let mut parameters = range.parameter("type")?.split(';').skip(1);
        parameters.find_map(|part| part.trim().strip_prefix("transfer-syntax="))
    };
    Some(range.parameter("transfer-syntax").or_else(in_type)?.trim_matches(['\'', '"', ' ']))
}

/// Returns the media type that replaces `*/*` in the `type` parameter, because archives do not support `*/*`: the default of the
/// resource (PS3.18 table 8.7.3-1).
fn default_type(resource: &Resource) -> &'static str {
    match resource {
        Resource::Whole(DicomResource::Frames(..)) | Resource::Bulkdata(..) => "application/octet-stream",
        _ => "application/dicom",
    }
}

/// Joins ranges and their weights into a list. A single range needs no weight.
fn join_ranges(ranges: &[(String, f32)]) -> String {
    let with_weight = |(range, weight): &(String, f32)| {
        if *weight < 1.0 { format!("{range};q={weight:.3}") } else { range.clone() }
    };
    match ranges {
        [(range, _)] => range.clone(),
        ranges => ranges.iter().map(with_weight).collect::<Vec<_>>().join(", "),
    }
}

/// Whether the text is a media range without parameters (RFC 9110 12.5.1).
fn is_media_range(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte))
    };
    text.len() <= 128
        && text.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INSTANCE: &str = "studies/1.2/series/1.2.3/instances/1.2.3.4";

    fn attempts(path: &str, accept: &str) -> Vec<String> {
        let headers = HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        let accepted = Accepted::read(&headers, &Resource::parse(path).unwrap());
        let attempts = accepted.into_iter().flat_map(|accepted| accepted.attempts());
        attempts.map(|attempt| attempt.media_types.unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn ranges_are_serialized_in_the_form_of_the_standard() {
        let frames = format!("{INSTANCE}/frames/1");
        let octets = r#"multipart/related; type="application/octet-stream"; transfer-syntax=*"#;
        for range in [
            octets,
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related;type='application/octet-stream';transfer-syntax=*",
            r#"multipart/related; type="application/octet-stream; transfer-syntax=*""#,
            "multipart/related; type='application/octet-stream; transfer-syntax=*'",
            r#"Multipart/Related; Type="application/OCTET-stream"; Transfer-Syntax="*"; boundary=x"#,
            r#"multipart/related; type="*/*"; transfer-syntax=*"#,
            r#"multipart/related; type="application/octet-stream"; transfer-syntax=*;q=0.5"#,
        ] {
            assert_eq!(attempts(&frames, range), [octets], "{range}");
        }
        assert_eq!(
            attempts(INSTANCE, "multipart/related; type=\"*/*\""),
            ["multipart/related; type=\"application/dicom\""]
        );
    }

    #[test]
    fn ranges_are_requested_as_a_list_and_then_one_by_one() {
        assert_eq!(
            attempts(&format!("{INSTANCE}/rendered"), "image/webp;q=0.2,*/*;q=0.1, image/png, image/gif;q=0"),
            ["image/png, image/webp;q=0.200, */*;q=0.100", "image/png", "image/webp", "*/*",]
        );
    }

    #[test]
    fn rows_and_metadata_are_requested_in_json_or_xml() {
        let json = "application/dicom+json, application/json;q=0.9";
        let xml = "multipart/related; type=\"application/dicom+xml\"";
        for path in ["studies", "studies/1.2/metadata"] {
            for accept in [
                "*/*",
                "application/json",
                "application/dicom+json;q=0.1",
                "text/html, application/xhtml+xml, */*;q=0.8",
                "multipart/related; type=application/dicom+json",
            ] {
                assert_eq!(attempts(path, accept), [json], "{accept}");
            }
            for accept in ["application/dicom+xml", "multipart/related; type=application/dicom+xml"] {
                assert_eq!(attempts(path, accept), [xml, json], "{accept}");
            }
            assert_eq!(attempts(path, "application/dicom+json;q=0.5, application/dicom+xml"), [xml, json]);
            assert_eq!(attempts(path, "text/html"), [""; 0]);
            assert_eq!(attempts(path, "application/dicom+json;q=0, */*"), [xml, json]);
            assert_eq!(attempts(path, "application/json, */*;q=0"), [json]);
            assert_eq!(attempts(path, "*/*, application/dicom+json;q=0, multipart/related;q=0"), [""; 0]);
            assert_eq!(attempts(path, "application/*;q=0, */*;q=0.1, application/dicom+json"), [json]);
        }
    }

    #[test]
    fn a_single_object_is_also_requested_as_the_only_part_of_a_multipart_body() {
        assert_eq!(
            attempts(INSTANCE, "application/dicom; transfer-syntax=*"),
            [
                "application/dicom; transfer-syntax=*",
                "multipart/related; type=\"application/dicom\"; transfer-syntax=*"
            ]
        );
        let frames = |list: &str| attempts(&format!("{INSTANCE}/frames/{list}"), "application/octet-stream");
        assert_eq!(frames("1").len(), 2);
        assert_eq!(frames("1,2"), ["application/octet-stream"]);
        assert_eq!(attempts("studies/1.2", "application/dicom"), ["application/dicom"]);
    }

    #[test]
    fn invalid_media_types_are_not_requested() {
        for accept in ["nonsense", "image/png;q=0", "a/b c", "image/jpeg; transfer-syntax=1..2"] {
            assert_eq!(attempts(INSTANCE, accept), [""; 0], "{accept}");
        }
    }

    proptest! {
        #[test]
        fn attempts_are_limited_for_any_accept_header(
            units in prop::collection::vec("[a-z]/[a-z*]|multipart/related|;|,|type=|\"|'|q=|transfer-syntax=|\\*|[0-9.]|[ -~]", 0..40),
            times in 1_usize..400,
        ) {
            let accept = units.concat().repeat(times);
            for path in [INSTANCE, "studies", "studies/1.2/rendered"] {
                let attempts = attempts(path, &accept);
                prop_assert!(attempts.len() <= MAX_ATTEMPTS + 1);
                // The default type that replaces `*/*` is longer.
                prop_assert!(attempts.iter().all(|list| list.len() <= 2 * accept.len() + 80), "{:?}", attempts);
            }
        }

        #[test]
        fn requested_media_types_follow_the_grammar_for_any_accept_header(accept in "[ -~]{0,80}|([a-z/;=\", ']|type=|transfer-syntax=|q=|\\*|1\\.2){0,20}") {
            for attempt in attempts(INSTANCE, &accept) {
                for range in attempt.split(", ") {
                    let mut parts = range.split(';').map(str::trim);
                    prop_assert!(is_media_range(parts.next().unwrap()), "{}", attempt);
                    for part in parts {
                        prop_assert!(
                            ["type=\"", "transfer-syntax=", "q="].iter().any(|known| part.starts_with(known)),
                            "{}", attempt
                        );
                    }
                }
            }
        }
    }
}
