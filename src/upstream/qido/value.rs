//! Match values (PS3.4 C.2.2.2), and their escaping in a query (RFC 3986 3.4).

use std::fmt::Write;

use dicom_model::{DicomDate, Uid};

/// A match value that every archive interprets in the same way.
///
/// Archives interpret `*`, `?`, `,` and `\` as operators, and some archives do not decode percent-escapes. Therefore a literal
/// consists only of characters without a special meaning; any other value is widened to a pattern that covers it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchValue(pub(super) String);

impl MatchValue {
    /// Returns `text` as a literal; `None` if an archive could interpret it in another way.
    pub fn exact(text: &str) -> Option<Self> {
        let text = text.trim_matches(' ');
        (!text.is_empty() && text.bytes().all(is_literal)).then(|| Self(text.to_owned()))
    }

    /// Returns a pattern that matches `text`, in which `*` replaces every character with a special meaning; `None` if the pattern
    /// would match every value.
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

    /// Widens `pattern` to a pattern without escapes, which also matches padded values if `is_padded` is set; `None` if it would
    /// match every value.
    pub(super) fn widen(pattern: &str, is_padded: bool) -> Option<Self> {
        let mut widened = String::new();
        let padding = is_padded.then_some('*');
        for character in pattern.trim_matches(' ').chars().chain(padding) {
            if character.is_ascii() && is_unescaped(character as u8) && character != '*' {
                widened.push(character);
            } else if !widened.ends_with('*') {
                widened.push('*');
            }
        }
        widened.chars().any(|character| !matches!(character, '*' | '?')).then_some(Self(widened))
    }

    /// Returns a pattern that matches the literal with or without padding; `None` if the value is not a literal.
    pub fn padded(&self) -> Option<Self> {
        Self::exact(&self.0).map(|Self(exact)| Self(format!("{exact}*")))
    }

    /// Returns a value that matches `uid`.
    pub fn uid(uid: &Uid) -> Self {
        Self(uid.as_str().to_owned())
    }

    /// Returns a value that matches each of `uids` (a comma-separated list in PS3.18 8.3.4.1).
    pub fn any_of(uids: &[Uid]) -> Option<Self> {
        (!uids.is_empty()).then(|| Self(uids.iter().map(Uid::as_str).collect::<Vec<_>>().join(",")))
    }

    /// Returns the range of the days from `first` to `last` inclusive (PS3.4 C.2.2.2.5); `None` if neither is given.
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

    /// Returns a value unchanged as a DICOMweb client has sent it, with its operators.
    pub fn raw(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Whether the byte has no special meaning in any archive: it needs no escape (RFC 3986 3.4) and is not a matching operator. A
/// hyphen is an operator only in dates and times, which are never created from text.
///
/// The other unescaped characters of RFC 3986 are escaped too: `&` and `+` have another meaning in a form, some servers separate
/// keys at `;` and `=`, and URLs of `http` escape the apostrophe (WHATWG URL, special-query percent-encode set).
fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'/' | b':' | b'@' | b'!' | b'$' | b'(' | b')')
}

/// Whether the byte is sent unescaped: it has no special meaning, or is a matching operator, which some archives recognize only
/// unescaped.
pub(super) fn is_unescaped(byte: u8) -> bool {
    is_literal(byte) || matches!(byte, b'*' | b'?' | b',')
}

/// Percent-escapes every byte that is not sent unescaped, or every byte except letters and digits.
pub(super) fn escape(value: &str, is_full: bool) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || is_unescaped(byte) && !is_full {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_with_a_special_character_is_not_a_literal() {
        for literal in ["P-1.2_3~x", "25/1807", "A(1)", "a@b:c!$"] {
            assert!(MatchValue::exact(literal).is_some(), "{literal}");
        }
        for special in [
            "", " ", "P*1", "P?1", "P\\1", "P,1", "P 1", "P+1", "P%31", "P&x", "P;x", "P=x", "O'N", "Ж",
            "P\r\n",
        ] {
            assert_eq!(MatchValue::exact(special), None, "{special:?}");
        }
    }

    #[test]
    fn a_pattern_never_matches_every_value() {
        let wildcard = |text| MatchValue::wildcard(text).map(|MatchValue(pattern)| pattern);
        assert_eq!(wildcard("P*1").as_deref(), Some("P*1"));
        assert_eq!(wildcard("Müller, A").as_deref(), Some("M*ller*A"));
        assert_eq!(wildcard("a\\b").as_deref(), Some("a*b"));
        for unlimited in ["", "*", "??", "山田", " , "] {
            assert_eq!(wildcard(unlimited), None, "{unlimited:?}");
        }
    }

    #[test]
    fn days_are_written_as_ranges() {
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
        fn a_pattern_matches_its_value(value in "[a-zA-Z0-9*?,\\\\ é^]{1,12}") {
            if let Some(MatchValue(pattern)) = MatchValue::wildcard(&value) {
                prop_assert!(matches(&pattern, value.trim_matches(' ')));
            }
        }
    }

    fn matches(pattern: &str, text: &str) -> bool {
        match pattern.chars().next() {
            None => text.is_empty(),
            Some('*') => text
                .char_indices()
                .map(|(index, _)| index)
                .chain([text.len()])
                .any(|index| matches(&pattern[1..], &text[index..])),
            Some(first) => text.starts_with(first) && matches(&pattern[1..], &text[1..]),
        }
    }
}
