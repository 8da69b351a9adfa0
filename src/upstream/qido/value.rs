//! Match values (PS3.4 C.2.2.2), and how they are written in a query (RFC 3986 3.4).

use std::fmt::Write;

use dicom_model::{DicomDate, Uid};

/// A match value that every archive reads the same way.
///
/// Archives interpret `*`, `?`, `,` and `\` as operators wherever they occur, and some archives do not decode percent-escapes.
/// So a literal value consists only of characters that mean themselves everywhere; any other value is widened to a pattern that
/// covers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchValue(pub(super) String);

impl MatchValue {
    /// `text` itself; `None` if an archive could read it as something else.
    pub fn exact(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        (!text.is_empty() && text.bytes().all(is_literal)).then(|| Self(text.to_owned()))
    }

    /// A pattern that matches `text`, with `*` in place of every character that could be misread; `None` if only wildcards
    /// remain, because that would match everything.
    pub fn wildcard(text: &str) -> Option<Self> {
        let mut pattern = String::new();
        for character in text.trim_matches(' ').chars() {
            if character.is_ascii() && is_literal(character as u8) {
                pattern.push(character);
            } else if !pattern.ends_with('*') {
                pattern.push('*');
            }
        }
        (pattern != "*" && !pattern.is_empty()).then_some(Self(pattern))
    }

    /// A pattern without escapes that matches whatever `pattern` matches, including padded values if `is_padded`; `None` if
    /// only wildcards remain, because that would match everything.
    pub(super) fn widened(pattern: &str, is_padded: bool) -> Option<Self> {
        let mut wide = String::new();
        let padding = is_padded.then_some('*');
        for character in pattern.trim_matches(' ').chars().chain(padding) {
            if character.is_ascii() && is_writable(character as u8) && character != '*' {
                wide.push(character);
            } else if !wide.ends_with('*') {
                wide.push('*');
            }
        }
        wide.chars().any(|character| !matches!(character, '*' | '?')).then_some(Self(wide))
    }

    /// A pattern that matches the literal with or without padding; `None` if the value is not a literal.
    pub fn padded(&self) -> Option<Self> {
        Self::exact(&self.0).map(|Self(exact)| Self(format!("{exact}*")))
    }

    /// Any of `uids` (PS3.18 8.3.4.1: a comma-separated list).
    pub fn any_of(uids: &[Uid]) -> Option<Self> {
        (!uids.is_empty()).then(|| Self(uids.iter().map(Uid::as_str).collect::<Vec<_>>().join(",")))
    }

    /// The days from `first` to `last` inclusive (PS3.4 C.2.2.2.5); `None` without either, because that would match everything.
    pub fn days(first: Option<DicomDate>, last: Option<DicomDate>) -> Option<Self> {
        match (first, last) {
            (None, None) => None,
            (Some(first), Some(last)) if first == last => Some(Self(first.to_string())),
            (first, last) => {
                let text = |date: Option<DicomDate>| date.map(|date| date.to_string()).unwrap_or_default();
                Some(Self(format!("{}-{}", text(first), text(last))))
            }
        }
    }

    /// A value exactly as a DICOMweb client wrote it, with its operators.
    pub fn raw(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether every archive reads the byte as itself: it needs no escape (RFC 3986 3.4) and is not a matching operator. A hyphen
/// is an operator only in dates and times, which are never made from text.
///
/// The other unescaped characters of RFC 3986 are escaped too: `&` and `+` mean something else in a form, `;` and `=` separate
/// keys for some servers, and every URL of `http` escapes the apostrophe (WHATWG URL, special-query percent-encode set).
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'/' | b':' | b'@' | b'!' | b'$' | b'(' | b')')
}

/// Whether the byte is sent unescaped: it means itself, or is a matching operator, which some archives recognize only
/// unescaped.
pub(super) fn is_writable(byte: u8) -> bool {
    is_literal(byte) || matches!(byte, b'*' | b'?' | b',')
}

/// Percent-escapes every byte that is not sent unescaped.
pub(super) fn escape_into(query: &mut String, value: &str) {
    for byte in value.bytes() {
        if is_writable(byte) {
            query.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_that_an_archive_could_misread_is_not_a_literal() {
        for plain in ["P-1.2_3~x", "25/1807", "A(1)", "a@b:c!$"] {
            assert!(MatchValue::exact(plain).is_some(), "{plain}");
        }
        for misread in [
            "", " ", "P*1", "P?1", "P\\1", "P,1", "P 1", "P+1", "P%31", "P&x", "P;x", "P=x", "O'N", "Ж",
            "P\r\n",
        ] {
            assert_eq!(MatchValue::exact(misread), None, "{misread:?}");
        }
    }

    #[test]
    fn a_covering_pattern_never_matches_everything() {
        let wildcard = |text| MatchValue::wildcard(text).map(|MatchValue(pattern)| pattern);
        assert_eq!(wildcard("P*1").as_deref(), Some("P*1"));
        assert_eq!(wildcard("Müller, A").as_deref(), Some("M*ller*A"));
        assert_eq!(wildcard("a\\b").as_deref(), Some("a*b"));
        for open in ["", "*", "??", "山田", " , "] {
            assert_eq!(wildcard(open), None, "{open:?}");
        }
    }

    #[test]
    fn days_make_ranges() {
        let day = |text| DicomDate::parse(text);
        let text = |first, last| MatchValue::days(first, last).map(|MatchValue(text)| text);
        assert_eq!(text(day("20240101"), day("20240131")).as_deref(), Some("20240101-20240131"));
        assert_eq!(text(day("20240101"), day("20240101")).as_deref(), Some("20240101"));
        assert_eq!(text(day("20240101"), None).as_deref(), Some("20240101-"));
        assert_eq!(text(None, day("20240101")).as_deref(), Some("-20240101"));
        assert_eq!(text(None, None), None);
    }

    proptest! {
        #[test]
        fn a_covering_pattern_covers(value in "[a-zA-Z0-9*?,\\\\ é^]{1,12}") {
            if let Some(MatchValue(pattern)) = MatchValue::wildcard(&value) {
                prop_assert!(covers(&pattern, value.trim_matches(' ')));
            }
        }
    }

    fn covers(pattern: &str, text: &str) -> bool {
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => text
                .char_indices()
                .map(|(at, _)| at)
                .chain([text.len()])
                .any(|at| covers(&pattern[1..], &text[at..])),
            Some(first) => text.starts_with(first) && covers(&pattern[1..], &text[1..]),
        }
    }
}
