//! `[cache]`: what the gateway caches, how long it serves it without revalidating, and where its state is.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::values::{count, duration, size, text};

/// About 20,000 assembled studies, or the archives' rows of as many; half the memory of a small container.
const MEMORY: u64 = 512 << 20;

/// Reloading a page costs the archives nothing, and a new image is visible within half a minute.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The metadata of a series of a thousand slices.
const MAX_ANSWER_SIZE: u64 = 8 << 20;

/// The studies of a hospital in a decade. A record takes about 180 bytes, in the state directory or in memory.
const CHANGE_LOG_ENTRIES: usize = 1_000_000;

/// The cache and the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Size of the cache in bytes.
    pub memory: u64,
    /// How long a cached response is served without revalidating it with the archive.
    pub fresh_for: Duration,
    /// Bytes of the largest archive response that is cached; a larger one is only forwarded.
    pub largest_answer: u64,
    /// The directory for what must survive a restart: the change log. If it is not set, that is in memory.
    pub state_dir: Option<PathBuf>,
    /// Maximum studies in the change log.
    pub change_log_entries: usize,
}

impl CacheConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            memory: section.or("memory", size, MEMORY),
            fresh_for: section.or("fresh_for", duration, FRESH_FOR),
            largest_answer: section.or("largest_answer", size, MAX_ANSWER_SIZE),
            state_dir: section
                .take("state_dir", text)
                .map(|set| section.resolve_path(&PathBuf::from(set.value))),
            change_log_entries: section.or(
                "change_log_entries",
                count(1000, 100_000_000),
                CHANGE_LOG_ENTRIES,
            ),
        }
    }
}
