//! The record of one resource, and how an observation changes it. It determines `meta.lastUpdated` (R4 resource#Meta).
//! Times are milliseconds since 1970-01-01T00:00:00Z.

use super::version::{Version, VersionId, timestamp};
use super::{ContentDigest, Observation};
use crate::fingerprint::Fingerprint;

/// The length of a record in bytes.
pub(super) const LENGTH: usize = 41;

// The flags of a record.
const IS_DELETED: u8 = 1;
const HAS_CONTENT: u8 = 2;
const SHARES_SECOND: u8 = 4;

/// The record of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    fingerprint: Fingerprint,
    content: Option<ContentDigest>,
    /// The time at which the current content was first seen, in milliseconds.
    pub(super) first_seen_at: i64,
    pub(super) is_deleted: bool,
    /// Whether the previous content was first seen in the same second.
    shares_second: bool,
}

impl Record {
    /// Creates the record of a resource that was first seen at `now`.
    pub(super) fn new(observation: &Observation, now: i64) -> Self {
        Self {
            fingerprint: observation.fingerprint,
            content: observation.content,
            first_seen_at: now,
            is_deleted: false,
            shares_second: false,
        }
    }

    /// Returns the record after `observation` at `now`, which is later than every time so far. A crash may have lost changes of a
    /// record whose time is not later than `doubtful_until`, so the content of such a record counts as first seen at `now`.
    pub(super) fn update(
        known: Option<Self>,
        observation: &Observation,
        now: i64,
        doubtful_until: i64,
    ) -> Self {
        let Some(known) = known else { return Self::new(observation, now) };
        let shares_second = second(now) == second(known.first_seen_at);
        let changed = Self { shares_second, ..Self::new(observation, now) };
        if known.is_deleted
            || known.first_seen_at <= doubtful_until
            || known.fingerprint != observation.fingerprint
        {
            return changed;
        }
        match (known.content, observation.content) {
            (Some(known), Some(observed)) if known != observed => changed,
            // The content is the same; its digest may have been unknown before.
            (content, observed) => Self { content: content.or(observed), ..known },
        }
    }

    pub(super) fn into_deleted(self) -> Self {
        Self { is_deleted: true, ..self }
    }

    pub(super) fn version(&self) -> Version {
        Version {
            id: VersionId::from_content(self.fingerprint, self.content),
            last_updated: timestamp(self.first_seen_at),
            shares_second: self.shares_second,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let content = self.content.map_or([0; 16], |content| content.0);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.is_deleted, IS_DELETED)
            | flag(self.content.is_some(), HAS_CONTENT)
            | flag(self.shares_second, SHARES_SECOND);
        let fields = self.first_seen_at.to_be_bytes().into_iter().chain([flags]);
        let fields = fields.chain(self.fingerprint.bytes()).chain(content);
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; LENGTH]) -> Self {
        let [first_seen_at @ .., _] = bytes.first_chunk::<9>().copied().unwrap_or_default();
        let flags = bytes[8];
        let hash = |offset: usize| bytes[offset..].first_chunk::<16>().copied().unwrap_or_default();
        Self {
            fingerprint: Fingerprint::from_bytes(hash(9)),
            content: (flags & HAS_CONTENT != 0).then(|| ContentDigest(hash(25))),
            first_seen_at: i64::from_be_bytes(first_seen_at),
            is_deleted: flags & IS_DELETED != 0,
            shares_second: flags & SHARES_SECOND != 0,
        }
    }
}

/// Rounds a time up to a second, as in HTTP dates.
fn second(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(999).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change_log::ResourceKey;
    use proptest::prelude::*;

    fn observation(rows: u8, content: Option<u8>) -> Observation {
        Observation {
            resource: ResourceKey([0; 16]),
            fingerprint: Fingerprint::from_bytes([rows; 16]),
            content: content.map(|content| ContentDigest([content; 16])),
        }
    }

    #[test]
    fn fetching_the_content_of_known_rows_is_not_a_change() {
        let first = Record::new(&observation(1, None), 10);
        let with_content = Record::update(Some(first), &observation(1, Some(7)), 5_000, 0);
        assert_eq!(with_content.first_seen_at, 10);
        assert_ne!(with_content.version().id, first.version().id);
        assert_eq!(Record::update(Some(with_content), &observation(1, None), 5_000, 0), with_content);
        assert_eq!(Record::update(Some(with_content), &observation(1, Some(7)), 5_000, 0), with_content);
    }

    #[test]
    fn a_record_from_before_a_crash_counts_as_just_seen() {
        let known = Record::new(&observation(1, Some(7)), 10);
        assert_eq!(
            Record::update(Some(known), &observation(1, Some(7)), 5_000, 10),
            Record { first_seen_at: 5_000, ..known }
        );
        assert_eq!(Record::update(Some(known), &observation(1, Some(7)), 5_000, 9), known);
    }

    #[test]
    fn new_rows_new_content_and_the_return_of_a_deleted_study_are_changes() {
        let known = Record::new(&observation(1, Some(7)), 10);
        for observed in [observation(2, None), observation(2, Some(7)), observation(1, Some(8))] {
            let changed = Record::update(Some(known), &observed, 5_000, 0);
            assert_eq!(changed, Record::new(&observed, 5_000));
        }
        let deleted = known.into_deleted();
        assert_eq!(
            Record::update(Some(deleted), &observation(1, Some(7)), 5_000, 0),
            Record { first_seen_at: 5_000, ..known }
        );
    }

    #[test]
    fn a_version_in_the_same_second_as_the_previous_one_has_no_date() {
        let date = |first, now| {
            let known = Record::new(&observation(1, None), first);
            Record::update(Some(known), &observation(2, None), now, 0).version().date()
        };
        assert_eq!((date(1_001, 1_002), date(1_001, 2_000)), (None, None));
        assert_eq!(
            (date(1_000, 1_001), date(1_999, 2_001)),
            (Some(timestamp(1_001)), Some(timestamp(2_001)))
        );
    }

    proptest! {
        #[test]
        fn a_record_equals_itself_after_writing_and_reading(
            rows: u8,
            content: Option<u8>,
            first_seen_at: i64,
            is_deleted: bool,
            shares_second: bool,
        ) {
            let record = Record { is_deleted, shares_second, ..Record::new(&observation(rows, content), first_seen_at) };
            prop_assert_eq!(Record::from_bytes(&record.to_bytes()), record);
        }
    }
}
