//! `[search]`: how much one search may ask for.

use secrecy::SecretString;

use super::secret::Secret;
use super::section::Section;
use super::values::{count, size};

/// What fits a screen or two, and what common clients ask for when they ask.
const DEFAULT_COUNT: usize = 50;

/// Some megabytes of answer at most, each study of which may have to be fetched.
const MAX_COUNT: usize = 200;

/// Every row is read and compared, so this bounds the time and the memory of one search; a patient has hundreds of
/// studies at most, and a search that finds more than thousands wants another criterion.
const MAX_SCAN: usize = 5000;

/// The same as `max_scan`: sorting costs less than reading.
const SORT_WINDOW: usize = 5000;

/// Opening a study costs a call for each of its series: some seconds for so many, on an archive of common speed.
const MAX_OPENED: usize = 200;

/// Some megabytes besides the matches.
const MAX_INCLUDED: usize = 1000;

/// More than the screens of a client ask for at once.
const MAX_BATCH: usize = 100;

/// A client with patience for a batch leaves archives to others in between.
const BATCH_PARALLELISM: usize = 4;

/// A page of studies with all their instances is some megabytes.
const BATCH_MEMORY: u64 = 64 << 20;

/// How much one search may ask for.
#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// Entries of a page when `_count` is not given.
    pub default_count: usize,
    /// Entries of a page at most, whatever `_count` says.
    pub max_count: usize,
    /// Rows read from one archive for one search before it is refused as too costly.
    pub max_scan: usize,
    /// Matches that `_sort` puts in order at most.
    pub sort_window: usize,
    /// Studies that are opened to be compared with criteria which archives cannot be asked for.
    pub max_opened: usize,
    /// Resources that go with the matches at most.
    pub max_included: usize,
    /// Entries of a batch at most.
    pub max_batch: usize,
    /// So many entries of a batch are worked on at a time.
    pub batch_parallelism: usize,
    /// Bytes of all answers of a batch together at most.
    pub batch_memory: usize,
    /// Of what the key is made that seals the links of pages; without it each process makes its own.
    pub cursor_key: Option<SecretString>,
}

impl SearchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let max_count = section.take("max_count", count(1, 10_000));
        let default_count = section.take("default_count", count(1, 10_000));
        let search = Self {
            default_count: default_count.as_ref().map_or(DEFAULT_COUNT, |set| set.value),
            max_count: max_count.as_ref().map_or(MAX_COUNT, |set| set.value),
            max_scan: section.or("max_scan", count(1, 1_000_000), MAX_SCAN),
            sort_window: section.or("sort_window", count(1, 1_000_000), SORT_WINDOW),
            max_opened: section.or("max_opened", count(1, 100_000), MAX_OPENED),
            max_included: section.or("max_included", count(1, 100_000), MAX_INCLUDED),
            max_batch: section.or("max_batch", count(1, 10_000), MAX_BATCH),
            batch_parallelism: section.or("batch_parallelism", count(1, 1000), BATCH_PARALLELISM),
            batch_memory: usize::try_from(section.or("batch_memory", size, BATCH_MEMORY))
                .unwrap_or(usize::MAX),
            cursor_key: Secret::take(section, "cursor_key", "cursor_key_file").optional(),
        };
        if search.default_count > search.max_count
            && let Some(set) = default_count.or(max_count)
        {
            let message = format!(
                "default_count ({}) is more than max_count ({}); a page cannot hold it",
                search.default_count, search.max_count
            );
            section.error(set.place, "default_count", message);
        }
        search
    }
}
