//! Everything that a request may need, built once from the configuration.

use std::time::Duration;

use crate::archive::Archive;
use crate::cache::Cache;
use crate::clock::SharedClock;
use crate::http::forwarded::PublicAddress;
use crate::studies::{Source, Studies};
use crate::telemetry::Metrics;

/// How searches are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Matches on a page when `_count` is not given.
    pub default_count: usize,
    /// Matches on a page at most.
    pub max_count: usize,
    /// Rows of one archive that are looked through for one search.
    pub max_scan: usize,
}

/// What a [`Gateway`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// The archives, in the order in which they are asked.
    pub sources: Vec<Source>,
    /// Bytes that the cache holds at most.
    pub cache_memory: u64,
    /// How long an answer of an archive is taken to be true without asking again.
    pub fresh_for: Duration,
    /// How searches are bounded.
    pub search: SearchLimits,
    /// How long a FHIR request may take.
    pub request_timeout: Duration,
    /// Under which address the gateway is known.
    pub public_address: PublicAddress,
    /// Tells the time.
    pub clock: SharedClock,
    /// Counts.
    pub metrics: Metrics,
}

/// One gateway. Two of them in one process share nothing.
#[derive(Debug)]
pub struct Gateway {
    /// Every study of every archive.
    pub studies: Studies,
    /// What the studies are remembered in, for the metrics of its size.
    pub cache: Cache,
    /// How searches are bounded.
    pub search: SearchLimits,
    /// How long a FHIR request may take.
    pub request_timeout: Duration,
    /// Under which address the gateway is known.
    pub public_address: PublicAddress,
    /// Counts.
    pub metrics: Metrics,
}

impl Gateway {
    /// Puts the parts together. Nothing is sent to an archive yet.
    pub fn new(parts: Parts) -> Self {
        let cache = Cache::new(parts.cache_memory, parts.fresh_for, SharedClock::clone(&parts.clock));
        let max_scan = parts.search.max_scan;
        let studies =
            Studies::new(parts.sources, cache.clone(), max_scan, parts.clock, parts.metrics.clone());
        Self {
            studies,
            cache,
            search: parts.search,
            request_timeout: parts.request_timeout,
            public_address: parts.public_address,
            metrics: parts.metrics,
        }
    }

    /// The archives, in the order of the configuration.
    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.studies.sources().iter().map(|source| &source.archive)
    }
}
