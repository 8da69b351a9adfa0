//! The short id of an archive, which is used in the configuration, in URLs and as the id of the Endpoint.

use std::fmt;
use std::sync::Arc;

/// The error for a text that is not an archive id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an archive id is 1 to 32 lower-case letters, digits and hyphens, other than studies, series and instances"
)]
pub struct ArchiveIdError;

/// An archive id `[a-z0-9-]{1,32}`, which is valid as a path segment, a FHIR id and a metric label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(Arc<str>);

/// Path segments of the aggregate root, which are therefore not available as archive ids.
const RESERVED: [&str; 3] = ["studies", "series", "instances"];

impl ArchiveId {
    /// Parses an archive id.
    pub fn parse(text: &str) -> Result<Self, ArchiveIdError> {
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(is_legal) && !RESERVED.contains(&text) {
            Ok(Self(text.into()))
        } else {
            Err(ArchiveIdError)
        }
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ArchiveId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_path_segment_of_lower_case_letters_digits_and_hyphens() {
        for valid in ["main", "pacs-2", "0"] {
            assert!(ArchiveId::parse(valid).is_ok(), "{valid}");
        }
        for invalid in
            ["", "Main", "a b", "a/b", "a.b", "ä", "studies", "series", "instances", &"a".repeat(33)]
        {
            assert_eq!(ArchiveId::parse(invalid), Err(ArchiveIdError), "{invalid}");
        }
    }
}
