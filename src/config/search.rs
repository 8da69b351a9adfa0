//! `[search]`: the limits of one search or batch.

use std::time::Duration;

use super::section::Section;
use super::values::{boolean, count, duration, size};

/// The default of `default_count`: one or two screens, and the `_count` of common clients.
const DEFAULT_COUNT: usize = 50;

/// The default of `max_count`: a response of a few megabytes, for which 200 studies may have to be fetched.
const MAX_COUNT: usize = 200;

/// The default of `max_scan`. Every row is read and compared, so the value limits the time and the memory of one search. A
/// patient has at most hundreds of studies; a search with thousands of matches needs another criterion.
const MAX_SCAN: usize = 5000;

/// The default of `sort_window`, equal to that of `max_scan`, because sorting costs less than reading.
const SORT_WINDOW: usize = 5000;

/// The default of `max_opened`. Reading a whole study needs a request per series: a few seconds for 200 studies in a typical
/// archive.
const MAX_OPENED: usize = 200;

/// The default of `max_series`: ten times the series of the largest known studies. An archive that ignores the study in the URL
/// lists all of its series.
const MAX_SERIES: usize = 5000;

/// The default of `max_instances`. A functional MRI study has about 50,000 instances; a resource of 100,000 instances has 30 MB.
const MAX_INSTANCES: usize = 100_000;

/// The default of `max_scan_memory`. 5,000 rows of studies have about 15 MB.
const MAX_SCAN_MEMORY: u64 = 64 << 20;

/// The default of `load_timeout`: several times `server.request_timeout`, so that a study that takes long is in the cache when
/// the client tries again.
const LOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// The default of `partial`: a client that does not expect it would take a list without an archive for the whole list.
const PARTIAL: bool = false;

/// The default of `max_included`: a few megabytes in addition to the matches.
const MAX_INCLUDED: usize = 1000;

/// The default of `max_batch`: more entries than one screen of a client needs.
const MAX_BATCH: usize = 100;

/// The default of `batch_parallelism`, so that a batch does not delay other clients.
const BATCH_PARALLELISM: usize = 4;

/// The default of `batch_memory`. A page of studies with all their instances takes a few megabytes.
const BATCH_MEMORY: u64 = 64 << 20;

/// The limits of one search or batch.
#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// The number of entries per page without `_count`.
    pub default_count: usize,
    /// Maximum number of entries per page, which limits `_count`.
    pub max_count: usize,
    /// Maximum number of rows of one archive for one search; a search with more rows is rejected as too costly.
    pub max_scan: usize,
    /// Maximum number of matches that `_sort` sorts.
    pub sort_window: usize,
    /// Maximum number of whole studies that one search reads to evaluate criteria for which QIDO-RS has no matching key.
    pub max_opened: usize,
    /// Maximum number of series of one study.
    pub max_series: usize,
    /// Maximum number of instances of one study.
    pub max_instances: usize,
    /// Maximum size in memory of the rows that one archive returns for one search or one study, in bytes.
    pub max_scan_memory: usize,
    /// Maximum duration of a search or read of a study that continues after its clients have disconnected.
    pub load_timeout: Duration,
    /// Whether responses may be without archives that fail, unless the client requests strict handling.
    pub partial: bool,
    /// Maximum number of resources that are included with the matches of a page.
    pub max_included: usize,
    /// Maximum number of entries of a batch.
    pub max_batch: usize,
    /// Maximum number of entries of a batch that are processed concurrently.
    pub batch_parallelism: usize,
    /// Maximum size of all responses of a batch together, in bytes.
    pub batch_memory: usize,
}

impl SearchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let has_max_count = section.is_set("max_count");
        let has_default_count = section.is_set("default_count");
        let max_count = section.take("max_count", count(1, 10_000));
        let default_count = section.take("default_count", count(1, 10_000));
        let search = Self {
            default_count: default_count.as_ref().map_or(DEFAULT_COUNT, |setting| setting.value),
            max_count: max_count.as_ref().map_or(MAX_COUNT, |setting| setting.value),
            max_scan: section.take_or("max_scan", count(1, 1_000_000), MAX_SCAN),
            sort_window: section.take_or("sort_window", count(1, 1_000_000), SORT_WINDOW),
            max_opened: section.take_or("max_opened", count(1, 100_000), MAX_OPENED),
            max_series: section.take_or("max_series", count(1, 1_000_000), MAX_SERIES),
            max_instances: section.take_or("max_instances", count(1, 10_000_000), MAX_INSTANCES),
            max_scan_memory: usize::try_from(section.take_or("max_scan_memory", size, MAX_SCAN_MEMORY))
                .unwrap_or(usize::MAX),
            load_timeout: section.take_or("load_timeout", duration, LOAD_TIMEOUT),
            partial: section.take_or("partial", boolean, PARTIAL),
            max_included: section.take_or("max_included", count(1, 100_000), MAX_INCLUDED),
            max_batch: section.take_or("max_batch", count(1, 10_000), MAX_BATCH),
            batch_parallelism: section.take_or("batch_parallelism", count(1, 1000), BATCH_PARALLELISM),
            batch_memory: usize::try_from(section.take_or("batch_memory", size, BATCH_MEMORY))
                .unwrap_or(usize::MAX),
        };
        // An invalid value is reported; the default that replaces it is not compared.
        let are_valid = has_max_count == max_count.is_some() && has_default_count == default_count.is_some();
        if are_valid
            && search.default_count > search.max_count
            && let Some(setting) = default_count.or(max_count)
        {
            let message = format!(
                "default_count ({}) must not exceed max_count ({}); change one of them",
                search.default_count, search.max_count
            );
            section.report_error(setting.location, "default_count", message);
        }
        search
    }
}
