//! `[search]`: how much one search or batch may cost.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::secret::Secret;
use super::section::Section;
use super::values::{count, duration, size};

/// One or two screens, and what common clients ask for.
const DEFAULT_COUNT: usize = 50;

/// A response of a few megabytes, each study of which may have to be fetched.
const MAX_COUNT: usize = 200;

/// Every row is read and compared, so this limits the time and the memory of one search. A patient has hundreds of studies
/// at most; a search that finds thousands needs another criterion.
const MAX_SCAN: usize = 5000;

/// The same as `max_scan`: sorting costs less than reading.
const SORT_WINDOW: usize = 5000;

/// Reading a study in full costs a call per series: a few seconds for so many, on a typical archive.
const MAX_OPENED: usize = 200;

/// Ten times the series of the largest studies that are known; an archive that ignores the study in the URL lists all of its series.
const MAX_SERIES: usize = 5000;

/// A functional MRI study has some 50,000 instances; a resource of 100,000 instances has 30 MB.
const MAX_INSTANCES: usize = 100_000;

/// Several times `server.request_timeout`, so that a study that takes long is in the cache when the client tries again.
const LOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// A few megabytes in addition to the matches.
const MAX_INCLUDED: usize = 1000;

/// More than one screen of a client needs.
const MAX_BATCH: usize = 100;

/// Bytes of a secret below which `openssl rand` was certainly not used.
const MIN_CURSOR_KEY_LEN: usize = 16;

/// A batch must not keep the archives from other clients.
const BATCH_PARALLELISM: usize = 4;

/// A page of studies with all their instances takes a few megabytes.
const BATCH_MEMORY: u64 = 64 << 20;

/// How much one search or batch may cost.
#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// Entries per page without `_count`.
    pub default_count: usize,
    /// Maximum entries per page, whatever `_count` says.
    pub max_count: usize,
    /// Maximum rows that one archive may return for one search; more are rejected as too costly.
    pub max_scan: usize,
    /// Maximum matches that `_sort` sorts.
    pub sort_window: usize,
    /// Maximum studies read in full, to compare them with criteria that archives cannot search by.
    pub max_opened: usize,
    /// Maximum series of one study.
    pub max_series: usize,
    /// Maximum instances of one study.
    pub max_instances: usize,
    /// Maximum duration of a search or read of a study that continues after its clients have left.
    pub load_timeout: Duration,
    /// Maximum resources included with the matches of a page.
    pub max_included: usize,
    /// Maximum entries of a batch.
    pub max_batch: usize,
    /// Maximum entries of a batch that are processed concurrently.
    pub batch_parallelism: usize,
    /// Maximum bytes of all responses of a batch together.
    pub batch_memory: usize,
    /// The secret from which the key of page links is derived; if it is not set, each process makes its own.
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
            max_series: section.or("max_series", count(1, 1_000_000), MAX_SERIES),
            max_instances: section.or("max_instances", count(1, 10_000_000), MAX_INSTANCES),
            load_timeout: section.or("load_timeout", duration, LOAD_TIMEOUT),
            max_included: section.or("max_included", count(1, 100_000), MAX_INCLUDED),
            max_batch: section.or("max_batch", count(1, 10_000), MAX_BATCH),
            batch_parallelism: section.or("batch_parallelism", count(1, 1000), BATCH_PARALLELISM),
            batch_memory: usize::try_from(section.or("batch_memory", size, BATCH_MEMORY))
                .unwrap_or(usize::MAX),
            cursor_key: read_cursor_key(section),
        };
        if search.default_count > search.max_count
            && let Some(set) = default_count.or(max_count)
        {
            let message = format!(
                "default_count ({}) must not exceed max_count ({}); change one of them",
                search.default_count, search.max_count
            );
            section.error(set.location, "default_count", message);
        }
        search
    }
}

/// Page links hold what they continue after: a key that can be guessed reveals it, and permits links that the gateway did not make.
fn read_cursor_key(section: &mut Section<'_>) -> Option<SecretString> {
    let key = Secret::take(section, "cursor_key", "cursor_key_file");
    let location = key.location().cloned();
    let secret = key.optional()?;
    if let Some(location) = location.filter(|_| secret.expose_secret().len() < MIN_CURSOR_KEY_LEN) {
        let message = format!(
            "has fewer than {MIN_CURSOR_KEY_LEN} bytes and could be guessed; make one with: openssl rand -hex 32"
        );
        section.warn(location, "cursor_key", message);
    }
    Some(secret)
}
