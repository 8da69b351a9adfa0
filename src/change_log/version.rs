//! Versions (R4 resource.html#Meta): an id for each content of a resource, and the time since when it has that content, which
//! `last_updated` decides.

use std::fmt;

use jiff::Timestamp;
use memchr::memmem;

use super::ContentDigest;
use crate::fingerprint::{Fingerprint, short_hash};

/// A version id: 96 bits of a hash of the content, in hexadecimal digits, which are a valid FHIR id. It changes whenever the
/// content does, and is the same on every gateway that sees the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionId([u8; 12]);

impl VersionId {
    /// The id of a resource whose complete content is known, without its version.
    pub fn of_content(json: &[u8]) -> Self {
        Self(short_hash([json]))
    }

    /// The id of a resource that is described by rows and whose content may have been fetched. Content that was not fetched is
    /// identified by its rows alone, so the id changes once when it is fetched.
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
    /// The version id.
    pub id: VersionId,
    /// When the content was first seen, with millisecond precision.
    pub last_updated: Timestamp,
    /// Whether the previous version was first seen in the same second, so that an HTTP date cannot distinguish the two.
    pub shares_second: bool,
}

impl Version {
    /// A placeholder for a version that is not yet known, of the same length as any other.
    pub const UNKNOWN: Self =
        Self { id: VersionId([0; 12]), last_updated: Timestamp::UNIX_EPOCH, shares_second: false };

    /// The time for HTTP dates; `None` if it cannot distinguish versions.
    pub fn date(&self) -> Option<Timestamp> {
        (!self.shares_second).then_some(self.last_updated)
    }

    /// [`last_updated`](Self::last_updated) as an R4 instant.
    pub fn instant(&self) -> String {
        format!("{:.3}", self.last_updated)
    }

    /// `json` with the version `old` replaced by this one.
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

/// A time of the log, in milliseconds, as a timestamp. It came from the clock, so it is in range.
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
    fn an_id_is_valid_and_changes_with_rows_and_content() {
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
