//! The in-memory cache, whose total size in bytes is limited.
//!
//! Each module that uses the cache defines the types of its entries; the cache knows only the size of each entry, and a key of
//! bytes. One limit applies to the entries of all modules together, and the least used entries are evicted first.
//!
//! Two rules apply to these modules: a key consists only of values that identify the response of an archive, and cached bytes
//! never depend on the caller or on the public URL. Access control is applied outside the cache, to every hit. The freshness of
//! entries is computed with the injected clock.

mod key;
mod single_flight;

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use key::CacheKey;
pub use single_flight::{Interrupted, SingleFlight};

use crate::clock::SharedClock;

/// The memory per entry that the cache and the allocator need in addition to the entry and its key, in bytes.
const ENTRY_OVERHEAD: usize = 512;

/// A type that can be cached. Entries of different types may have the same key.
pub trait CacheEntry: Any + Send + Sync {
    /// Returns the size of the entry in bytes.
    fn size(&self) -> usize;
}

#[derive(Clone)]
struct WeighedEntry {
    entry: Arc<dyn Any + Send + Sync>,
    size: usize,
}

/// The cache of one gateway. Clones share the same entries.
#[derive(Clone)]
pub struct Cache {
    entries: moka::sync::Cache<(TypeId, CacheKey), WeighedEntry>,
    fresh_for: Duration,
    /// The number of invalidations until now.
    generation: Arc<AtomicU64>,
    clock: SharedClock,
}

impl fmt::Debug for Cache {
    /// Omits the keys, which may contain values of a search.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").field("fresh_for", &self.fresh_for).finish_non_exhaustive()
    }
}

impl Cache {
    /// Creates a cache of at most `memory` bytes, whose entries are fresh for `fresh_for`.
    pub fn new(memory: u64, fresh_for: Duration, clock: SharedClock) -> Self {
        let weight = |(_, key): &(TypeId, CacheKey), value: &WeighedEntry| {
            u32::try_from(ENTRY_OVERHEAD + key.size() + value.size).unwrap_or(u32::MAX)
        };
        let entries = moka::sync::Cache::builder().max_capacity(memory).weigher(weight).build();
        Self { entries, fresh_for, generation: Arc::default(), clock }
    }

    /// Whether an entry that was current at `checked_at` may be served without revalidation.
    pub fn is_fresh(&self, checked_at: Duration) -> bool {
        self.age(checked_at) < self.fresh_for
    }

    /// Returns the time since `checked_at`, which is a time of [`elapsed`](Self::elapsed).
    pub fn age(&self, checked_at: Duration) -> Duration {
        self.clock.elapsed().saturating_sub(checked_at)
    }

    /// Returns the [`elapsed`](crate::clock::Clock::elapsed) time of the clock, to be stored in entries.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Returns the entry of type `E` with `key`, whether it is fresh or stale.
    pub fn get<E: CacheEntry>(&self, key: CacheKey) -> Option<Arc<E>> {
        // The type is part of the key, so the downcast succeeds.
        self.entries.get(&(TypeId::of::<E>(), key))?.entry.downcast().ok()
    }

    /// Stores `entry`, and replaces an entry of type `E` with the same key.
    pub fn insert<E: CacheEntry>(&self, key: CacheKey, entry: Arc<E>) {
        let size = entry.size();
        self.entries.insert((TypeId::of::<E>(), key), WeighedEntry { entry, size });
    }

    /// Whether the cache contains an entry of type `E` with `key`. The call does not count as a use of the entry.
    pub fn contains<E: CacheEntry>(&self, key: CacheKey) -> bool {
        self.entries.contains_key(&(TypeId::of::<E>(), key))
    }

    /// Removes the entry of type `E` with `key`.
    pub fn remove<E: CacheEntry>(&self, key: CacheKey) {
        self.entries.invalidate(&(TypeId::of::<E>(), key));
    }

    /// Returns all entries of type `E` with their keys.
    pub fn entries<E: CacheEntry>(&self) -> Vec<(CacheKey, Arc<E>)> {
        let of_type = self.entries.iter().filter(|(key, _)| key.0 == TypeId::of::<E>());
        of_type.filter_map(|(key, value)| Some((key.1.clone(), value.entry.downcast().ok()?))).collect()
    }

    /// Returns the current generation. A response that was requested in an earlier generation may be older than an invalidation:
    /// it must neither be stored as current nor be returned to a later request.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Starts the next generation. Every invalidation calls this method before it examines entries.
    pub fn start_generation(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Applies pending evictions, and returns the number of entries and their total size in bytes.
    pub fn usage(&self) -> (u64, u64) {
        self.entries.run_pending_tasks();
        (self.entries.entry_count(), self.entries.weighted_size())
    }
}

#[cfg(test)]
mod tests;
