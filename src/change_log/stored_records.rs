//! The records in the store, with an index by time for the eviction of the oldest records. Times are milliseconds since
//! 1970-01-01T00:00:00Z.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::last_updated::{LENGTH, Record};
use super::{Observation, ResourceKey};
use crate::store::{Durability, ReadTable, Store, StoreError, StoreTable, WriteTable};

/// The records, by the key of the resource.
pub(super) const RECORDS: StoreTable = StoreTable::new("change_log.records.1");
/// The index of the records: empty values, by time and resource.
const BY_TIME: StoreTable = StoreTable::new("change_log.by_time.1");
/// Times in milliseconds, by name.
const TIMES: StoreTable = StoreTable::new("change_log.times.1");
const LATEST: &[u8] = b"latest";
/// 1 while a process has the store open, and after a crash.
const IS_OPEN: &[u8] = b"is_open";
/// The latest time before the last crash.
const DOUBTFUL_UNTIL: &[u8] = b"doubtful";

/// The records of all resources.
#[derive(Debug)]
pub(super) struct Records {
    store: Arc<dyn Store>,
    max_count: u64,
    /// The latest time before the last crash. For records up to this time, later observations may have been lost.
    doubtful_until: i64,
}

impl Records {
    /// Opens the records in `store`, which contains at most `max_count`.
    pub(super) fn open(store: Arc<dyn Store>, max_count: u64) -> Result<Self, StoreError> {
        let mut records = Self { store, max_count, doubtful_until: i64::MIN };
        records.doubtful_until = records.time(DOUBTFUL_UNTIL)?.unwrap_or(i64::MIN);
        Ok(records)
    }

    pub(super) fn are_durable(&self) -> bool {
        self.store.is_durable()
    }

    /// Starts a session; returns `now`, or the latest assigned time if it is later.
    pub(super) fn start_session(&mut self, now: i64) -> Result<i64, StoreError> {
        let latest = self.time(LATEST)?.unwrap_or(0).max(now);
        if self.time(IS_OPEN)? == Some(1) {
            self.doubtful_until = latest;
        }
        // The latest time is written at once, because the clock may be set back before the next write.
        self.put_times(
            Durability::Immediate,
            &[(LATEST, latest), (IS_OPEN, 1), (DOUBTFUL_UNTIL, self.doubtful_until)],
        )?;
        Ok(latest)
    }

    /// Makes all writes durable, and marks the records as complete.
    pub(super) fn end_session(&self) -> Result<(), StoreError> {
        self.put_times(Durability::Immediate, &[(IS_OPEN, 0)])
    }

    /// Returns the records of the observed resources, or `None` if one of the observations changes a record.
    pub(super) fn find_unchanged(
        &self,
        observations: &[Observation],
    ) -> Result<Option<Vec<Record>>, StoreError> {
        let read = self.store.read()?;
        let records = read.table(RECORDS)?;
        let mut known = Vec::with_capacity(observations.len());
        for observation in observations {
            let Some(record) = find(&*records, observation.resource)? else { return Ok(None) };
            if Record::update(Some(record), observation, i64::MAX, self.doubtful_until) != record {
                return Ok(None);
            }
            known.push(record);
        }
        Ok(Some(known))
    }

    /// Writes the observations at `now`, and evicts the oldest records. Advances `latest`, the latest assigned time. Changes get
    /// the time `exclusive` if it is set, which is not earlier than `latest`; a resource that already has this time gets a later one.
    pub(super) fn add(
        &self,
        observations: &[Observation],
        latest: &mut i64,
        now: i64,
        exclusive: Option<i64>,
    ) -> Result<Vec<Record>, StoreError> {
        let write = self.store.write(Durability::Eventual)?;
        let next_time = now.max(latest.saturating_add(1));
        let mut updated = Vec::with_capacity(observations.len());
        {
            let mut records = write.table(RECORDS)?;
            let mut by_time = write.table(BY_TIME)?;
            for observation in observations {
                let resource = observation.resource;
                let known = find(&*records, resource)?;
                let is_later = |time: &i64| known.is_none_or(|known| known.first_seen_at < *time);
                let now = exclusive.filter(is_later).unwrap_or(next_time);
                let record = Record::update(known, observation, now, self.doubtful_until);
                if known != Some(record) {
                    if let Some(known) = known {
                        by_time.remove(&time_key(known.first_seen_at, resource))?;
                    }
                    records.put(&resource.0, &record.to_bytes())?;
                    by_time.put(&time_key(record.first_seen_at, resource), &[])?;
                    *latest = record.first_seen_at.max(*latest);
                }
                updated.push(record);
            }
            while records.count()? > self.max_count {
                let mut oldest = None;
                by_time.scan(&[], &mut |key, _| {
                    oldest = Some(key.to_vec());
                    ControlFlow::Break(())
                })?;
                let Some(oldest) = oldest else { break };
                by_time.remove(&oldest)?;
                records.remove(&oldest[TIME_LENGTH..])?;
            }
            write.table(TIMES)?.put(LATEST, &latest.to_be_bytes())?;
        }
        write.commit()?;
        Ok(updated)
    }

    /// Records that the resource was deleted; returns false if it was never seen. The record is durable at once: if the log lost
    /// a deletion that was reported to a client, the client would miss the return of the study.
    pub(super) fn mark_deleted(&self, resource: ResourceKey) -> Result<bool, StoreError> {
        let Some(known) = find(&*self.store.read()?.table(RECORDS)?, resource)? else { return Ok(false) };
        if !known.is_deleted {
            let write = self.store.write(Durability::Immediate)?;
            Self::write_deleted(&mut *write.table(RECORDS)?, resource, i64::MAX)?;
            write.commit()?;
        }
        Ok(true)
    }

    /// Marks the record of the resource as deleted, if there is one whose content was first seen until `seen_until`.
    pub(super) fn write_deleted(
        records: &mut (impl WriteTable + ?Sized),
        resource: ResourceKey,
        seen_until: i64,
    ) -> Result<(), StoreError> {
        match find(records, resource)? {
            Some(known) if !known.is_deleted && known.first_seen_at <= seen_until => {
                records.put(&resource.0, &known.into_deleted().to_bytes())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Stores the latest time, so that no earlier time is assigned after a restart.
    pub(super) fn store_latest(&self, latest: i64) -> Result<(), StoreError> {
        self.put_times(Durability::Eventual, &[(LATEST, latest)])
    }

    /// Makes all writes so far durable.
    pub(super) fn make_durable(&self) -> Result<(), StoreError> {
        self.store.write(Durability::Immediate)?.commit()
    }

    fn time(&self, name: &[u8]) -> Result<Option<i64>, StoreError> {
        let Some(time) = self.store.read()?.table(TIMES)?.get(name)? else { return Ok(None) };
        let time = time.try_into().map_err(|_| StoreError::malformed("a malformed time"))?;
        Ok(Some(i64::from_be_bytes(time)))
    }

    fn put_times(&self, durability: Durability, times: &[(&[u8], i64)]) -> Result<(), StoreError> {
        let write = self.store.write(durability)?;
        {
            let mut table = write.table(TIMES)?;
            for (name, time) in times {
                table.put(name, &time.to_be_bytes())?;
            }
        }
        write.commit()
    }
}

fn find(records: &(impl ReadTable + ?Sized), resource: ResourceKey) -> Result<Option<Record>, StoreError> {
    let Some(bytes) = records.get(&resource.0)? else { return Ok(None) };
    let bytes: &[u8; LENGTH] =
        bytes.as_slice().try_into().map_err(|_| StoreError::malformed("a malformed record"))?;
    Ok(Some(Record::from_bytes(bytes)))
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
