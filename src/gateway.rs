//! Everything that a request may need, built once from the configuration.

use std::time::Duration;

use crate::archive::{Archive, SettingsError};
use crate::cache::Cache;
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::http::cors::Cors;
use crate::http::forwarded::PublicAddress;
use crate::mapping::MappingContext;
use crate::studies::{Source, Studies};
use crate::telemetry::Metrics;

/// One gateway. Two of them in one process share nothing.
#[derive(Debug)]
pub struct Gateway {
    /// Every study of every archive.
    pub studies: Studies,
    /// How searches are bounded.
    pub search: config::Search,
    /// How long a FHIR request may take.
    pub request_timeout: Duration,
    /// Under which address the gateway is known.
    pub public_address: PublicAddress,
    /// Whose pages may read the answers.
    pub cors: Cors,
    /// Counts.
    pub metrics: Metrics,
    cache: Cache,
}

impl Gateway {
    /// Puts together what `config` describes. Nothing is sent to an archive yet.
    pub fn new(config: &Config, clock: SharedClock, metrics: Metrics) -> Result<Self, SettingsError> {
        let source = |archive: &config::Archive| {
            Ok(Source {
                archive: Archive::new(archive.settings.clone(), metrics.clone())?,
                context: context(archive),
            })
        };
        let sources = config.archives.iter().map(source).collect::<Result<_, SettingsError>>()?;
        let cache = Cache::new(config.cache.memory, config.cache.fresh_for, SharedClock::clone(&clock));
        let max_scan = config.search.max_scan;
        Ok(Self {
            studies: Studies::new(sources, cache.clone(), max_scan, clock, metrics.clone()),
            search: config.search.clone(),
            request_timeout: config.server.request_timeout,
            public_address: PublicAddress {
                fixed: config.server.public_url.clone(),
                trusted_proxies: config.server.trusted_proxies.clone(),
                is_secure: config.server.tls.is_some(),
            },
            cors: config.server.cors.clone(),
            metrics,
            cache,
        })
    }

    /// The archives, in the order of the configuration.
    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.studies.sources().iter().map(|source| &source.archive)
    }

    /// Lets the cache settle and tells the metrics what it holds. To be called now and then.
    pub fn take_stock(&self) {
        let (entries, bytes) = self.cache.usage();
        self.metrics.cache_holds(entries, bytes);
    }
}

fn context(archive: &config::Archive) -> MappingContext {
    MappingContext {
        archive: archive.settings.id.to_string(),
        time_zone: archive.time_zone.clone(),
        patient_id_system: archive.patient_id_system.clone(),
        issuers: archive.issuers.clone(),
        accession_system: archive.accession_system.clone(),
    }
}
