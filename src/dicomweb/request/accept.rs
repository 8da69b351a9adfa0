//! What a client takes (PS3.18 8.7), and how an archive is asked for it.
//!
//! Clients write media types in many ways: unquoted, in single quotes, with the transfer syntax inside the quotes, several
//! with q values. Archives read fewer: many know one range only and refuse a list, or the second spelling of the same
//! thing. So a range is parsed and serialized as the standard writes it, and when an archive refuses a list
//! its ranges are asked for one by one, the most wanted first.

use http::{HeaderMap, HeaderValue};

use super::path::Resource;
use crate::http::negotiation::{self, MediaRange};
use crate::upstream::DicomResource;
use dicom_model::Uid;

/// So often is an archive asked at most: a browser names as many kinds of images.
const MAX_ATTEMPTS: usize = 6;

const JSON: HeaderValue = HeaderValue::from_static("application/dicom+json, application/json;q=0.9");
const XML_PARTS: HeaderValue = HeaderValue::from_static("multipart/related; type=\"application/dicom+xml\"");

/// How rows and metadata are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// DICOM JSON (PS3.18 Annex F).
    Json,
    /// Native DICOM XML (PS3.19 A.1), a part for each object.
    Xml,
}

/// How an archive is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its `Accept`; without it the choice is the archive's.
    pub(crate) media_types: Option<HeaderValue>,
    /// It is asked for parts, of which there is one; the client wants that as it is, and of this type.
    pub(crate) only_part: Option<&'static str>,
}

impl Asked {
    fn of(media_types: Option<HeaderValue>) -> Self {
        Self { media_types, only_part: None }
    }
}

/// What a client takes of one resource.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accepted {
    /// How the archive is asked, one after the other until it does not refuse.
    attempts: Vec<Asked>,
    /// For rows and metadata: the formats, the most wanted first.
    formats: Vec<Format>,
    /// HTML is named among the ranges.
    pub(crate) html: bool,
    /// The ranges as they were read, in their order, unwanted ones too.
    pub(crate) ranges: Vec<MediaRange>,
}

impl Accepted {
    /// Reads the `Accept` headers of a request for `resource`; `None` when nothing that they name can be had.
    pub(crate) fn read(headers: &HeaderMap, resource: &Resource) -> Option<Self> {
        let is_silent = !headers.contains_key(http::header::ACCEPT);
        let said = negotiation::ranges(headers);
        let ranges = negotiation::most_wanted(said.clone());
        let html = ranges.iter().any(|range| range.essence == "text/html");
        if resource.is_text() {
            let mut formats = Vec::new();
            for format in ranges.iter().filter_map(format_of) {
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
            // XML is made of it where the archive writes none.
            if formats == [Format::Xml] {
                media_types.push(JSON);
            }
            let attempts: Vec<_> = media_types.into_iter().map(|format| Asked::of(Some(format))).collect();
            return (!attempts.is_empty()).then_some(Self { attempts, formats, html, ranges: said });
        }
        if is_silent {
            return Some(Self { attempts: vec![Asked::of(None)], formats: Vec::new(), html, ranges: said });
        }
        let written: Vec<_> =
            ranges.iter().filter_map(|range| Some((canonical(range, resource)?, range.quality))).collect();
        let (first, _) = written.first()?;
        let mut attempts = vec![list_of(&written)];
        if written.len() > 1 {
            attempts.push(first.clone());
            attempts.extend(written.iter().skip(1).map(|(range, _)| range.clone()));
            attempts.dedup();
        }
        let media_types =
            attempts.iter().take(MAX_ATTEMPTS).filter_map(|text| HeaderValue::from_str(text).ok());
        let mut attempts: Vec<_> = media_types.map(|media_types| Asked::of(Some(media_types))).collect();
        attempts.extend(ranges.iter().find_map(|range| only_part(range, resource)));
        Some(Self { attempts, formats: Vec::new(), html, ranges: said })
    }

    /// Rows or metadata in DICOM JSON, for what is put together here.
    pub(crate) fn rows() -> Self {
        Self {
            attempts: vec![Asked::of(Some(JSON))],
            formats: vec![Format::Json],
            html: false,
            ranges: Vec::new(),
        }
    }

    /// A whole object, in whatever transfer syntax the archive keeps it, without what may surround it. Every archive has
    /// parts; some know no `*`, and give their own choice to whoever names none.
    pub(crate) fn object() -> Self {
        let asked = |media_types| Asked {
            media_types: Some(HeaderValue::from_static(media_types)),
            only_part: Some("application/dicom"),
        };
        let attempts = [
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            "application/dicom; transfer-syntax=*",
            "multipart/related; type=\"application/dicom\"",
        ];
        Self { attempts: attempts.map(asked).to_vec(), formats: Vec::new(), html: false, ranges: Vec::new() }
    }

    /// The choice stands in the query, or is the archive's. `html` says that HTML is named there.
    pub(crate) fn as_asked(html: bool) -> Self {
        Self { attempts: vec![Asked::of(None)], formats: Vec::new(), html, ranges: Vec::new() }
    }

    /// How the archive is asked, in this order.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Asked> + use<> {
        self.attempts.clone().into_iter()
    }

    /// Whether rows or metadata may come in `format`.
    pub(crate) fn takes(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    /// The format in which rows or metadata are wanted most.
    pub(crate) fn wanted(&self) -> Format {
        self.formats.first().copied().unwrap_or(Format::Json)
    }
}

/// The format of rows and metadata that a range means.
fn format_of(range: &MediaRange) -> Option<Format> {
    match range.essence.as_str() {
        "multipart/related" => match inner_type(range).as_deref() {
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

/// The `type` of a multipart range, in lower case and without what older viewers write behind it.
pub(crate) fn inner_type(range: &MediaRange) -> Option<String> {
    let text = range.parameter("type")?.trim_matches('\'');
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// A range as PS3.18 8.7.4 writes it, without its quality; `None` for what is no media type.
fn canonical(range: &MediaRange, resource: &Resource) -> Option<String> {
    if !is_media_range(&range.essence) {
        return None;
    }
    let mut text = range.essence.clone();
    if let Some(inner) = inner_type(range) {
        let inner = if inner == "*/*" { usual_type(resource) } else { &inner };
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

/// For a range that means a single object as it is: the same as the one part of a body of parts, which every archive has.
fn only_part(range: &MediaRange, resource: &Resource) -> Option<Asked> {
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
    Some(Asked { media_types: HeaderValue::from_str(&parts).ok(), only_part: Some(media_type) })
}

/// The transfer syntax that is wanted, beside `type` or inside of its quotes.
pub(crate) fn transfer_syntax(range: &MediaRange) -> Option<&str> {
    let inside = || {
        let mut parameters = range.parameter("type")?.split(';').skip(1);
        parameters.find_map(|part| part.trim().strip_prefix("transfer-syntax="))
    };
    Some(range.parameter("transfer-syntax").or_else(inside)?.trim_matches(['\'', '"', ' ']))
}

/// What "any type" of parts stands for (PS3.18 table 8.7.3-1: the default of each resource), as archives do not know it.
fn usual_type(resource: &Resource) -> &'static str {
    match resource {
        Resource::Whole(DicomResource::Frames(..)) | Resource::Bulkdata(..) => "application/octet-stream",
        _ => "application/dicom",
    }
}

fn list_of(ranges: &[(String, f32)]) -> String {
    let wanted = |(range, quality): &(String, f32)| {
        if *quality < 1.0 { format!("{range};q={quality:.3}") } else { range.clone() }
    };
    match ranges {
        [(only, _)] => only.clone(),
        ranges => ranges.iter().map(wanted).collect::<Vec<_>>().join(", "),
    }
}

/// `type/subtype` of RFC 9110 8.3.1.
fn is_media_range(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-*".contains(&byte))
    };
    text.len() <= 128 && text.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype))
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
        attempts.map(|asked| asked.media_types.unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_spelling_of_a_range_becomes_that_of_the_standard() {
        let frames = format!("{INSTANCE}/frames/1");
        let octets = r#"multipart/related; type="application/octet-stream"; transfer-syntax=*"#;
        for spelled in [
            octets,
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "multipart/related;type='application/octet-stream';transfer-syntax=*",
            r#"multipart/related; type="application/octet-stream; transfer-syntax=*""#,
            "multipart/related; type='application/octet-stream; transfer-syntax=*'",
            r#"Multipart/Related; Type="application/OCTET-stream"; Transfer-Syntax="*"; boundary=x"#,
            r#"multipart/related; type="*/*"; transfer-syntax=*"#,
            r#"multipart/related; type="application/octet-stream"; transfer-syntax=*;q=0.5"#,
        ] {
            assert_eq!(attempts(&frames, spelled), [octets], "{spelled}");
        }
        assert_eq!(
            attempts(INSTANCE, "multipart/related; type=\"*/*\""),
            ["multipart/related; type=\"application/dicom\""]
        );
    }

    #[test]
    fn a_list_is_asked_for_whole_and_then_one_by_one() {
        assert_eq!(
            attempts(&format!("{INSTANCE}/rendered"), "image/webp;q=0.2,*/*;q=0.1, image/png, image/gif;q=0"),
            ["image/png, image/webp;q=0.200, */*;q=0.100", "image/png", "image/webp", "*/*",]
        );
    }

    #[test]
    fn rows_and_metadata_are_asked_for_in_a_format_that_there_is() {
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
        }
    }

    #[test]
    fn a_single_object_is_the_one_part_of_a_body_of_parts() {
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
    fn what_is_no_media_type_is_not_asked_for() {
        for accept in ["nonsense", "image/png;q=0", "a/b c", "image/jpeg; transfer-syntax=1..2"] {
            assert_eq!(attempts(INSTANCE, accept), [""; 0], "{accept}");
        }
    }

    proptest! {
        #[test]
        fn an_archive_is_asked_no_oftener_than_it_may_be_whatever_is_accepted(
            units in prop::collection::vec("[a-z]/[a-z*]|multipart/related|;|,|type=|\"|'|q=|transfer-syntax=|\\*|[0-9.]|[ -~]", 0..40),
            times in 1_usize..400,
        ) {
            let accept = units.concat().repeat(times);
            for path in [INSTANCE, "studies", "studies/1.2/rendered"] {
                let asked = attempts(path, &accept);
                prop_assert!(asked.len() <= MAX_ATTEMPTS + 1);
                // What is put in place of "any type" of parts is longer than it.
                prop_assert!(asked.iter().all(|list| list.len() <= 2 * accept.len() + 80), "{:?}", asked);
            }
        }

        #[test]
        fn whatever_is_accepted_is_asked_for_in_the_grammar(accept in "[ -~]{0,80}|([a-z/;=\", ']|type=|transfer-syntax=|q=|\\*|1\\.2){0,20}") {
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
