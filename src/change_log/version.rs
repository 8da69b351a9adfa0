//! Versions (R4 resource#Meta): an id for each content of a resource, and the time at which that content was first seen,
//! which `last_updated` determines.

use std::fmt;

use jiff::Timestamp;
use memchr::memmem;

use super::ContentDigest;
use crate::fingerprint::{Fingerprint, short_hash};

/// A version id: 96 bits of a hash of the content, in hexadecimal digits, which are a valid FHIR id. It changes whenever the
/// content changes, and is the same in every gateway for the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionId([u8; 12]);

impl VersionId {
    /// Computes the id of a resource from its complete JSON without `meta.versionId` and `meta.lastUpdated`.
    pub fn of_content(json: &[u8]) -> Self {
        Self(short_hash([json]))
    }

    /// Computes the id of a resource from the fingerprint of its rows and the digest of its content. If the content has not been
    /// fetched yet, only the rows determine the id, so the id changes when the content
    /// is fetched for the first time.
    pub(super) fn from_content(fingerprint: Fingerprint, content: Option<ContentDigest>) -> Self {
        let content = content.as_ref().map_or(&[][..], |content| &content.0);
        Self(short_hash([&fingerprint.bytes()[..], content]))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// One version of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// The version id.
    pub id: VersionId,
    /// The time at which the content was first seen, in milliseconds.
    pub last_updated: Timestamp,
    /// Whether the previous version was first seen in the same second, so an HTTP date cannot distinguish the two versions.
    pub shares_second: bool,
}

impl Version {
    /// A placeholder for a version that is not known yet, whose JSON has the same length as that of any other version.
    pub const UNKNOWN: Self =
        Self { id: VersionId([0; 12]), last_updated: Timestamp::UNIX_EPOCH, shares_second: false };

    /// Whether a resource made at version `earlier` still has the content of this version. If the content was first fetched in
    /// between, the ids differ, but not the times.
    pub fn has_content_of(&self, earlier: &Self) -> bool {
        self.id == earlier.id || self.last_updated == earlier.last_updated
    }

    /// Returns the same content with the later of both times.
    #[must_use]
    pub fn not_before(self, other: &Self) -> Self {
        if other.last_updated <= self.last_updated { self } else { Self { id: self.id, ..*other } }
    }

    /// Returns the time for HTTP dates; `None` if an HTTP date cannot distinguish this version from the previous one.
    pub fn date(&self) -> Option<Timestamp> {
        (!self.shares_second).then_some(self.last_updated)
    }

    /// Returns [`last_updated`](Self::last_updated) as an R4 instant.
    pub fn instant(&self) -> String {
        format!("{:.3}", self.last_updated)
    }

    /// Replaces the version `old` in `json` by this version; `None` if `json` does not contain `old`.
    pub fn replace_in(&self, old: &Self, mut json: Vec<u8>) -> Option<Vec<u8>> {
        let members = old.members();
        let start = memmem::find(&json, members.as_bytes())?;
        drop(json.splice(start..start + members.len(), self.members().into_bytes()));
        Some(json)
    }

    fn members(&self) -> String {
        format!("\"versionId\":\"{}\",\"lastUpdated\":\"{}\"", self.id, self.instant())
    }
}

/// Converts a time of the log, in milliseconds, to a timestamp. The time is from the clock, so it is in range.
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
    fn a_version_replaces_another_one_in_the_json() {
        let json = |version: Version| {
            let (id, instant) = (version.id, version.instant());
            format!(
                r#"{{"id":"1.2","meta":{{"versionId":"{id}","lastUpdated":"{instant}","profile":["p"]}}}}"#
            )
        };
        let (first, second) = (version(b"first", 0), version(b"second", 1_700_000_000_123));
        assert_eq!(first.instant(), "1970-01-01T00:00:00.000Z");
        assert_eq!(second.instant(), "2023-11-14T22:13:20.123Z");
        for (old, new) in [(Version::UNKNOWN, first), (first, second)] {
            let replaced = new.replace_in(&old, json(old).into_bytes()).unwrap();
            assert_eq!(String::from_utf8(replaced).unwrap(), json(new));
        }
        assert_eq!(first.replace_in(&second, json(first).into_bytes()), None);
    }

    #[test]
    fn an_id_is_valid_and_changes_with_rows_and_content() {
        let id = |rows: u8, content: Option<&[u8]>| {
            VersionId::from_content(
                Fingerprint::from_bytes([rows; 16]),
                content.map(ContentDigest::from_json),
            )
            .to_string()
        };
        assert_eq!(id(1, Some(b"a")), id(1, Some(b"a")));
        let ids = [id(1, None), id(2, None), id(1, Some(b"a")), id(1, Some(b"b")), id(2, Some(b"a"))];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id.len(), 24);
            assert!(!ids[..index].contains(id));
        }
    }
}
