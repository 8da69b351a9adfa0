//! Which of the media types that there are the caller wants (RFC 9110 12.5.1), and whether gzip (12.5.3).

use http::{HeaderMap, HeaderName, header};

pub use http_messages::media_range::{MediaRange, most_wanted, preferred};
use http_messages::media_range::{elements, weight};

/// A header with more elements than this says nothing that a client means.
const MAX_ELEMENTS: usize = 64;

/// The ranges of every `Accept` header, the most wanted first; equal ones in their order. Without the header, anything.
pub fn accepted(headers: &HeaderMap) -> Vec<MediaRange> {
    most_wanted(ranges(headers))
}

/// The ranges of every `Accept` header in their order, unwanted ones too. Without the header, anything.
pub fn ranges(headers: &HeaderMap) -> Vec<MediaRange> {
    let mut ranges: Vec<_> = elements_of(headers, &header::ACCEPT).filter_map(MediaRange::parse).collect();
    if ranges.is_empty() && !headers.contains_key(header::ACCEPT) {
        ranges.push(MediaRange::anything());
    }
    ranges
}

/// Whether the caller takes a gzip body.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    coding_quality(headers, "gzip") > 0.0
}

/// How much the caller wants a body in `coding`: 0 for not at all.
pub fn coding_quality(headers: &HeaderMap, coding: &str) -> f32 {
    let mut any = None;
    for element in elements_of(headers, &header::ACCEPT_ENCODING) {
        let mut parts = element.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        let quality = quality.map_or(1.0, |quality| weight(quality).unwrap_or(0.0));
        if named.strip_prefix("x-").unwrap_or(&named) == coding {
            return quality;
        }
        if named == "*" {
            any = Some(quality);
        }
    }
    any.unwrap_or(0.0)
}

/// The elements of a list header, over all its lines.
fn elements_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(elements).take(MAX_ELEMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn the_most_wanted_range_comes_first() {
        let headers = headers(
            &header::ACCEPT,
            &["text/html;q=0.5, application/fhir+json;q=0.9", "*/*;q=0.1, image/png;q=0"],
        );
        let essences: Vec<_> = accepted(&headers).into_iter().map(|range| range.essence).collect();
        assert_eq!(essences, ["application/fhir+json", "text/html", "*/*"]);
        assert!(accepted(&HeaderMap::new())[0].covers("application/json"));
    }

    #[test]
    fn the_range_that_says_most_of_a_type_decides() {
        let preferred = |line: &'static str| {
            let ranges = ranges(&headers(&header::ACCEPT, &[line]));
            preferred(&ranges, &["a/json", "b/json", "a/xml"])
                .map_or("", |at| ["a/json", "b/json", "a/xml"][at])
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
    fn gzip_is_used_only_where_it_is_welcome() {
        let accepts = |line| accepts_gzip(&headers(&header::ACCEPT_ENCODING, &[line]));
        assert!(accepts("gzip, deflate, br") && accepts("br, *") && accepts("gzip;q=0.1"));
        assert!(!accepts("gzip;q=0, *") && !accepts("br") && !accepts("identity") && !accepts("*;q=0"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    /// Lines of any bytes that a header can hold.
    fn lines() -> impl Strategy<Value = Vec<HeaderValue>> {
        let line = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "([a-z*]/[a-z*]|;|,|q=|\"|=|[0-9.NaInf-]{1,4}|gzip| ){0,60}".prop_map(String::into_bytes),
            // As long as the server lets any header be, of whatever costs the most.
            "[\",;=/*]".prop_map(|unit| unit.repeat(16 * 1024).into_bytes()),
        ];
        let legal = |bytes: &Vec<u8>| HeaderValue::from_bytes(bytes).ok();
        prop::collection::vec(line.prop_filter_map("no header value", move |bytes| legal(&bytes)), 0..4)
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_read_and_no_more_of_it_than_is_meant(lines in lines()) {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::ACCEPT, line.clone());
                headers.append(header::ACCEPT_ENCODING, line.clone());
            }
            let ranges = accepted(&headers);
            prop_assert!(ranges.len() <= MAX_ELEMENTS);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].quality >= pair[1].quality));
            let text = |range: &MediaRange| {
                range.essence.len() + range.parameters.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            };
            // Nothing is written twice, so that reading is linear in what was sent.
            let sent: usize = lines.iter().map(HeaderValue::len).sum();
            prop_assert!(ranges.iter().map(text).sum::<usize>() <= sent.max("*/*".len()));
            let quality = coding_quality(&headers, "gzip");
            prop_assert!((0.0..=1.0).contains(&quality), "{}", quality);
            preferred(&ranges, &["image/png", "a/b"]);
        }
    }
}
