//! The lists of searches for changes. For a client of such a list, a study that is missing from it does not exist, so its
//! appearance in a later list is a change, even if the study was first seen by another search before the first list.
//!
//! For each search by `_lastUpdated` the store contains the hashes of the studies in the latest list. Only lists of all matches
//! are stored. If there is no earlier list of a search, every study that the client's time excludes may be new to the client.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::ResourceKey;
use super::stored_records::{Records, TIME_LENGTH, time_key};
use crate::fingerprint::short_hash;
use crate::store::{Durability, StoreError, StoreTable};

/// The studies of each list: sorted hashes, without separators.
const LISTINGS: StoreTable = StoreTable::new("change_log.listings.1");
/// The index of the lists: empty values, by time and list.
const LISTINGS_BY_TIME: StoreTable = StoreTable::new("change_log.listings_by_time.1");
/// The time of each list, and the number of studies in all lists together.
const LISTING_FACTS: StoreTable = StoreTable::new("change_log.listing_facts.1");
const STUDY_COUNT: &[u8] = b"study_count";

/// Maximum number of studies in all lists together, which take 16 MB. The list that has not been requested for the longest time is
/// evicted first; the next search for changes by the same criteria returns all of its matches.
const MAX_LISTED_STUDIES: usize = 1_000_000;

/// The key of a list: a hash of the criteria of the search without `_lastUpdated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListingKey([u8; 16]);

impl ListingKey {
    /// Computes the key of the search with these criteria, independently of their order.
    pub fn from_criteria(mut criteria: Vec<String>) -> Self {
        criteria.sort_unstable();
        Self(short_hash(criteria.iter().flat_map(|criterion| [criterion.as_bytes(), b"\0"])))
    }
}

impl Records {
    /// Replaces the list of `listing` by `studies` at `now`, and marks the studies that are missing from it as deleted. Studies
    /// that the previous list did not contain are marked, too, unless they were first seen after it: their next observation is a
    /// change. Without a previous list, the same applies to all studies that were first seen until `changed_since`, the time of the
    /// client.
    pub(super) fn replace_listing(
        &self,
        listing: ListingKey,
        studies: &BTreeSet<[u8; 16]>,
        changed_since: Option<i64>,
        now: i64,
    ) -> Result<(), StoreError> {
        let to_number = |bytes: Option<Vec<u8>>| {
            let bytes = bytes.as_deref().and_then(|bytes| bytes.first_chunk::<8>());
            bytes.map_or(0, |bytes| i64::from_be_bytes(*bytes))
        };
        let read = self.store().read()?;
        let previous = read.table(LISTINGS)?.get(&listing.0)?;
        let seen_until = match &previous {
            Some(_) => Some(to_number(read.table(LISTING_FACTS)?.get(&listing.0)?)),
            None => changed_since,
        };
        drop(read);
        let bytes: Vec<u8> = studies.iter().flatten().copied().collect();
        let previous = previous.unwrap_or_default();
        let (previous_studies, _) = previous.as_chunks::<16>();
        let absent: Vec<_> = previous_studies
            .iter()
            .filter(|key| !studies.contains(*key))
            .map(|key| ResourceKey(*key))
            .collect();
        let previous_keys: BTreeSet<_> = previous_studies.iter().collect();
        let added = studies.iter().filter(|key| !previous_keys.contains(key)).map(|key| ResourceKey(*key));
        // The return of a study must be reported to a client that has received the shorter list, even after a crash.
        let durability = if absent.is_empty() { Durability::Eventual } else { Durability::Immediate };
        let write = self.store().write(durability)?;
        {
            let mut records = write.table(super::stored_records::RECORDS)?;
            for resource in absent {
                Self::write_deleted(&mut *records, resource, i64::MAX)?;
            }
            if let Some(seen_until) = seen_until {
                for resource in added {
                    Self::write_deleted(&mut *records, resource, seen_until)?;
                }
            }
            let mut listings = write.table(LISTINGS)?;
            let mut by_time = write.table(LISTINGS_BY_TIME)?;
            let mut facts = write.table(LISTING_FACTS)?;
            let mut count =
                to_number(facts.get(STUDY_COUNT)?) + to_i64(studies.len()) - to_i64(previous_studies.len());
            by_time.remove(&time_key(to_number(facts.get(&listing.0)?), ResourceKey(listing.0)))?;
            by_time.put(&time_key(now, ResourceKey(listing.0)), &[])?;
            facts.put(&listing.0, &now.to_be_bytes())?;
            listings.put(&listing.0, &bytes)?;
            while count > to_i64(MAX_LISTED_STUDIES) {
                let mut oldest = None;
                by_time.scan(&[], &mut |key, _| {
                    oldest = Some(key.to_vec());
                    ControlFlow::Break(())
                })?;
                let Some(oldest) = oldest else { break };
                let evicted = &oldest[TIME_LENGTH..];
                count -= to_i64(listings.get(evicted)?.map_or(0, |studies| studies.len() / 16));
                by_time.remove(&oldest)?;
                listings.remove(evicted)?;
                facts.remove(evicted)?;
            }
            facts.put(STUDY_COUNT, &count.to_be_bytes())?;
        }
        write.commit()
    }
}

fn to_i64(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_listing_does_not_depend_on_the_order_of_its_criteria() {
        let key = |criteria: &[&str]| {
            ListingKey::from_criteria(criteria.iter().map(|text| (*text).to_owned()).collect())
        };
        assert_eq!(key(&["a", "b"]), key(&["b", "a"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        assert_ne!(key(&["a"]), key(&[]));
    }
}
