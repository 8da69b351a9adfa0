//! What a request accepts: the media ranges of `Accept`, with the parameters that DICOMweb adds (PS3.18 8.7).

use http::HeaderMap;
use http::header::ACCEPT;

use http_messages::media_range::{self, MediaRange, covers};

/// The media types in which rows and metadata are sent, the standard's own first.
const JSON: [&str; 2] = ["application/dicom+json", "application/json"];

/// What the client accepts, the most wanted first and what it refuses last. Without the header field, anything.
pub(super) fn accepted(headers: &HeaderMap, parameter: Option<&str>) -> Vec<MediaRange> {
    let fields: Vec<&str> = match parameter {
        Some(parameter) => vec![parameter],
        None => headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect(),
    };
    let mut ranges: Vec<_> = fields.iter().flat_map(|field| MediaRange::parse_list(field)).collect();
    if ranges.is_empty() && fields.iter().all(|field| field.trim().is_empty()) {
        ranges.push(MediaRange::anything());
    }
    ranges.sort_by(|one, other| other.quality.total_cmp(&one.quality));
    ranges
}

/// The ranges that are acceptable, in their order.
pub(super) fn wanted(ranges: &[MediaRange]) -> impl Iterator<Item = &MediaRange> {
    ranges.iter().filter(|range| range.quality > 0.0)
}

/// The media type to answer JSON in, or none when the client takes no JSON.
pub(super) fn json(ranges: &[MediaRange]) -> Option<&'static str> {
    media_range::preferred(ranges, &JSON).map(|index| JSON[index])
}

/// Whether the range takes parts of type `media` in a multipart answer.
pub(super) fn takes_parts_of(range: &MediaRange, media: &str) -> bool {
    range.covers("multipart/related") && part(range).is_none_or(|part| covers(&part, media))
}

/// Whether `range`, one of `ranges`, takes `media` alone, and no more specific one refuses it. Anything at all is parts, which
/// every client of DICOMweb reads.
pub(super) fn takes_alone(range: &MediaRange, ranges: &[MediaRange], media: &str) -> bool {
    range.essence != "*/*"
        && range.covers(media)
        && media_range::deciding(ranges, media).is_some_and(|(_, range)| range.quality > 0.0)
}

/// The transfer syntax that is wanted, beside `type` or, as older viewers write it, inside of its quotes.
pub(super) fn transfer_syntax(range: &MediaRange) -> Option<&str> {
    let inside = || {
        let mut parameters = range.parameter("type")?.split(';').skip(1);
        parameters.find_map(|piece| piece.trim().strip_prefix("transfer-syntax="))
    };
    Some(range.parameter("transfer-syntax").or_else(inside)?.trim())
}

/// The `type` parameter of multipart/related, in lower case.
fn part(range: &MediaRange) -> Option<String> {
    let value = range.parameter("type")?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
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
        for [range] in [quoted, inside].map(|ranges| <[MediaRange; 1]>::try_from(ranges).unwrap()) {
            assert_eq!(transfer_syntax(&range), Some("*"));
            assert!(takes_parts_of(&range, "application/octet-stream"));
            assert!(!takes_parts_of(&range, "image/jpeg"));
        }
    }

    #[test]
    fn the_most_wanted_range_comes_first_and_a_refused_one_is_not_wanted() {
        let ranges = ranges("application/json;q=0.5, text/html;q=0, application/dicom+json");
        let essences: Vec<&str> = wanted(&ranges).map(|range| range.essence.as_str()).collect();
        assert_eq!(essences, ["application/dicom+json", "application/json"]);
        assert_eq!(json(&ranges), Some("application/dicom+json"));
    }

    #[test]
    fn a_type_that_is_refused_is_not_sent_because_a_wildcard_covers_it() {
        assert_eq!(json(&ranges("*/*, application/dicom+json;q=0")), Some("application/json"));
        assert_eq!(
            json(&ranges("application/*;q=0.5, application/dicom+json;q=0, application/json;q=0")),
            None
        );
        let refused = ranges("application/*, application/dicom;q=0");
        assert!(!takes_alone(&refused[0], &refused, "application/dicom"));
        let named = ranges("application/*;q=0.1, application/dicom;q=0.2");
        assert!(takes_alone(&named[0], &named, "application/dicom"));
    }

    #[test]
    fn an_escaped_quote_does_not_end_a_value() {
        let ranges = ranges(r#"multipart/related; x="\", application/json"; type="application/dicom""#);
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert!(takes_parts_of(&ranges[0], "application/dicom"));
    }

    #[test]
    fn no_header_field_accepts_anything() {
        assert_eq!(json(&accepted(&HeaderMap::new(), None)), Some("application/dicom+json"));
        assert_eq!(json(&ranges("application/dicom+xml")), None);
    }
}
