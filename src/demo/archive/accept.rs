//! The media ranges of an Accept header field (RFC 9110 12.5.1), with the parameters that DICOMweb adds (PS3.18 8.7).

use http::HeaderMap;
use http::header::ACCEPT;

/// One media range.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MediaRange {
    /// `type/subtype` in lower case.
    pub essence: String,
    /// The `type` parameter of multipart/related, in lower case.
    pub part: Option<String>,
    /// The `transfer-syntax` parameter.
    pub transfer_syntax: Option<String>,
    quality: f32,
}

/// What the client accepts, dearest first. No header field means anything.
pub(super) fn accepted(headers: &HeaderMap, parameter: Option<&str>) -> Vec<MediaRange> {
    let fields: Vec<&str> = match parameter {
        Some(parameter) => vec![parameter],
        None => headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect(),
    };
    let mut ranges: Vec<MediaRange> =
        fields.iter().flat_map(|field| split(field, ',')).filter_map(|range| media_range(&range)).collect();
    if ranges.is_empty() && fields.iter().all(|field| field.trim().is_empty()) {
        ranges.push(MediaRange { essence: "*/*".into(), part: None, transfer_syntax: None, quality: 1.0 });
    }
    ranges.retain(|range| range.quality > 0.0);
    ranges.sort_by(|one, other| other.quality.total_cmp(&one.quality));
    ranges
}

/// The media type to answer JSON in, or none when the client takes no JSON.
pub(super) fn json(ranges: &[MediaRange]) -> Option<&'static str> {
    ranges.iter().find_map(|range| match range.essence.as_str() {
        "application/dicom+json" | "*/*" | "application/*" => Some("application/dicom+json"),
        "application/json" => Some("application/json"),
        _ => None,
    })
}

impl MediaRange {
    /// Whether the range takes parts of type `media` in a multipart answer.
    pub(super) fn takes_parts_of(&self, media: &str) -> bool {
        matches!(self.essence.as_str(), "multipart/related" | "multipart/*" | "*/*")
            && self.part.as_deref().is_none_or(|part| covers(part, media))
    }

    /// Whether the range takes `media` alone.
    pub(super) fn takes(&self, media: &str) -> bool {
        self.essence != "*/*" && covers(&self.essence, media)
    }
}

fn covers(range: &str, media: &str) -> bool {
    range.eq_ignore_ascii_case(media)
        || range == "*/*"
        || range.strip_suffix("/*").is_some_and(|main| media.split('/').next() == Some(main))
}

fn media_range(text: &str) -> Option<MediaRange> {
    let mut pieces = split(text, ';').into_iter();
    let essence = pieces.next()?.trim().to_ascii_lowercase();
    if !essence.contains('/') {
        return None;
    }
    let mut range = MediaRange { essence, part: None, transfer_syntax: None, quality: 1.0 };
    for piece in pieces {
        let Some((name, value)) = piece.split_once('=') else { continue };
        let value = value.trim().trim_matches('"').trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => range.quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            // Orthanc and others put the transfer syntax inside the quoted type.
            "type" => {
                let mut inner = value.split(';');
                range.part = inner.next().map(|part| part.trim().to_ascii_lowercase());
                if let Some(syntax) = inner.find_map(|piece| piece.trim().strip_prefix("transfer-syntax=")) {
                    range.transfer_syntax = Some(syntax.trim().to_owned());
                }
            }
            "transfer-syntax" => range.transfer_syntax = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(range)
}

/// Parts `text` at a separator that stands outside quotes.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        quoted ^= character == '"';
        if character == separator && !quoted {
            pieces.push(String::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(field: &str) -> Vec<MediaRange> {
        accepted(&HeaderMap::new(), Some(field))
    }

    #[test]
    fn parameters_are_read_quoted_and_bare() {
        let quoted = ranges(r#"multipart/related; type="application/octet-stream"; transfer-syntax=*"#);
        let bare = ranges("multipart/related; type=application/octet-stream; transfer-syntax=*");
        let inside = ranges(r#"multipart/related; type="application/octet-stream; transfer-syntax=*""#);
        assert_eq!(quoted, bare);
        assert_eq!(quoted, inside);
        assert_eq!(quoted[0].transfer_syntax.as_deref(), Some("*"));
        assert!(quoted[0].takes_parts_of("application/octet-stream"));
        assert!(!quoted[0].takes_parts_of("image/jpeg"));
    }

    #[test]
    fn what_is_dearer_comes_first_and_what_is_refused_not_at_all() {
        let ranges = ranges("application/json;q=0.5, text/html;q=0, application/dicom+json");
        let essences: Vec<&str> = ranges.iter().map(|range| range.essence.as_str()).collect();
        assert_eq!(essences, ["application/dicom+json", "application/json"]);
        assert_eq!(json(&ranges), Some("application/dicom+json"));
    }

    #[test]
    fn no_header_field_accepts_anything() {
        assert_eq!(json(&accepted(&HeaderMap::new(), None)), Some("application/dicom+json"));
        assert_eq!(json(&ranges("application/dicom+xml")), None);
    }
}
