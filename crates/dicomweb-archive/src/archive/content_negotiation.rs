//! Content negotiation: the media ranges of `Accept`, with the parameters that DICOMweb defines (PS3.18 8.7). This module does not
//! know which resources exist.

use http::HeaderMap;
use http::header::ACCEPT;

use http_messages::media_range::{self, MediaRange, covers};

/// Media types of rows and metadata, in order of preference.
const JSON: [&str; 2] = ["application/dicom+json", "application/json"];

/// Parses the query parameter, or else the header field, into media ranges by descending weight. Without both, returns `*/*`.
pub(super) fn parse_accept(headers: &HeaderMap, parameter: Option<&str>) -> Vec<MediaRange> {
    let fields: Vec<&str> = match parameter {
        Some(parameter) => vec![parameter],
        None => headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect(),
    };
    let mut ranges: Vec<_> = fields.iter().flat_map(|field| MediaRange::parse_list(field)).collect();
    if ranges.is_empty() && fields.iter().all(|field| field.trim().is_empty()) {
        ranges.push(MediaRange::anything());
    }
    ranges.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    ranges
}

/// Returns the ranges with a weight above 0, in their order.
pub(super) fn acceptable(ranges: &[MediaRange]) -> impl Iterator<Item = &MediaRange> {
    ranges.iter().filter(|range| range.weight > 0.0)
}

/// Returns the media type of JSON responses; `None` if the client accepts none.
pub(super) fn json_media_type(ranges: &[MediaRange]) -> Option<&'static str> {
    media_range::preferred(ranges, &JSON).map(|index| JSON[index])
}

/// Whether the range accepts a multipart response with parts of type `media`.
pub(super) fn accepts_multipart(range: &MediaRange, media: &str) -> bool {
    range.covers("multipart/related") && part_type(range).is_none_or(|part| covers(&part, media))
}

/// Whether `range`, one of `ranges`, accepts `media` as a single part, and no more specific range rejects it. For `*/*`
/// the response is multipart, which every DICOMweb client can read.
pub(super) fn accepts_single_part(range: &MediaRange, ranges: &[MediaRange], media: &str) -> bool {
    range.essence != "*/*"
        && range.covers(media)
        && media_range::applicable_range(ranges, media).is_some_and(|(_, range)| range.weight > 0.0)
}

/// Returns the requested transfer syntax: a separate parameter or, as older viewers send it, a part of the quoted `type`.
pub(super) fn transfer_syntax(range: &MediaRange) -> Option<&str> {
    let quoted_with_type = || {
        let mut parameters = range.parameter("type")?.split(';').skip(1);
        parameters.find_map(|parameter| parameter.trim().strip_prefix("transfer-syntax="))
    };
    Some(range.parameter("transfer-syntax").or_else(quoted_with_type)?.trim())
}

/// Returns the `type` parameter of multipart/related, in lower case.
fn part_type(range: &MediaRange) -> Option<String> {
    let value = range.parameter("type")?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(field: &str) -> Vec<MediaRange> {
        parse_accept(&HeaderMap::new(), Some(field))
    }

    #[test]
    fn parameters_are_parsed_with_and_without_quotes() {
        let quoted = ranges(r#"multipart/related; type="application/octet-stream"; transfer-syntax=*"#);
        let bare = ranges("multipart/related; type=application/octet-stream; transfer-syntax=*");
        let quoted_with_type =
            ranges(r#"multipart/related; type="application/octet-stream; transfer-syntax=*""#);
        assert_eq!(quoted, bare);
        for [range] in [quoted, quoted_with_type].map(|ranges| <[MediaRange; 1]>::try_from(ranges).unwrap()) {
            assert_eq!(transfer_syntax(&range), Some("*"));
            assert!(accepts_multipart(&range, "application/octet-stream"));
            assert!(!accepts_multipart(&range, "image/jpeg"));
        }
    }

    #[test]
    fn ranges_are_sorted_by_weight_and_excluded_ranges_are_omitted() {
        let ranges = ranges("application/json;q=0.5, text/html;q=0, application/dicom+json");
        let essences: Vec<&str> = acceptable(&ranges).map(|range| range.essence.as_str()).collect();
        assert_eq!(essences, ["application/dicom+json", "application/json"]);
        assert_eq!(json_media_type(&ranges), Some("application/dicom+json"));
    }

    #[test]
    fn rejected_type_is_not_sent_even_if_a_wildcard_matches_it() {
        assert_eq!(json_media_type(&ranges("*/*, application/dicom+json;q=0")), Some("application/json"));
        assert_eq!(
            json_media_type(&ranges("application/*;q=0.5, application/dicom+json;q=0, application/json;q=0")),
            None
        );
        let rejected = ranges("application/*, application/dicom;q=0");
        assert!(!accepts_single_part(&rejected[0], &rejected, "application/dicom"));
        let named = ranges("application/*;q=0.1, application/dicom;q=0.2");
        assert!(accepts_single_part(&named[0], &named, "application/dicom"));
    }

    #[test]
    fn escaped_quote_does_not_end_a_value() {
        let ranges = ranges(r#"multipart/related; x="\", application/json"; type="application/dicom""#);
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert!(accepts_multipart(&ranges[0], "application/dicom"));
    }

    #[test]
    fn missing_header_field_accepts_every_media_type() {
        assert_eq!(json_media_type(&parse_accept(&HeaderMap::new(), None)), Some("application/dicom+json"));
        assert_eq!(json_media_type(&ranges("application/dicom+xml")), None);
    }
}
