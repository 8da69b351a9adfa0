//! Which of the media types that there are the caller wants (RFC 9110 12.5.1), and whether gzip (12.5.3).

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, header};

/// A header with more elements than this says nothing that a client means.
const MOST_RANGES: usize = 64;

/// One element of an `Accept` header.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaRange {
    /// `type/subtype` in lower case, with `*` where anything will do.
    pub essence: String,
    /// The parameters but `q`, names in lower case, values without quotes.
    pub parameters: Vec<(String, String)>,
    /// 0 to 1.
    pub quality: f32,
}

/// How much a range says, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Anything,
    Kind,
    Type,
}

impl MediaRange {
    /// Whether `essence` is in the range.
    pub fn covers(&self, essence: &str) -> bool {
        match self.essence.split_once('/') {
            Some(("*", "*")) => true,
            Some((kind, "*")) => essence.split('/').next() == Some(kind),
            _ => self.essence == essence,
        }
    }

    fn specificity(&self) -> Specificity {
        match self.essence.split_once('/') {
            Some(("*", "*")) => Specificity::Anything,
            Some((_, "*")) => Specificity::Kind,
            _ => Specificity::Type,
        }
    }

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The ranges of every `Accept` header, the most wanted first; equal ones in their order. Without the header, anything.
pub fn accepted(headers: &HeaderMap) -> Vec<MediaRange> {
    most_wanted(ranges(headers))
}

/// `ranges`, the most wanted first, without those that are not wanted.
pub fn most_wanted(mut ranges: Vec<MediaRange>) -> Vec<MediaRange> {
    ranges.sort_by(|one, other| other.quality.total_cmp(&one.quality));
    ranges.retain(|range| range.quality > 0.0);
    ranges
}

/// The ranges of every `Accept` header in their order, unwanted ones too. Without the header, anything.
pub fn ranges(headers: &HeaderMap) -> Vec<MediaRange> {
    let mut ranges: Vec<_> =
        elements(headers, &header::ACCEPT).filter_map(|element| media_range(&element)).collect();
    if ranges.is_empty() && !headers.contains_key(header::ACCEPT) {
        ranges.push(MediaRange { essence: "*/*".to_owned(), parameters: Vec::new(), quality: 1.0 });
    }
    ranges
}

/// Which of `offered`, media types that stand in the server's order, is wanted most. The most specific range that covers a
/// type tells its quality; of types that are equally wanted, the one that is named goes before one that a wildcard covers,
/// then the one that is named first, then the one that is offered first.
pub fn preferred(ranges: &[MediaRange], offered: &[&str]) -> Option<usize> {
    let mut best: Option<(usize, (f32, Specificity, usize))> = None;
    for (index, essence) in offered.iter().enumerate() {
        let covering = ranges.iter().enumerate().filter(|(_, range)| range.covers(essence));
        let telling = covering.min_by_key(|(at, range)| (Reverse(range.specificity()), *at));
        let Some((at, range)) = telling.filter(|(_, range)| range.quality > 0.0) else { continue };
        let is_better = best.is_none_or(|(_, (quality, specificity, place))| {
            let by_quality = range.quality.total_cmp(&quality);
            by_quality.then(range.specificity().cmp(&specificity)).then(place.cmp(&at)).is_gt()
        });
        if is_better {
            best = Some((index, (range.quality, range.specificity(), at)));
        }
    }
    best.map(|(index, _)| index)
}

/// Reads one media type or range.
pub fn media_range(text: &str) -> Option<MediaRange> {
    let mut parts = split_outside_quotes(text, ';');
    let essence = parts.next()?.trim().to_ascii_lowercase();
    let (kind, subtype) = essence.split_once('/')?;
    if kind.is_empty() || subtype.is_empty() || essence.contains(char::is_whitespace) {
        return None;
    }
    let mut range = MediaRange { essence, parameters: Vec::new(), quality: 1.0 };
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned());
        if name == "q" {
            range.quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
        } else if !name.is_empty() {
            range.parameters.push((name, value));
        }
    }
    Some(range)
}

/// Whether the caller takes a gzip body.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    coding_quality(headers, "gzip") > 0.0
}

/// How much the caller wants a body in `coding`: 0 for not at all.
pub fn coding_quality(headers: &HeaderMap, coding: &str) -> f32 {
    let mut any = None;
    for element in elements(headers, &header::ACCEPT_ENCODING) {
        let mut parts = element.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |quality| {
            quality.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0_f32)
        });
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
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + use<'a> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| split_outside_quotes(line, ',').map(|element| element.trim().to_owned()))
        .filter(|element| !element.is_empty())
        .take(MOST_RANGES)
}

fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character: char| {
        quoted ^= character == '"';
        !quoted && character == separator
    })
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
    fn quoted_parameters_hold_separators() {
        let range =
            media_range(r#"multipart/related; type="application/dicom; a,b"; transfer-syntax=*"#).unwrap();
        assert_eq!(range.parameter("type"), Some("application/dicom; a,b"));
        assert_eq!(range.parameter("transfer-syntax"), Some("*"));
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
            prop_assert!(ranges.len() <= MOST_RANGES);
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
