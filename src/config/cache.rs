//! `[cache]`: what the gateway remembers, and for how long it trusts its memory.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use super::values::{count, duration, size, text};

/// Some 20,000 studies as they are rendered, or the archives' rows behind as many; half of a small container.
const MEMORY: u64 = 512 << 20;

/// A page that is reloaded costs the archives nothing; an image that has just arrived is seen within half a minute.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// The metadata of a series of a thousand slices.
const MAX_ANSWER_SIZE: u64 = 8 << 20;

/// The studies of a hospital's decade. A record takes some 180 bytes in the state directory, or in memory without one.
const CHANGE_LOG_ENTRIES: usize = 1_000_000;

/// What the gateway remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// In bytes, of everything that is held.
    pub memory: u64,
    /// How long an answer is given again without asking the archive whether it is still true.
    pub fresh_for: Duration,
    /// In bytes: a larger answer of an archive is passed on and not kept.
    pub largest_answer: u64,
    /// Where what must survive a restart stands: the change log. Without it, in memory.
    pub state_dir: Option<PathBuf>,
    /// Studies of which is known since when they are as they are.
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
                .map(|set| section.beside_the_file(&PathBuf::from(set.value))),
            change_log_entries: section.or(
                "change_log_entries",
                count(1000, 100_000_000),
                CHANGE_LOG_ENTRIES,
            ),
        }
    }
}
