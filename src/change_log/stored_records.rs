//! The records in the store, with an index by time for the eviction of the oldest records. Times are milliseconds since
//! 1970-01-01T00:00:00Z.
//!
//! The latest assigned time is in the store, and is read and written in the transaction that assigns times. So times never
//! decrease, whichever gateway that uses the store assigns them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::last_updated::{LENGTH, Record};
use super::{Observation, ResourceKey};
use crate::clock::Clock;
use crate::store::{Durability, Entry, Store, StoreError, StoreKind, StoreTable, Transaction};

/// The records, by the key of the resource.
pub(super) const RECORDS: StoreTable = StoreTable::new("change_log_record");
/// The index of the records: empty values, by time and resource.
const BY_TIME: StoreTable = StoreTable::new("change_log_by_time");
/// Facts about the whole log, by name.
const FACTS: StoreTable = StoreTable::new("change_log_fact");
/// The latest assigned time, and whether it is exclusive.
const LATEST: &[u8] = b"latest";
/// The number of records.
const RECORD_COUNT: &[u8] = b"record_count";
/// 1 while a process has the store open, and after a crash.
const IS_OPEN: &[u8] = b"is_open";
/// The latest time before the last crash.
const DOUBTFUL_UNTIL: &[u8] = b"doubtful";

/// The latest assigned time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LatestTime {
    /// The time, which does not decrease if a clock is set back.
    pub(super) time: i64,
    /// Whether [`Records::now`] has returned it to only one caller, later than all earlier times. The observations of this caller
    /// are at least as recent as those of callers with an earlier time.
    is_exclusive: bool,
}

impl LatestTime {
    fn from_bytes(bytes: Option<&[u8]>) -> Result<Self, StoreError> {
        let Some(bytes) = bytes else { return Ok(Self::default()) };
        match bytes.split_first_chunk() {
            Some((time, [flag])) => Ok(Self { time: i64::from_be_bytes(*time), is_exclusive: *flag == 1 }),
            _ => Err(StoreError::Malformed("a malformed time")),
        }
    }

    fn to_entry(self) -> Entry {
        (LATEST.to_vec(), [&self.time.to_be_bytes()[..], &[u8::from(self.is_exclusive)]].concat())
    }

    /// Returns `time` if only its caller has received it, and no later time was assigned since.
    fn exclusive(self, time: Option<i64>) -> Option<i64> {
        time.filter(|time| self.is_exclusive && self.time == *time)
    }
}

/// The records of all resources.
#[derive(Debug)]
pub(super) struct Records {
    store: Arc<dyn Store>,
    max_count: u64,
    /// The latest time before the last crash. For records up to this time, later observations may have been lost.
    doubtful_until: i64,
}

impl Records {
    /// Opens the records in `store`, of which there are at most `max_count`, and starts a session. Returns the latest assigned
    /// time, which is not earlier than `now`.
    pub(super) async fn open(
        store: Arc<dyn Store>,
        max_count: u64,
        now: i64,
    ) -> Result<(Self, LatestTime), StoreError> {
        let mut transaction = store.begin(Durability::Immediate).await?;
        let names = [LATEST, IS_OPEN, DOUBTFUL_UNTIL].map(<[u8]>::to_vec);
        let facts = transaction.get_many(FACTS, &names).await?;
        let mut facts = facts.iter().map(Option::as_deref);
        let mut next = || facts.next().flatten();
        let latest = LatestTime::from_bytes(next())?;
        let (is_open, doubtful_until) = (to_number(next())? == Some(1), to_number(next())?);
        let mut doubtful_until = doubtful_until.unwrap_or(i64::MIN);
        let latest = LatestTime { time: latest.time.max(now), is_exclusive: false };
        if is_open && store.kind() == StoreKind::File {
            doubtful_until = latest.time;
        }
        // The latest time is written at once, because the clock may be set back before the next write.
        let mut entries = vec![latest.to_entry()];
        if store.kind() != StoreKind::Shared {
            // A shared store loses nothing in a crash, and other gateways use it at the same time.
            entries.extend([number_entry(IS_OPEN, 1), number_entry(DOUBTFUL_UNTIL, doubtful_until)]);
        }
        transaction.put_many(FACTS, &entries).await?;
        transaction.commit().await?;
        Ok((Self { store, max_count, doubtful_until }, latest))
    }

    /// Makes all writes durable, and marks the records as complete.
    pub(super) async fn end_session(&self) -> Result<(), StoreError> {
        if self.store.kind() == StoreKind::Shared {
            return Ok(());
        }
        let mut transaction = self.store.begin(Durability::Immediate).await?;
        transaction.put_many(FACTS, &[number_entry(IS_OPEN, 0)]).await?;
        transaction.commit().await
    }

    /// Returns the records of the observed resources, or `None` if one of the observations changes a record.
    pub(super) async fn find_unchanged(
        &self,
        observations: &[Observation],
    ) -> Result<Option<Vec<Record>>, StoreError> {
        let stored = self.store.get_many(RECORDS, &keys(observations)).await?;
        let mut known = Vec::with_capacity(observations.len());
        for (observation, stored) in observations.iter().zip(stored) {
            let Some(record) = to_record(stored.as_deref())? else { return Ok(None) };
            if Record::update(Some(record), observation, i64::MAX, self.doubtful_until) != record {
                return Ok(None);
            }
            known.push(record);
        }
        Ok(Some(known))
    }

    /// Writes the observations at the current time, and evicts the oldest records. Changes get the time `requested_at` if it is
    /// exclusive; a resource that already has this time gets a later one.
    pub(super) async fn add(
        &self,
        observations: &[Observation],
        requested_at: Option<i64>,
        clock: &dyn Clock,
    ) -> Result<Vec<Record>, StoreError> {
        let mut transaction = self.store.begin(Durability::Eventual).await?;
        // The clock is read when no other transaction can assign times.
        let now = clock.now().as_millisecond();
        let facts = transaction.get_many(FACTS, &[LATEST.to_vec(), RECORD_COUNT.to_vec()]).await?;
        let latest = LatestTime::from_bytes(facts.first().and_then(Option::as_deref))?;
        let count = to_number(facts.get(1).and_then(Option::as_deref))?.unwrap_or(0);
        let stored = transaction.get_many(RECORDS, &keys(observations)).await?;
        let mut changes = Changes::default();
        for (observation, stored) in observations.iter().zip(stored) {
            changes.stored.insert(observation.resource, to_record(stored.as_deref())?);
        }
        changes.current = changes.stored.clone();
        let updated = changes.add(observations, latest, now, requested_at, self.doubtful_until);
        if changes.is_empty() {
            return Ok(updated);
        }
        transaction.remove_many(BY_TIME, &changes.outdated_times()).await?;
        transaction.put_many(RECORDS, &changes.records()).await?;
        transaction.put_many(BY_TIME, &changes.times()).await?;
        let mut count = count.cast_unsigned().saturating_add(changes.added_count());
        let excess = usize::try_from(count.saturating_sub(self.max_count)).unwrap_or(usize::MAX);
        if excess > 0 {
            let oldest = transaction.scan(BY_TIME, &[], excess).await?;
            let times: Vec<_> = oldest.into_iter().map(|(key, _)| key).collect();
            let resources: Vec<_> =
                times.iter().map(|key| key.get(TIME_LENGTH..).unwrap_or_default().to_vec()).collect();
            transaction.remove_many(RECORDS, &resources).await?;
            transaction.remove_many(BY_TIME, &times).await?;
            count = count.saturating_sub(times.len() as u64);
        }
        let time = changes.latest_time().max(latest.time);
        let is_exclusive = latest.is_exclusive && time == latest.time;
        let facts =
            [LatestTime { time, is_exclusive }.to_entry(), number_entry(RECORD_COUNT, count.cast_signed())];
        transaction.put_many(FACTS, &facts).await?;
        transaction.commit().await?;
        Ok(updated)
    }

    /// Returns the current time, or the latest assigned time if it is later, and makes it the latest assigned time.
    pub(super) async fn now(&self, clock: &dyn Clock) -> Result<i64, StoreError> {
        let mut transaction = self.store.begin(Durability::Eventual).await?;
        let latest = Self::latest_time(&mut *transaction).await?;
        let now = clock.now().as_millisecond();
        let latest = LatestTime { time: now.max(latest.time), is_exclusive: now > latest.time };
        transaction.put_many(FACTS, &[latest.to_entry()]).await?;
        transaction.commit().await?;
        Ok(latest.time)
    }

    /// Returns the latest assigned time.
    pub(super) async fn latest_time(transaction: &mut dyn Transaction) -> Result<LatestTime, StoreError> {
        let facts = transaction.get_many(FACTS, &[LATEST.to_vec()]).await?;
        LatestTime::from_bytes(facts.first().and_then(Option::as_deref))
    }

    /// Records that the resource was deleted; returns false if it was never seen. The record is durable at once: if the log lost
    /// a deletion that was reported to a client, the client would miss the return of the study.
    pub(super) async fn mark_deleted(&self, resource: ResourceKey) -> Result<bool, StoreError> {
        let stored = self.store.get_many(RECORDS, &[resource.0.to_vec()]).await?;
        let Some(known) = to_record(stored.first().and_then(Option::as_deref))? else { return Ok(false) };
        if !known.is_deleted {
            self.mark_all_deleted(&[resource]).await?;
        }
        Ok(true)
    }

    /// Records that the resources were deleted, if they were ever seen.
    pub(super) async fn mark_all_deleted(&self, resources: &[ResourceKey]) -> Result<(), StoreError> {
        let resources: Vec<_> = resources.iter().map(|resource| (*resource, i64::MAX)).collect();
        let mut transaction = self.store.begin(Durability::Immediate).await?;
        Self::write_deleted(&mut *transaction, &resources).await?;
        transaction.commit().await
    }

    /// Marks the records of the resources as deleted, if there are any. The second value of each is the time until which its
    /// content must have been seen first.
    pub(super) async fn write_deleted(
        transaction: &mut dyn Transaction,
        resources: &[(ResourceKey, i64)],
    ) -> Result<(), StoreError> {
        let keys: Vec<_> = resources.iter().map(|(resource, _)| resource.0.to_vec()).collect();
        let stored = transaction.get_many(RECORDS, &keys).await?;
        let mut entries = Vec::new();
        for ((resource, seen_until), stored) in resources.iter().zip(stored) {
            match to_record(stored.as_deref())? {
                Some(known) if !known.is_deleted && known.first_seen_at <= *seen_until => {
                    entries.push((resource.0.to_vec(), known.into_deleted().to_bytes().to_vec()));
                }
                _ => {}
            }
        }
        transaction.put_many(RECORDS, &entries).await
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Makes all writes so far durable.
    pub(super) async fn make_durable(&self) -> Result<(), StoreError> {
        self.store.make_durable().await
    }
}

/// The records of the observed resources: as they are stored, and after the observations.
#[derive(Debug, Default)]
struct Changes {
    stored: BTreeMap<ResourceKey, Option<Record>>,
    current: BTreeMap<ResourceKey, Option<Record>>,
}

impl Changes {
    /// Adds the observations at `now`, and returns the record of each.
    fn add(
        &mut self,
        observations: &[Observation],
        latest: LatestTime,
        now: i64,
        requested_at: Option<i64>,
        doubtful_until: i64,
    ) -> Vec<Record> {
        let exclusive = latest.exclusive(requested_at);
        let next_time = now.max(latest.time.saturating_add(1));
        let add_one = |observation: &Observation| {
            let known = self.current.get(&observation.resource).copied().flatten();
            let is_later = |time: &i64| known.is_none_or(|known| known.first_seen_at < *time);
            let now = exclusive.filter(is_later).unwrap_or(next_time);
            let record = Record::update(known, observation, now, doubtful_until);
            self.current.insert(observation.resource, Some(record));
            record
        };
        observations.iter().map(add_one).collect()
    }

    /// Returns the key, the stored record and the new record of each resource whose record differs.
    fn differing(&self) -> impl Iterator<Item = (ResourceKey, Option<Record>, Record)> {
        self.current.iter().filter_map(|(resource, current)| {
            let stored = self.stored.get(resource).copied().flatten();
            (stored != *current).then_some((*resource, stored, (*current)?))
        })
    }

    fn is_empty(&self) -> bool {
        self.differing().next().is_none()
    }

    fn records(&self) -> Vec<Entry> {
        self.differing().map(|(resource, _, new)| (resource.0.to_vec(), new.to_bytes().to_vec())).collect()
    }

    fn times(&self) -> Vec<Entry> {
        let times = self
            .differing()
            .filter(|(_, stored, new)| stored.is_none_or(|stored| stored.first_seen_at != new.first_seen_at));
        times.map(|(resource, _, new)| (time_key(new.first_seen_at, resource).to_vec(), Vec::new())).collect()
    }

    fn outdated_times(&self) -> Vec<Vec<u8>> {
        let times = self.differing().filter_map(|(resource, stored, new)| {
            let stored = stored.filter(|stored| stored.first_seen_at != new.first_seen_at)?;
            Some(time_key(stored.first_seen_at, resource).to_vec())
        });
        times.collect()
    }

    fn added_count(&self) -> u64 {
        self.differing().filter(|(_, stored, _)| stored.is_none()).count() as u64
    }

    fn latest_time(&self) -> i64 {
        self.differing().map(|(.., new)| new.first_seen_at).max().unwrap_or(i64::MIN)
    }
}

/// Returns the key of each observed resource.
fn keys(observations: &[Observation]) -> Vec<Vec<u8>> {
    observations.iter().map(|observation| observation.resource.0.to_vec()).collect()
}

fn to_record(bytes: Option<&[u8]>) -> Result<Option<Record>, StoreError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let bytes: &[u8; LENGTH] = bytes.try_into().map_err(|_| StoreError::Malformed("a malformed record"))?;
    Ok(Some(Record::from_bytes(bytes)))
}

pub(super) fn to_number(bytes: Option<&[u8]>) -> Result<Option<i64>, StoreError> {
    let Some(bytes) = bytes else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| StoreError::Malformed("a malformed number"))?;
    Ok(Some(i64::from_be_bytes(bytes)))
}

pub(super) fn number_entry(name: &[u8], number: i64) -> Entry {
    (name.to_vec(), number.to_be_bytes().to_vec())
}

/// The length of the time in a key of [`time_key`], in bytes.
pub(super) const TIME_LENGTH: usize = 8;

/// Returns a key that sorts by time. The sign bit is inverted, because bytes are compared as unsigned numbers.
pub(super) fn time_key(time: i64, resource: ResourceKey) -> [u8; TIME_LENGTH + 16] {
    let mut key = [0; TIME_LENGTH + 16];
    let ordered = time.cast_unsigned() ^ (1 << 63);
    let bytes = ordered.to_be_bytes().into_iter().chain(resource.0);
    key.iter_mut().zip(bytes).for_each(|(byte, field)| *byte = field);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_keys_have_the_order_of_the_times() {
        let times = [i64::MIN, -1_000, -1, 0, 1, 255, 256, i64::MAX];
        let keys: Vec<_> = times.iter().map(|time| time_key(*time, ResourceKey([7; 16]))).collect();
        assert!(keys.is_sorted());
    }
}
