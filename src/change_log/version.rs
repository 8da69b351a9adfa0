//! Versions (R4 resource.html#Meta): what a content is called, and since when it is so.

use std::fmt;

use jiff::Timestamp;
use memchr::memmem;

use super::ContentDigest;
use crate::fingerprint::{Fingerprint, short_hash};

/// A version's name: 96 bits of a hash of the content, in hexadecimal digits, which are a legal FHIR id. It changes whenever
/// the content does, and is the same on every gateway that sees the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionId([u8; 12]);

impl VersionId {
    /// Of a resource whose whole content is at hand, without its version.
    pub fn of_content(json: &[u8]) -> Self {
        Self(short_hash([json]))
    }

    /// Of a resource of which rows tell and whose content may have been looked at. A content that has not been is named by
    /// its rows alone, so the name changes once when it is.
    pub(super) fn of(fingerprint: Fingerprint, content: Option<ContentDigest>) -> Self {
        let content = content.as_ref().map_or(&[][..], |content| &content.0);
        Self(short_hash([&fingerprint.bytes()[..], content]))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One content of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// What it is called.
    pub id: VersionId,
    /// When it was first seen, to the millisecond.
    pub last_updated: Timestamp,
    /// Whether the version before it was first seen in the same second, so that a date of HTTP cannot tell the two apart.
    pub shares_second: bool,
}

impl Version {
    /// Stands in a resource whose version is not known yet, as long as any other.
    pub const UNKNOWN: Self =
        Self { id: VersionId([0; 12]), last_updated: Timestamp::UNIX_EPOCH, shares_second: false };

    /// The time that may go into HTTP's dates.
    pub fn date(&self) -> Option<Timestamp> {
        (!self.shares_second).then_some(self.last_updated)
    }

    /// [`last_updated`](Self::last_updated) as an R4 instant.
    pub fn instant(&self) -> String {
        format!("{:.3}", self.last_updated)
    }

    /// `json`, into which `old` was written, with this version in its place.
    pub fn stamp_over(&self, old: &Self, mut json: Vec<u8>) -> Option<Vec<u8>> {
        let written = old.members();
        let place = memmem::find(&json, written.as_bytes())?;
        drop(json.splice(place..place + written.len(), self.members().into_bytes()));
        Some(json)
    }

    fn members(&self) -> String {
        format!("\"versionId\":\"{}\",\"lastUpdated\":\"{}\"", self.id, self.instant())
    }
}

/// A time of the log, in milliseconds, as a moment. The clock gave it, so there is one.
pub(super) fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(content: &[u8], milliseconds: i64) -> Version {
        Version {
            id: VersionId::of_content(content),
            last_updated: timestamp(milliseconds),
            shares_second: false,
        }
    }

    #[test]
    fn a_version_replaces_another_in_the_bytes() {
        let json = |version: Version| {
            let (id, instant) = (version.id, version.instant());
            format!(
                r#"{{"id":"1.2","meta":{{"versionId":"{id}","lastUpdated":"{instant}","profile":["p"]}}}}"#
            )
        };
        let (one, other) = (version(b"one", 0), version(b"other", 1_700_000_000_123));
        assert_eq!(one.instant(), "1970-01-01T00:00:00.000Z");
        assert_eq!(other.instant(), "2023-11-14T22:13:20.123Z");
        for (old, new) in [(Version::UNKNOWN, one), (one, other)] {
            let replaced = new.stamp_over(&old, json(old).into_bytes()).unwrap();
            assert_eq!(String::from_utf8(replaced).unwrap(), json(new));
        }
        assert_eq!(one.stamp_over(&other, json(one).into_bytes()), None);
    }

    #[test]
    fn a_name_is_a_legal_id_and_changes_with_rows_and_content() {
        let name = |rows: u8, content: Option<&[u8]>| {
            VersionId::of(Fingerprint::of_bytes([rows; 16]), content.map(ContentDigest::of)).to_string()
        };
        assert_eq!(name(1, Some(b"a")), name(1, Some(b"a")));
        let names =
            [name(1, None), name(2, None), name(1, Some(b"a")), name(1, Some(b"b")), name(2, Some(b"a"))];
        for (index, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 24);
            assert!(!names[..index].contains(name));
        }
    }
}
