//! `Accept` and `Accept-Encoding` (RFC 9110 12.5.1, 12.5.3): the selected media type is acceptable and has the highest weight
//! according to a second, naive parser. The memory for parsed media ranges is proportional to the length of the header.

use dicomweb_gateway::http::negotiation::{accepted_ranges, coding_weight, preferred, ranges};
use http::{HeaderMap, HeaderValue, header};

/// The media types in which a FHIR resource, a rendered image and metadata are available.
const AVAILABLE_MEDIA_TYPES: [&[&str]; 4] = [
    &["application/fhir+json", "application/fhir+xml", "text/html"],
    &["image/jpeg", "image/png", "image/gif"],
    &["application/dicom+json", "multipart/related", "application/json"],
    &["application/json"],
];

/// The maximum number of list elements that are parsed.
const MAX_ELEMENTS: usize = 64;

/// Checks header fields, one per line.
pub fn check(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::ACCEPT, value.clone());
            headers.append(header::ACCEPT_ENCODING, value);
        }
    }
    let ranges = ranges(&headers);
    let accepted = accepted_ranges(&headers);
    assert!(
        accepted.windows(2).all(|pair| pair[0].weight >= pair[1].weight),
        "the ranges are not in the order of their weights"
    );
    assert!(
        accepted.iter().all(|range| range.weight > 0.0 && ranges.contains(range)),
        "an accepted range is not in the header"
    );
    let header_length: usize = headers.get_all(header::ACCEPT).iter().map(HeaderValue::len).sum();
    let add_length = |sum: usize, range: &http_messages::media_range::MediaRange| {
        sum + range.essence.len()
            + range.parameters.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    };
    assert!(
        ranges.iter().fold(0, add_length) <= header_length.max(3),
        "the ranges are longer than the header"
    );
    let naive = naive_ranges(&headers);
    for offers in AVAILABLE_MEDIA_TYPES {
        let weight = |essence: &str| naive.as_ref().map(|naive| naive_range_weight(naive, essence));
        match preferred(&ranges, offers) {
            Some(index) => {
                let essence = offers[index];
                assert!(
                    accepted.iter().any(|range| range.covers(essence)),
                    "no accepted range covers {essence}"
                );
                if let Some(selected_weight) = weight(essence) {
                    assert!(selected_weight > 0.0, "{essence} is not acceptable");
                    let best = offers.iter().filter_map(|other| weight(other)).fold(0.0, f32::max);
                    assert!(selected_weight >= best, "{essence} does not have the highest weight");
                }
            }
            None => {
                for essence in offers {
                    assert!(weight(essence).unwrap_or(0.0) <= 0.0, "{essence} is acceptable");
                }
            }
        }
    }
    for coding in ["gzip", "br", "zstd"] {
        let weight = coding_weight(&headers, coding);
        assert!((0.0..=1.0).contains(&weight), "{weight} is not a weight");
        if let Some(naive) = naive_coding(&headers, coding) {
            assert_eq!(weight.to_bits(), naive.to_bits(), "the weight of {coding}");
        }
    }
}

/// A media range with its weight.
type NaiveRange = (String, f32);

/// Returns the media ranges of a header without syntax errors and quoted strings; `None` for any other header.
fn naive_ranges(headers: &HeaderMap) -> Option<Vec<NaiveRange>> {
    let ranges: Vec<_> = naive_elements(headers, header::ACCEPT)?
        .iter()
        .map(|element| naive_range(element))
        .collect::<Option<_>>()?;
    Some(ranges)
}

/// Returns the elements of a list header; `None` if an element is empty or contains a quoted string, or if there are too many.
fn naive_elements(headers: &HeaderMap, name: header::HeaderName) -> Option<Vec<String>> {
    let lines: Option<Vec<_>> = headers.get_all(name).iter().map(|line| line.to_str().ok()).collect();
    let list = lines?.join(",");
    let elements: Vec<_> =
        list.split(',').map(|element| element.trim_matches([' ', '\t']).to_owned()).collect();
    let is_simple = elements.len() <= MAX_ELEMENTS
        && elements.iter().all(|element| !element.is_empty() && !element.contains('"'));
    is_simple.then_some(elements)
}

fn naive_range(element: &str) -> Option<NaiveRange> {
    let mut parts = element.split(';').map(|part| part.trim_matches([' ', '\t']));
    let essence = parts.next()?.to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    let is_range = is_token(kind) && is_token(subtype) && (kind != "*" || subtype == "*");
    let weight = naive_weight(parts)?;
    is_range.then_some((essence, weight))
}

/// Returns the weight in `parameters`, 1 if there is none; `None` if a parameter is malformed or the weight is repeated.
fn naive_weight<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<f32> {
    let mut weight = None;
    for parameter in parameters {
        let (name, value) = parameter.split_once('=')?;
        if !is_token(name) || !is_token(value) {
            return None;
        }
        if name.eq_ignore_ascii_case("q") {
            let digits = value.strip_prefix(['0', '1']).map(|rest| rest.strip_prefix('.').unwrap_or(rest))?;
            let is_weight = digits.len() <= 3
                && digits.bytes().all(|digit| digit.is_ascii_digit())
                && value.len() != 2 + digits.len() - 1;
            let number = value.parse().ok().filter(|number| *number <= 1.0 && is_weight)?;
            if weight.replace(number).is_some() {
                return None;
            }
        }
    }
    Some(weight.unwrap_or(1.0))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Returns the weight of the most specific range that covers a type; the first of several equally specific ranges applies.
fn naive_range_weight(ranges: &[NaiveRange], essence: &str) -> f32 {
    let kind = essence.split('/').next().unwrap_or_default();
    let covering = [essence.to_owned(), format!("{kind}/*"), "*/*".to_owned()];
    let weight = |text: &String| ranges.iter().find(|(range, _)| range == text).map(|(_, weight)| *weight);
    covering.iter().find_map(weight).unwrap_or(0.0)
}

fn naive_coding(headers: &HeaderMap, coding: &str) -> Option<f32> {
    let mut wildcard_weight = None;
    for element in naive_elements(headers, header::ACCEPT_ENCODING)? {
        let mut parts = element.split(';').map(|part| part.trim_matches([' ', '\t']));
        let name = parts.next().filter(|name| is_token(name))?.to_ascii_lowercase();
        let parameters: Vec<_> = parts.collect();
        // The only parameter of a coding is its weight.
        if parameters.iter().any(|parameter| !parameter.starts_with("q=")) {
            return None;
        }
        let weight = naive_weight(parameters.into_iter())?;
        if name == coding || name.strip_prefix("x-") == Some(coding) {
            return Some(weight);
        }
        if name == "*" {
            wildcard_weight = Some(weight);
        }
    }
    Some(wildcard_weight.unwrap_or(0.0))
}
