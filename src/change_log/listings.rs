//! The lists of searches for changes. For a client of such a list, a study that is missing from it does not exist, so its
//! appearance in a later list is a change, even if the study was first seen by another search before the first list.
//!
//! For each search by `_lastUpdated` the store contains the hashes of the studies in the latest list. Only lists of all matches
//! are stored. If there is no earlier list of a search, every study that the client's time excludes may be new to the client.

use std::collections::BTreeSet;

use super::ResourceKey;
use super::stored_records::{Records, TIME_LENGTH, number_entry, time_key, to_number};
use crate::clock::Clock;
use crate::fingerprint::short_hash;
use crate::store::{Durability, StoreError, StoreTable, Transaction};

/// The studies of each list: sorted hashes, without separators.
const LISTINGS: StoreTable = StoreTable::new("change_log_listing");
/// The index of the lists: empty values, by time and list.
const LISTINGS_BY_TIME: StoreTable = StoreTable::new("change_log_listing_by_time");
/// The time of each list, and the number of studies in all lists together.
const LISTING_FACTS: StoreTable = StoreTable::new("change_log_listing_fact");
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
    /// Replaces the list of `listing` by `studies` at the current time, and marks the studies that are missing from it as deleted.
    /// Studies that the previous list did not contain are marked, too, unless they were first seen after it: their next observation
    /// is a change. Without a previous list, the same applies to all studies that were first seen until `changed_since`, the time
    /// of the client.
    pub(super) async fn replace_listing(
        &self,
        listing: ListingKey,
        studies: &BTreeSet<[u8; 16]>,
        changed_since: Option<i64>,
        clock: &dyn Clock,
    ) -> Result<(), StoreError> {
        let bytes: Vec<u8> = studies.iter().flatten().copied().collect();
        let key = listing.0.to_vec();
        let mut transaction = self.store().begin(Durability::Eventual).await?;
        let latest = Self::latest_time(&mut *transaction).await?;
        let now = clock.now().as_millisecond().max(latest.time);
        let previous = transaction.get_many(LISTINGS, std::slice::from_ref(&key)).await?.pop().flatten();
        let facts = transaction.get_many(LISTING_FACTS, &[key.clone(), STUDY_COUNT.to_vec()]).await?;
        let listed_at = to_number(facts.first().and_then(Option::as_deref))?;
        let count = to_number(facts.get(1).and_then(Option::as_deref))?.unwrap_or(0);
        let seen_until = if previous.is_some() { Some(listed_at.unwrap_or(0)) } else { changed_since };
        let absent = missing(previous.as_deref(), studies);
        let has_absent = !absent.is_empty();
        let previous_studies: BTreeSet<_> = studies_of(previous.as_deref()).iter().collect();
        let added = studies.iter().filter(|study| !previous_studies.contains(study));
        let added = added.filter_map(|study| Some((ResourceKey(*study), seen_until?)));
        let absent = absent.into_iter().map(|study| (study, i64::MAX));
        let deleted: Vec<_> = absent.chain(added).collect();
        Self::write_deleted(&mut *transaction, &deleted).await?;

        if let Some(listed_at) = listed_at {
            transaction
                .remove_many(LISTINGS_BY_TIME, &[time_key(listed_at, ResourceKey(listing.0)).to_vec()])
                .await?;
        }
        let time = (time_key(now, ResourceKey(listing.0)).to_vec(), Vec::new());
        transaction.put_many(LISTINGS_BY_TIME, &[time]).await?;
        let count = count + to_i64(studies.len()) - to_i64(previous_studies.len());
        if previous.as_ref() != Some(&bytes) {
            transaction.put_many(LISTINGS, &[(key, bytes)]).await?;
        }
        let mut facts = vec![number_entry(&listing.0, now)];
        let evicted = evict_oldest(&mut *transaction, count).await?;
        facts.retain(|(key, _)| !evicted.listings.contains(key));
        facts.push(number_entry(STUDY_COUNT, evicted.study_count));
        transaction.put_many(LISTING_FACTS, &facts).await?;
        transaction.commit().await?;
        // The return of a study must be reported to a client that has received the shorter list, even after a crash.
        if has_absent { self.make_durable().await } else { Ok(()) }
    }
}

/// The lists that were evicted, and the number of studies in the others.
struct Evicted {
    listings: Vec<Vec<u8>>,
    study_count: i64,
}

/// Evicts the oldest lists while they contain too many studies.
async fn evict_oldest(
    transaction: &mut dyn Transaction,
    mut study_count: i64,
) -> Result<Evicted, StoreError> {
    let mut listings = Vec::new();
    while study_count > to_i64(MAX_LISTED_STUDIES) {
        let Some((oldest, _)) = transaction.scan(LISTINGS_BY_TIME, &[], 1).await?.pop() else { break };
        let listing = oldest.get(TIME_LENGTH..).unwrap_or_default().to_vec();
        let evicted = transaction.get_many(LISTINGS, std::slice::from_ref(&listing)).await?.pop().flatten();
        study_count -= to_i64(studies_of(evicted.as_deref()).len());
        transaction.remove_many(LISTINGS_BY_TIME, &[oldest]).await?;
        transaction.remove_many(LISTINGS, std::slice::from_ref(&listing)).await?;
        transaction.remove_many(LISTING_FACTS, std::slice::from_ref(&listing)).await?;
        listings.push(listing);
    }
    Ok(Evicted { listings, study_count })
}

/// Returns the studies of a stored list.
fn studies_of(listing: Option<&[u8]>) -> &[[u8; 16]] {
    listing.unwrap_or_default().as_chunks::<16>().0
}

/// Returns the studies of the stored list that `studies` does not contain.
fn missing(listing: Option<&[u8]>, studies: &BTreeSet<[u8; 16]>) -> Vec<ResourceKey> {
    studies_of(listing)
        .iter()
        .filter(|study| !studies.contains(*study))
        .map(|study| ResourceKey(*study))
        .collect()
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
