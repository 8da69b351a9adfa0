//! The short id of an archive, used in the configuration, in URLs and as Endpoint id.

use std::fmt;
use std::sync::Arc;

/// The text is not an archive id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an archive id is 1 to 32 lower-case letters, digits and hyphens, other than studies, series and instances"
)]
pub struct ArchiveIdError;

/// `[a-z0-9-]{1,32}`: valid as a path segment, a FHIR id and a metric label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(Arc<str>);

/// Path segments of the aggregate root, which an archive id would hide.
const RESERVED: [&str; 3] = ["studies", "series", "instances"];

impl ArchiveId {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self, ArchiveIdError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(legal) && !RESERVED.contains(&text) {
            Ok(Self(text.into()))
        } else {
            Err(ArchiveIdError)
        }
    }

    /// The id's text.
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
    fn an_id_fits_a_path_segment() {
        for good in ["main", "pacs-2", "0"] {
            assert!(ArchiveId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "Main", "a b", "a/b", "a.b", "ä", "studies", "series", "instances", &"a".repeat(33)]
        {
            assert_eq!(ArchiveId::parse(bad), Err(ArchiveIdError), "{bad}");
        }
    }
}
