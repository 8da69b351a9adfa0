//! Parses media types and media ranges (RFC 9110 8.3.1, 12.5.1), for all protocols and servers of this program.
//!
//! Deviations from the grammar with only one possible meaning are accepted: whitespace around `=`, parameters without a value,
//! values with characters that are not allowed in tokens. A range with an invalid weight is ignored, because the weight could mean
//! "not acceptable". This module does not know which media types are offered, or the meaning of parameters.

use std::cmp::Reverse;

/// One element of an `Accept` header, or one media type.
#[derive(Debug, Clone, PartialEq)]
pub struct MediaRange {
    /// `type/subtype` in lower case; `*` is a wildcard.
    pub essence: String,
    /// The parameters except `q`; names in lower case, values without quotes and escapes.
    pub parameters: Vec<(String, String)>,
    /// The weight, 0 (not acceptable) to 1.
    pub weight: f32,
}

/// The specificity of a range, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Specificity {
    /// `*/*`
    Anything,
    /// `type/*`
    Type,
    /// `type/subtype`
    Subtype,
}

impl MediaRange {
    /// Returns `*/*`, the meaning of a missing header.
    pub fn anything() -> Self {
        Self { essence: "*/*".to_owned(), parameters: Vec::new(), weight: 1.0 }
    }

    /// Parses one media type or range; `None` if it is invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = split_outside_quotes(text, ';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() || essence.contains(char::is_whitespace) {
            return None;
        }
        let mut range = Self { essence, parameters: Vec::new(), weight: 1.0 };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), unquote(value.trim()));
            if name == "q" {
                range.weight = parse_weight(&value)?;
            } else if !name.is_empty() {
                range.parameters.push((name, value));
            }
        }
        Some(range)
    }

    /// Parses a list of ranges and returns them in the order of the list, without the invalid ones.
    pub fn parse_list(text: &str) -> impl Iterator<Item = Self> + '_ {
        elements(text).filter_map(Self::parse)
    }

    /// Whether the range matches `essence`, a `type/subtype` in lower case.
    pub fn covers(&self, essence: &str) -> bool {
        covers(&self.essence, essence)
    }

    /// Returns the specificity of the range.
    pub fn specificity(&self) -> Specificity {
        match self.essence.split_once('/') {
            Some(("*", "*")) => Specificity::Anything,
            Some((_, "*")) => Specificity::Type,
            _ => Specificity::Subtype,
        }
    }

    /// Writes the media type with only those parameters that have one of `names`, which are in lower case, and a value.
    pub fn with_only(&self, names: &[&str]) -> String {
        let mut text = self.essence.clone();
        for (name, value) in
            self.parameters.iter().filter(|(name, value)| names.contains(&name.as_str()) && !value.is_empty())
        {
            let is_token =
                value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            if is_token {
                text.extend(["; ", name, "=", value]);
            } else {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                text.extend(["; ", name, "=\"", &escaped, "\""]);
            }
        }
        text
    }

    /// Returns a parameter's value; `name` is in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Whether `range` matches `essence`, both in lower case and without parameters.
pub fn covers(range: &str, essence: &str) -> bool {
    match range.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, "*")) => essence.split('/').next() == Some(kind),
        _ => range == essence,
    }
}

/// Returns the range that applies to `essence`, with its index in `ranges`: the first of the most specific ranges that match
/// (RFC 9110 12.5.1). Its weight can be 0.
pub fn applicable_range<'a>(ranges: &'a [MediaRange], essence: &str) -> Option<(usize, &'a MediaRange)> {
    let covering = ranges.iter().enumerate().filter(|(_, range)| range.covers(essence));
    covering.min_by_key(|(index, range)| (Reverse(range.specificity()), *index))
}

/// Sorts `ranges` by descending weight, without changing the order of equal ones, and removes those that are not acceptable
/// (weight 0).
pub fn by_preference(mut ranges: Vec<MediaRange>) -> Vec<MediaRange> {
    ranges.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    ranges.retain(|range| range.weight > 0.0);
    ranges
}

/// Returns the index of the preferred media type in `offered`, which is in the server's order of preference. Among types of equal
/// weight, the type with the most specific range is preferred, then the type whose range is first in `ranges`, then the type that is
/// first in `offered`.
pub fn preferred(ranges: &[MediaRange], offered: &[&str]) -> Option<usize> {
    let mut best: Option<(usize, (f32, Specificity, usize))> = None;
    for (index, essence) in offered.iter().enumerate() {
        let decision = applicable_range(ranges, essence).filter(|(_, range)| range.weight > 0.0);
        let Some((position, range)) = decision else { continue };
        let is_better = best.is_none_or(|(_, (weight, specificity, best_position))| {
            let by_weight = range.weight.total_cmp(&weight);
            by_weight.then(range.specificity().cmp(&specificity)).then(best_position.cmp(&position)).is_gt()
        });
        if is_better {
            best = Some((index, (range.weight, range.specificity(), position)));
        }
    }
    best.map(|(index, _)| index)
}

/// Returns the elements of a list (RFC 9110 5.6.1), without empty ones.
pub fn elements(text: &str) -> impl Iterator<Item = &str> {
    split_outside_quotes(text, ',').map(str::trim).filter(|element| !element.is_empty())
}

/// Parses a weight (RFC 9110 12.4.2). More than three digits are accepted. Signs, exponents and texts such as `NaN` are
/// rejected.
pub fn parse_weight(text: &str) -> Option<f32> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|weight| is_decimal && (0.0..=1.0).contains(weight))
}

/// Returns the text of a quoted-string (RFC 9110 5.6.4), or the token itself.
fn unquote(value: &str) -> String {
    let Some(quoted) = value.strip_prefix('"') else { return value.to_owned() };
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            character => text.push(character),
        }
    }
    text
}

/// Splits at a separator that is not inside a quoted-string.
fn split_outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character: char| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        is_escaped = is_quoted && character == '\\';
        is_quoted ^= character == '"';
        !is_quoted && character == separator
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(text: &str) -> MediaRange {
        MediaRange::parse(text).unwrap()
    }

    #[test]
    fn quoted_string_can_contain_separators_and_escapes() {
        let read = range(r#"multipart/related; type="application/dicom; a,b"; transfer-syntax=*"#);
        assert_eq!(read.parameter("type"), Some("application/dicom; a,b"));
        assert_eq!(read.parameter("transfer-syntax"), Some("*"));
        let list: Vec<_> = MediaRange::parse_list(r#"a/b; x="\"; q=0, c/d\\", e/f; y=" z ""#).collect();
        assert_eq!(list.len(), 2);
        assert_eq!(list[0].parameter("x"), Some(r#""; q=0, c/d\"#));
        assert_eq!((list[0].weight, list[1].parameter("y")), (1.0, Some(" z ")));
    }

    #[test]
    fn weight_is_a_decimal_between_0_and_1() {
        for (text, weight) in [("0", 0.0), ("0.5", 0.5), ("1.000", 1.0), ("1", 1.0), ("0.0001", 0.0001)] {
            assert_eq!(range(&format!("a/b;q={text}")).weight.to_bits(), f32::to_bits(weight));
            assert_eq!(range(&format!("a/b; Q = \"{text}\"")).weight.to_bits(), f32::to_bits(weight));
        }
        for text in ["2", "1.1", "-0", "+1", "1e-1", "NaN", "inf", "", "x", "0.5.0"] {
            let read: Vec<_> = MediaRange::parse_list(&format!("a/b;q={text}")).collect();
            assert_eq!(read, [], "{text}");
        }
    }

    #[test]
    fn most_specific_range_applies_at_any_position_in_the_list() {
        let applicable_weight = |list: &str, essence: &str| {
            let ranges: Vec<_> = MediaRange::parse_list(list).collect();
            applicable_range(&ranges, essence).map(|(_, range)| range.weight)
        };
        assert_eq!(applicable_weight("*/*, application/dicom+json;q=0", "application/dicom+json"), Some(0.0));
        assert_eq!(applicable_weight("application/*;q=0.3, */*;q=0.9", "application/json"), Some(0.3));
        assert_eq!(applicable_weight("a/b;q=0.1, a/b;q=0.2", "a/b"), Some(0.1));
        assert_eq!(applicable_weight("a/*", "b/c"), None);
    }

    #[test]
    fn invalid_media_range_is_rejected() {
        for text in ["", "a", "a/", "/b", "a b/c", "text / html", ";q=1", "*"] {
            assert_eq!(MediaRange::parse(text), None, "{text}");
        }
    }

    /// Returns a range with quoted values: its text, and the expected result of parsing.
    fn generate() -> impl Strategy<Value = (String, MediaRange)> {
        let essence = "[a-z]{1,4}/[a-z+.-]{1,4}|[a-z]{1,4}/\\*|\\*/\\*";
        let parameters = prop::collection::vec(("[a-pr-z]{1,5}", "[ -~]{0,8}"), 0..3);
        (essence, parameters, 0_u16..=1000).prop_map(|(essence, parameters, thousandths)| {
            let weight = f32::from(thousandths) / 1000.0;
            let mut text = essence.to_uppercase();
            for (name, value) in &parameters {
                let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
                text = format!("{text}; {name}=\"{escaped}\"");
            }
            let text = format!("{text};q={weight:.3}");
            (text, MediaRange { essence, parameters, weight })
        })
    }

    proptest! {
        #[test]
            fn parsed_list_equals_the_written_ranges(list in prop::collection::vec(generate(), 0..5)) {
            let text = list.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(" , ,");
            let read: Vec<_> = MediaRange::parse_list(&text).collect();
            prop_assert_eq!(read.len(), list.len());
            for (read, (_, expected)) in read.iter().zip(&list) {
                prop_assert_eq!((&read.essence, &read.parameters), (&expected.essence, &expected.parameters));
                prop_assert!((read.weight - expected.weight).abs() < 0.0005);
            }
        }

        #[test]
        fn parsed_ranges_never_contain_more_than_the_text(text in "[ -~]{0,80}|([a-z/;=\",\\\\]|q=|\\*){0,40}") {
            for range in MediaRange::parse_list(&text) {
                prop_assert!((0.0..=1.0).contains(&range.weight));
                let length: usize = range.parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
                prop_assert!(range.essence.len() + length <= text.len());
            }
        }
    }
}
