//! The record of one resource, and how a new observation changes it: decides `meta.lastUpdated` (R4 resource.html#Meta).

use super::version::{Version, VersionId, timestamp};
use super::{ContentDigest, Observation};
use crate::fingerprint::Fingerprint;

/// Length of a record in bytes.
pub(super) const LENGTH: usize = 41;

const IS_GONE: u8 = 1;
const HAS_CONTENT: u8 = 2;
const SHARES_SECOND: u8 = 4;

/// The record of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    fingerprint: Fingerprint,
    content: Option<ContentDigest>,
    /// When the present content was first seen, in milliseconds.
    pub(super) since: i64,
    pub(super) is_gone: bool,
    shares_second: bool,
}

impl Record {
    /// The record of a resource that was first seen at `now`.
    pub(super) fn first(observation: &Observation, now: i64) -> Self {
        Self {
            fingerprint: observation.fingerprint,
            content: observation.content,
            since: now,
            is_gone: false,
            shares_second: false,
        }
    }

    /// The record after `observation` at `now`, which is later than every time so far. For records up to the time `doubtful` it
    /// is unknown whether other content was seen since.
    pub(super) fn after(known: Option<Self>, observation: &Observation, now: i64, doubtful: i64) -> Self {
        let Some(known) = known else { return Self::first(observation, now) };
        let shares_second = second(now) == second(known.since);
        let changed = Self { shares_second, ..Self::first(observation, now) };
        if known.is_gone || known.since <= doubtful || known.fingerprint != observation.fingerprint {
            return changed;
        }
        match (known.content, observation.content) {
            (Some(known), Some(seen)) if known != seen => changed,
            // The same content, possibly with a digest that was unknown before.
            (content, seen) => Self { content: content.or(seen), ..known },
        }
    }

    pub(super) fn gone(self) -> Self {
        Self { is_gone: true, ..self }
    }

    pub(super) fn version(&self) -> Version {
        Version {
            id: VersionId::of(self.fingerprint, self.content),
            last_updated: timestamp(self.since),
            shares_second: self.shares_second,
        }
    }

    pub(super) fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let content = self.content.map_or([0; 16], |content| content.0);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(self.is_gone, IS_GONE)
            | flag(self.content.is_some(), HAS_CONTENT)
            | flag(self.shares_second, SHARES_SECOND);
        let fields = self.since.to_be_bytes().into_iter().chain([flags]);
        let fields = fields.chain(self.fingerprint.bytes()).chain(content);
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    pub(super) fn of_bytes(bytes: &[u8; LENGTH]) -> Self {
        let [since @ .., _] = bytes.first_chunk::<9>().copied().unwrap_or_default();
        let flags = bytes[8];
        let sixteen = |at: usize| bytes[at..].first_chunk::<16>().copied().unwrap_or_default();
        Self {
            fingerprint: Fingerprint::of_bytes(sixteen(9)),
            content: (flags & HAS_CONTENT != 0).then(|| ContentDigest(sixteen(25))),
            since: i64::from_be_bytes(since),
            is_gone: flags & IS_GONE != 0,
            shares_second: flags & SHARES_SECOND != 0,
        }
    }
}

/// The second to which an HTTP date rounds a time up.
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
            fingerprint: Fingerprint::of_bytes([rows; 16]),
            content: content.map(|content| ContentDigest([content; 16])),
        }
    }

    #[test]
    fn learning_the_content_of_known_rows_is_not_a_change() {
        let first = Record::first(&observation(1, None), 10);
        let more = Record::after(Some(first), &observation(1, Some(7)), 5_000, 0);
        assert_eq!(more.since, 10);
        assert_ne!(more.version().id, first.version().id);
        assert_eq!(Record::after(Some(more), &observation(1, None), 5_000, 0), more);
        assert_eq!(Record::after(Some(more), &observation(1, Some(7)), 5_000, 0), more);
    }

    #[test]
    fn a_record_from_before_a_crash_counts_as_just_seen() {
        let known = Record::first(&observation(1, Some(7)), 10);
        assert_eq!(
            Record::after(Some(known), &observation(1, Some(7)), 5_000, 10),
            Record { since: 5_000, ..known }
        );
        assert_eq!(Record::after(Some(known), &observation(1, Some(7)), 5_000, 9), known);
    }

    #[test]
    fn new_rows_new_content_and_a_return_are_changes() {
        let known = Record::first(&observation(1, Some(7)), 10);
        for seen in [observation(2, None), observation(2, Some(7)), observation(1, Some(8))] {
            let changed = Record::after(Some(known), &seen, 5_000, 0);
            assert_eq!(changed, Record::first(&seen, 5_000));
        }
        let gone = known.gone();
        assert_eq!(
            Record::after(Some(gone), &observation(1, Some(7)), 5_000, 0),
            Record { since: 5_000, ..known }
        );
    }

    #[test]
    fn a_version_shares_its_second_if_the_previous_one_had_the_same() {
        let date = |first, now| {
            let known = Record::first(&observation(1, None), first);
            Record::after(Some(known), &observation(2, None), now, 0).version().date()
        };
        assert_eq!((date(1_001, 1_002), date(1_001, 2_000)), (None, None));
        assert_eq!(
            (date(1_000, 1_001), date(1_999, 2_001)),
            (Some(timestamp(1_001)), Some(timestamp(2_001)))
        );
    }

    proptest! {
        #[test]
        fn a_record_survives_writing_and_reading(
            rows: u8,
            content: Option<u8>,
            since: i64,
            is_gone: bool,
            shares_second: bool,
        ) {
            let record = Record { is_gone, shares_second, ..Record::first(&observation(rows, content), since) };
            prop_assert_eq!(Record::of_bytes(&record.to_bytes()), record);
        }
    }
}
