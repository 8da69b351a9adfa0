//! Unique identifiers (PS3.5 9.1), with one type per level of the information model, so that a series UID cannot be passed as a
//! study UID. This module does not know about registered UIDs.

use std::fmt;
use std::sync::Arc;

/// Error: the text is not a UID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a DICOM UID consists of numeric components separated by single dots, at most 64 characters (PS3.5 9.1)"
)]
pub struct UidError;

/// A UID of any kind: numeric components separated by single dots, at most 64 bytes.
///
/// Leading zeros in a component violate PS3.5 but occur in practice. They are accepted and not normalized.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(Arc<str>);

impl Uid {
    /// Parses `text`, which must not contain padding or percent-encoding.
    pub fn parse(text: &str) -> Result<Self, UidError> {
        if Self::is_legal(text) { Ok(Self(text.into())) } else { Err(UidError) }
    }

    /// Whether `text` is a valid UID.
    pub fn is_legal(text: &str) -> bool {
        let mut previous = b'.';
        let mut legal = |byte: u8| {
            let legal = byte.is_ascii_digit() || (byte == b'.' && previous != b'.');
            previous = byte;
            legal
        };
        text.len() <= 64 && text.bytes().all(&mut legal) && previous != b'.'
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

    proptest! {
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
