//! `[cache]`: the size of the cache, the freshness lifetime of cached responses, and the size of the change log.

use std::time::Duration;

use super::section::Section;
use super::values::{count, duration, duration_or_none, size};

/// The default of `memory`: enough for about 20,000 assembled studies, and half the memory of a small container.
const MEMORY: u64 = 512 << 20;

/// The default of `fresh_for`. Reloading a page causes no request to an archive, and a new image is visible within half a
/// minute.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The default of `deep_check`. Most corrections are made in the days after the examination, and are visible within minutes.
const DEEP_CHECK: Duration = Duration::from_mins(5);

/// The default of `deep_check_old`. Old studies rarely change, and reading a page of them again each hour is cheap.
const DEEP_CHECK_OLD: Duration = Duration::from_hours(1);

/// The default of `largest_answer`: the size of the metadata of a series with a thousand slices.
const MAX_CACHED_RESPONSE_SIZE: u64 = 8 << 20;

/// The default of `change_log_entries`: the studies of a hospital in a decade. A record takes about 180 bytes in the
/// store.
const CHANGE_LOG_ENTRIES: usize = 1_000_000;

/// The cache and the change log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// The size of the cache in bytes.
    pub memory: u64,
    /// The duration for which a cached response is served without revalidating it with the archive.
    pub fresh_for: Duration,
    /// The age up to which a cached study is served while it is revalidated in the background; zero disables this.
    pub stale_for: Duration,
    /// The age up to which a cached study is served if the archives fail; zero disables this.
    pub stale_if_error: Duration,
    /// The time after which a request reads a study of the last week again, even if its row is unchanged.
    pub deep_check: Duration,
    /// The same time for an older study.
    pub deep_check_old: Duration,
    /// Maximum size of a cached response of an archive, in bytes; a larger response is forwarded without being cached.
    pub largest_answer: u64,
    /// Maximum number of studies in the change log.
    pub change_log_entries: usize,
}

impl CacheConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            memory: section.take_or("memory", size, MEMORY),
            fresh_for: section.take_or("fresh_for", duration, FRESH_FOR),
            stale_for: section.take_or("stale_for", duration_or_none, Duration::ZERO),
            stale_if_error: section.take_or("stale_if_error", duration_or_none, Duration::ZERO),
            deep_check: section.take_or("deep_check", duration, DEEP_CHECK),
            deep_check_old: section.take_or("deep_check_old", duration, DEEP_CHECK_OLD),
            largest_answer: section.take_or("largest_answer", size, MAX_CACHED_RESPONSE_SIZE),
            change_log_entries: section.take_or(
                "change_log_entries",
                count(1000, 100_000_000),
                CHANGE_LOG_ENTRIES,
            ),
        }
    }
}
