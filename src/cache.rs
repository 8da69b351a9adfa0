//! The in-memory cache, bounded by the bytes that it holds.
//!
//! Each module that caches something owns the type of its entries; the cache knows only the size of each entry, and a key of
//! bytes. One limit applies to the entries of all modules together: the least used are evicted first.
//!
//! Two rules for the owners: a key names upstream facts only, and cached bytes never depend on the caller or on the public
//! URL. Access is decided outside, on every hit. The injected clock decides whether an entry is still fresh.

mod key;
mod single_flight;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use key::CacheKey;
pub use single_flight::{Interrupted, SingleFlight};

use crate::clock::SharedClock;

/// Bytes that an entry needs in addition to its own and its key's: bookkeeping of the cache and of the allocator.
const OVERHEAD: usize = 512;

/// What can be cached. A key finds only entries of the requested type.
pub trait CacheEntry: Any + Send + Sync {
    /// Bytes that it holds.
    fn size(&self) -> usize;
}

#[derive(Clone)]
struct WeighedEntry {
    entry: Arc<dyn Any + Send + Sync>,
    size: usize,
}

/// The cache of one gateway. Cloning it gives another handle to the same cache.
#[derive(Clone)]
pub struct Cache {
    entries: moka::sync::Cache<(TypeId, CacheKey), WeighedEntry>,
    fresh_for: Duration,
    clock: SharedClock,
}

impl fmt::Debug for Cache {
    /// Without the keys, which may contain values of a search.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").field("fresh_for", &self.fresh_for).finish_non_exhaustive()
    }
}

impl Cache {
    /// A cache that holds at most `memory` bytes, and considers an entry fresh for `fresh_for`.
    pub fn new(memory: u64, fresh_for: Duration, clock: SharedClock) -> Self {
        let weight = |(_, key): &(TypeId, CacheKey), value: &WeighedEntry| {
            u32::try_from(OVERHEAD + key.size() + value.size).unwrap_or(u32::MAX)
        };
        let entries = moka::sync::Cache::builder().max_capacity(memory).weigher(weight).build();
        Self { entries, fresh_for, clock }
    }

    /// Whether an entry that was current at `checked_at` may be served without revalidation.
    pub fn is_fresh(&self, checked_at: Duration) -> bool {
        self.age(checked_at) < self.fresh_for
    }

    /// How long ago `moment` was, by the same clock as [`elapsed`](Self::elapsed).
    pub fn age(&self, moment: Duration) -> Duration {
        self.clock.elapsed().saturating_sub(moment)
    }

    /// The clock's [`elapsed`](crate::clock::Clock::elapsed), to be stored in entries.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The entry of this type with this key, fresh or not.
    pub fn get<E: CacheEntry>(&self, key: CacheKey) -> Option<Arc<E>> {
        // The type is part of the key, so the entry has it.
        self.entries.get(&(TypeId::of::<E>(), key))?.entry.downcast().ok()
    }

    /// Stores `entry`, replacing one of its type with the same key.
    pub fn insert<E: CacheEntry>(&self, key: CacheKey, entry: Arc<E>) {
        let size = entry.size();
        self.entries.insert((TypeId::of::<E>(), key), WeighedEntry { entry, size });
    }

    /// Whether there is an entry of this type with this key. Does not count as a use.
    pub fn contains<E: CacheEntry>(&self, key: CacheKey) -> bool {
        self.entries.contains_key(&(TypeId::of::<E>(), key))
    }

    /// Removes the entry of this type with this key.
    pub fn remove<E: CacheEntry>(&self, key: CacheKey) {
        self.entries.invalidate(&(TypeId::of::<E>(), key));
    }

    /// The number of entries and bytes, after pending evictions.
    pub fn usage(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

#[cfg(test)]
mod tests;
