//! Everything that a request may need, built once from the configuration.

use std::time::Duration;

use secrecy::ExposeSecret;

use crate::archive::{Archive, SettingsError};
use crate::cache::Cache;
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::http::cors::Cors;
use crate::http::cursor::{CursorKey, NoKey};
use crate::http::forwarded::PublicAddress;
use crate::mapping::MappingContext;
use crate::studies::{Limits, Source, Studies};
use crate::telemetry::Metrics;

/// Why what is configured cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An archive cannot be reached as it is described.
    #[error(transparent)]
    Archive(#[from] SettingsError),
    /// No key for the links of pages.
    #[error(transparent)]
    Cursors(#[from] NoKey),
}

/// One gateway. Two of them in one process share nothing.
#[derive(Debug)]
pub struct Gateway {
    /// Every study of every archive.
    pub studies: Studies,
    /// What resources hold beyond R4.
    pub fhir: config::Fhir,
    /// How searches are bounded.
    pub search: config::Search,
    /// Seals the links of pages.
    pub cursors: CursorKey,
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
    pub fn new(config: &Config, clock: SharedClock, metrics: Metrics) -> Result<Self, GatewayError> {
        let source = |archive: &config::Archive| {
            Ok(Source {
                archive: Archive::new(archive.settings.clone(), metrics.clone())?,
                context: context(config, archive),
            })
        };
        let sources = config.archives.iter().map(source).collect::<Result<_, SettingsError>>()?;
        let cache = Cache::new(config.cache.memory, config.cache.fresh_for, SharedClock::clone(&clock));
        let limits = Limits {
            max_scan: config.search.max_scan,
            sort_window: config.search.sort_window,
            max_opened: config.search.max_opened,
        };
        let cursors = match &config.search.cursor_key {
            Some(secret) => CursorKey::of(secret.expose_secret().as_bytes())?,
            None => CursorKey::random()?,
        };
        Ok(Self {
            studies: Studies::new(sources, cache.clone(), limits, clock, metrics.clone()),
            fhir: config.fhir.clone(),
            search: config.search.clone(),
            cursors,
            request_timeout: config.server.request_timeout,
            public_address: PublicAddress {
                fixed: config.server.public_url.clone(),
                trusted_proxies: config.server.trusted_proxies.clone(),
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

fn context(config: &Config, archive: &config::Archive) -> MappingContext {
    MappingContext {
        archive: archive.settings.id.to_string(),
        time_zone: archive.time_zone.clone(),
        patient_id_system: archive.patient_id_system.clone(),
        issuers: archive.issuers.clone(),
        accession_system: archive.accession_system.clone(),
        guides: config.fhir.guides.clone(),
        narrative: config.fhir.narrative,
    }
}
