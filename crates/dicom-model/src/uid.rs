//! Unique identifiers (PS3.5 9.1), with one type per level of the information model, so that a series UID cannot be passed as a
//! study UID. This module does not know about registered UIDs.
//!
//! Some archives contain other texts instead, such as the hashes of an anonymization. [`UidRule`] says which texts are accepted as the
//! UIDs of studies, series and instances of an archive. Whatever is accepted can be a segment of a URL, a value in a list with commas, and
//! a quoted string, without escapes.

use std::fmt;
use std::sync::Arc;

/// Error: the text is not a UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a DICOM UID consists of numeric components separated by single dots, at most 64 characters (PS3.5 9.1)"
)]
pub struct UidError;

/// Which texts are accepted as the UIDs of studies, series and instances. A later rule accepts everything that an earlier one accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UidRule {
    /// DICOM UIDs (PS3.5 9.1), also with leading zeros: [`Uid::is_legal`].
    #[default]
    Strict,
    /// 1 to 64 letters, digits, dots, hyphens and underscores, but not dots alone, which URLs do not keep (RFC 3986 5.2.4).
    Lenient,
}

impl UidRule {
    /// Returns the strictest rule that accepts `text`, which must not contain padding; `None` if none does.
    pub fn of(text: &str) -> Option<Self> {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let has_only_dots = text.bytes().all(|byte| byte == b'.');
        if Uid::is_legal(text) {
            Some(Self::Strict)
        } else {
            (text.len() <= Uid::MAX_LEN && text.bytes().all(is_safe) && !has_only_dots)
                .then_some(Self::Lenient)
        }
    }

    /// Whether `text` is accepted by [`Lenient`](Self::Lenient) only.
    pub fn needs_lenient(text: &str) -> bool {
        Self::of(text) == Some(Self::Lenient)
    }

    /// Whether `text` is accepted.
    pub fn accepts(self, text: &str) -> bool {
        Self::of(text).is_some_and(|needed| needed <= self)
    }
}

/// A UID of any kind: numeric components separated by single dots, at most 64 bytes; or, if an archive with [`UidRule::Lenient`]
/// contains it, another text that this rule accepts.
///
/// Leading zeros in a component violate PS3.5 but occur in practice. They are accepted and not normalized.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Arc<str>);

impl Uid {
    /// Maximum length in bytes (PS3.5 9.1).
    pub const MAX_LEN: usize = 64;

    /// Parses `text`, which must not contain padding or percent-encoding.
    pub fn parse(text: &str) -> Result<Self, UidError> {
        Self::parse_by(UidRule::Strict, text)
    }

    /// Parses a `text` that `rule` accepts.
    pub fn parse_by(rule: UidRule, text: &str) -> Result<Self, UidError> {
        if rule.accepts(text) { Ok(Self(text.into())) } else { Err(UidError) }
    }

    /// Returns the strictest rule that accepts the UID.
    pub fn rule(&self) -> UidRule {
        if Self::is_legal(&self.0) { UidRule::Strict } else { UidRule::Lenient }
    }

    /// Whether `text` is a valid UID.
    pub fn is_legal(text: &str) -> bool {
        let bytes = text.as_bytes();
        if bytes.len() > Self::MAX_LEN {
            return false;
        }
        // Without a branch for each byte, the compiler checks several of them at once.
        let has_other =
            bytes.iter().fold(false, |has_other, byte| has_other | !matches!(byte, b'0'..=b'9' | b'.'));
        let has_empty_component = bytes
            .iter()
            .zip(bytes.iter().skip(1))
            .fold(false, |is_empty, pair| is_empty | matches!(pair, (b'.', b'.')));
        !has_other && !has_empty_component && !matches!(bytes, [] | [b'.', ..] | [.., b'.'])
    }

    /// Returns the text of the UID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

macro_rules! uid_of_a_level {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The UID of ", $what, ".")]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uid);

        impl $name {
            #[doc = concat!("Reads the UID of ", $what, "; see [`Uid::parse`].")]
            pub fn parse(text: &str) -> Result<Self, UidError> {
                Uid::parse(text).map(Self)
            }

            #[doc = concat!("Reads the UID of ", $what, " in an archive with `rule`; see [`Uid::parse_by`].")]
            pub fn parse_by(rule: UidRule, text: &str) -> Result<Self, UidError> {
                Uid::parse_by(rule, text).map(Self)
            }

            /// Returns the strictest rule that accepts the UID.
            pub fn rule(&self) -> UidRule {
                self.0.rule()
            }

            /// Returns the text of the UID.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// Returns the UID as a UID of any level.
            pub fn uid(&self) -> &Uid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }
    };
}

uid_of_a_level!(StudyUid, "a study (0020,000D)");
uid_of_a_level!(SeriesUid, "a series (0020,000E)");
uid_of_a_level!(SopInstanceUid, "a SOP instance (0008,0018)");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uid_consists_of_numeric_components_separated_by_dots() {
        for valid in ["1", "1.2.840.10008.1.2", "0.1.02", &"1".repeat(64)] {
            assert!(Uid::parse(valid).is_ok(), "{valid}");
        }
        for invalid in
            ["", ".", "1.", ".1", "1..2", "1.a", "1.2 ", "1.2\0", "1,2", "1.٣", "1%2e2", &"1".repeat(65)]
        {
            assert_eq!(Uid::parse(invalid), Err(UidError), "{invalid:?}");
        }
    }

    #[test]
    fn lenient_rule_accepts_only_texts_that_need_no_escape_and_are_no_dot_segment() {
        let hash = "0123456789abcdef".repeat(4);
        for accepted in [hash.as_str(), "A", "-", "_", "1..2", "1.", ".1", "1.2.03", "...a", "a-b_c.d", "..-"]
        {
            assert!(UidRule::Lenient.accepts(accepted), "{accepted}");
            assert_eq!(StudyUid::parse_by(UidRule::Lenient, accepted).unwrap().as_str(), accepted);
        }
        let too_long = "1".repeat(70);
        let too_long_hash = format!("{hash}0");
        for refused in [
            "",
            ".",
            "..",
            "...",
            "a b",
            "a ",
            "1.2\0",
            "1.2 ",
            "a/b",
            "../a",
            "a%2e",
            "a,b",
            "a\\b",
            "a*",
            "a?",
            "a\"b",
            "a'b",
            "a&b",
            "a#b",
            "a\r\nb",
            "\u{e9}",
            "\u{ff21}",
            &too_long,
            &too_long_hash,
        ] {
            assert!(!UidRule::Lenient.accepts(refused), "{refused:?}");
            assert_eq!(StudyUid::parse_by(UidRule::Lenient, refused), Err(UidError), "{refused:?}");
        }
        assert_eq!(UidRule::of("1.2.03"), Some(UidRule::Strict));
        assert_eq!(UidRule::of("1..2"), Some(UidRule::Lenient));
        assert!(StudyUid::parse_by(UidRule::Strict, &hash).is_err() && StudyUid::parse(&hash).is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_text_is_one_segment_of_a_url_without_escapes(text in "[ -~]{0,8}|[.a-zA-Z0-9_-]{1,70}|\\PC{0,70}") {
            if let Ok(uid) = StudyUid::parse_by(UidRule::Lenient, &text) {
                prop_assert_eq!(uid.as_str(), &text);
                prop_assert!((1..=64).contains(&text.len()));
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
                prop_assert!(text != "." && text != "..");
                prop_assert_eq!(uid.rule() == UidRule::Strict, StudyUid::parse(&text).is_ok());
            } else {
                prop_assert!(StudyUid::parse(&text).is_err());
            }
        }

        #[test]
        fn parsed_uid_keeps_its_text(text in "\\PC{0,70}") {
            if let Ok(uid) = StudyUid::parse(&text) {
                prop_assert_eq!(uid.as_str(), text);
            }
        }

        #[test]
        fn every_well_formed_uid_parses(components in prop::collection::vec("[0-9]{1,6}", 1..9)) {
            let text = components.join(".");
            prop_assert!(Uid::parse(&text).is_ok());
        }
    }
}
