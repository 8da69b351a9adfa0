//! Content negotiation: the media type that the client prefers (RFC 9110 12.5.1), and the content codings that it accepts
//! (12.5.3).

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub use http_messages::media_range::{MediaRange, applicable_range, by_preference, covers, preferred};
use http_messages::media_range::{elements, parse_weight};

/// Maximum number of elements of a header that are read.
const MAX_ELEMENTS: usize = 64;

/// Returns the media ranges of all `Accept` fields by descending weight; ranges with equal weight keep their order. Without
/// `Accept`, returns `*/*`.
pub fn accepted_ranges(headers: &HeaderMap) -> Vec<MediaRange> {
    by_preference(ranges(headers))
}

/// Returns the media ranges of all `Accept` fields in their order, including those with weight 0. Without `Accept`, and for an empty
/// one, which no media type satisfies and which a server may disregard (RFC 9110 12.5.1), returns `*/*`.
pub fn ranges(headers: &HeaderMap) -> Vec<MediaRange> {
    let is_empty =
        |line: &HeaderValue| line.as_bytes().iter().all(|byte| matches!(byte, b' ' | b'\t' | b','));
    if headers.get_all(header::ACCEPT).iter().all(is_empty) {
        return vec![MediaRange::anything()];
    }
    elements_of(headers, &header::ACCEPT).filter_map(MediaRange::parse).collect()
}

/// Whether the client accepts a gzip body.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    coding_weight(headers, "gzip") > 0.0
}

/// Returns the weight of `coding`; 0 if it is not accepted.
pub fn coding_weight(headers: &HeaderMap, coding: &str) -> f32 {
    let mut wildcard = None;
    for element in elements_of(headers, &header::ACCEPT_ENCODING) {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q="));
        let weight = weight.map_or(1.0, |weight| parse_weight(weight).unwrap_or(0.0));
        if name.strip_prefix("x-").unwrap_or(&name) == coding {
            return weight;
        }
        if name == "*" {
            wildcard = Some(weight);
        }
    }
    wildcard.unwrap_or(0.0)
}

/// Returns the elements of the lists in all field lines `name`.
fn elements_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(elements).take(MAX_ELEMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn ranges_are_sorted_by_descending_weight() {
        let headers = headers(
            &header::ACCEPT,
            &["text/html;q=0.5, application/fhir+json;q=0.9", "*/*;q=0.1, image/png;q=0"],
        );
        let essences: Vec<_> = accepted_ranges(&headers).into_iter().map(|range| range.essence).collect();
        assert_eq!(essences, ["application/fhir+json", "text/html", "*/*"]);
        assert!(accepted_ranges(&HeaderMap::new())[0].covers("application/json"));
    }

    #[test]
    fn an_empty_accept_field_accepts_every_media_type_and_an_invalid_one_accepts_none() {
        for lines in [&[""][..], &[" , ,"], &["", ","]] {
            assert_eq!(ranges(&headers(&header::ACCEPT, lines)), [MediaRange::anything()], "{lines:?}");
        }
        for lines in [&["nonsense"][..], &["", "nonsense"]] {
            assert!(ranges(&headers(&header::ACCEPT, lines)).is_empty(), "{lines:?}");
        }
        let not_ascii = HeaderValue::from_bytes(b"\xfc").unwrap();
        assert!(ranges(&HeaderMap::from_iter([(header::ACCEPT, not_ascii)])).is_empty());
    }

    #[test]
    fn the_most_specific_range_determines_the_weight_of_a_type() {
        let preferred = |line: &'static str| {
            let ranges = ranges(&headers(&header::ACCEPT, &[line]));
            preferred(&ranges, &["a/json", "b/json", "a/xml"])
                .map_or("", |index| ["a/json", "b/json", "a/xml"][index])
        };
        assert_eq!(preferred("*/*"), "a/json");
        assert_eq!(preferred("*/*, a/xml"), "a/xml");
        assert_eq!(preferred("a/*;q=0.5, a/json;q=0.1, */*;q=0.2"), "a/xml");
        assert_eq!(preferred("*/*;q=0.9, a/json;q=0"), "b/json");
        assert_eq!(preferred("b/*"), "b/json");
        assert_eq!(preferred("a/xml, a/json"), "a/xml");
        assert_eq!(preferred("a/xml;q=0.8, a/json;q=0.9"), "a/json");
        assert_eq!(preferred("c/*, a/json;q=0"), "");
        assert_eq!(preferred("a/json;q=2"), "");
    }

    #[test]
    fn gzip_is_accepted_only_with_a_positive_weight() {
        let accepts = |line| accepts_gzip(&headers(&header::ACCEPT_ENCODING, &[line]));
        assert!(accepts("gzip, deflate, br") && accepts("br, *") && accepts("gzip;q=0.1"));
        assert!(!accepts("gzip;q=0, *") && !accepts("br") && !accepts("identity") && !accepts("*;q=0"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    /// Generates field lines of valid bytes.
    fn lines() -> impl Strategy<Value = Vec<HeaderValue>> {
        let line = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "([a-z*]/[a-z*]|;|,|q=|\"|=|[0-9.NaInf-]{1,4}|gzip| ){0,60}".prop_map(String::into_bytes),
            // Repeated characters up to the maximum header size, to find the most expensive input.
            "[\",;=/*]".prop_map(|unit| unit.repeat(16 * 1024).into_bytes()),
        ];
        let header_value = |bytes: &Vec<u8>| HeaderValue::from_bytes(bytes).ok();
        prop::collection::vec(
            line.prop_filter_map("invalid field value", move |bytes| header_value(&bytes)),
            0..4,
        )
    }

    proptest! {
        #[test]
        fn the_media_ranges_of_any_header_are_not_longer_than_the_header(lines in lines()) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::ACCEPT, line.clone());
                headers.append(header::ACCEPT_ENCODING, line.clone());
            }
            let ranges = accepted_ranges(&headers);
            prop_assert!(ranges.len() <= MAX_ELEMENTS);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
            let text = |range: &MediaRange| {
                range.essence.len() + range.parameters.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            };
            // The ranges contain no part of the header twice.
            let header_length: usize = lines.iter().map(HeaderValue::len).sum();
            prop_assert!(ranges.iter().map(text).sum::<usize>() <= header_length.max("*/*".len()));
            let weight = coding_weight(&headers, "gzip");
            prop_assert!((0.0..=1.0).contains(&weight), "{}", weight);
            preferred(&ranges, &["image/png", "a/b"]);
        }
    }
}
