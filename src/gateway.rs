//! Everything that a request may need, built once from the configuration.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;

use crate::archive::{Archive, SettingsError};
use crate::cache::{Cache, Fingerprint, Ledger, LedgerError, Sight, Subject};
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::http::cors::Cors;
use crate::http::cursor::{CursorKey, NoKey};
use crate::http::forwarded::PublicAddress;
use crate::mapping::{self, MappingContext};
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
    /// The change ledger cannot be opened in `[cache] state_dir`.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// One gateway. Two of them in one process share nothing.
#[derive(Debug)]
pub struct Gateway {
    /// Every study of every archive.
    pub studies: Studies,
    /// What resources hold beyond R4.
    pub fhir: config::Fhir,
    /// How drawing pictures is bounded.
    pub render: config::Render,
    /// How searches are bounded.
    pub search: config::Search,
    /// Seals the links of pages.
    pub cursors: CursorKey,
    /// In bytes, the largest answer of an archive that is kept.
    pub largest_answer: u64,
    /// How long a FHIR request may take.
    pub request_timeout: Duration,
    /// Under which address the gateway is known.
    pub public_address: PublicAddress,
    /// The time of day.
    pub clock: SharedClock,
    /// Whose pages may read the answers.
    pub cors: Cors,
    /// Counts.
    pub metrics: Metrics,
    cache: Cache,
    ledger: Ledger,
}

impl Gateway {
    /// Puts together what `config` describes. Nothing is sent to an archive yet.
    pub fn new(config: &Config, clock: SharedClock, metrics: Metrics) -> Result<Self, GatewayError> {
        let ledger = Ledger::open(
            config.cache.state_dir.as_deref(),
            u64::try_from(config.cache.ledger_entries).unwrap_or(u64::MAX),
            SharedClock::clone(&clock),
            metrics.clone(),
        )?;
        let since = endpoints_since(config, &ledger);
        let source = |(archive, since): (&config::Archive, Timestamp)| {
            let context = context(config, archive);
            Ok(Source {
                archive: Archive::new(archive.settings.clone(), metrics.clone())?,
                rules: context.rules(),
                context,
                since,
            })
        };
        let sources = config.archives.iter().zip(since).map(source).collect::<Result<_, SettingsError>>()?;
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
            studies: Studies::new(
                sources,
                cache.clone(),
                ledger.clone(),
                limits,
                SharedClock::clone(&clock),
                metrics.clone(),
            ),
            fhir: config.fhir.clone(),
            render: config.render,
            search: config.search.clone(),
            cursors,
            largest_answer: config.cache.largest_answer,
            request_timeout: config.server.request_timeout,
            public_address: PublicAddress {
                fixed: config.server.public_url.clone(),
                trusted_proxies: config.server.trusted_proxies.clone(),
                is_secure: config.server.tls.is_some(),
            },
            clock,
            cors: config.server.cors.clone(),
            metrics,
            cache,
            ledger,
        })
    }

    /// The archives, in the order of the configuration.
    pub fn archives(&self) -> impl Iterator<Item = &Archive> {
        self.studies.sources().iter().map(|source| &source.archive)
    }

    /// What is remembered.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Lets the cache settle and tells the metrics what it holds. To be called now and then.
    pub fn take_stock(&self) {
        let (entries, bytes) = self.cache.usage();
        self.metrics.cache_holds(entries, bytes);
    }

    /// Makes durable what is to survive the process. To be called when no more requests will come.
    pub async fn close(&self) {
        self.ledger.close().await;
    }
}

/// Since when each archive's Endpoint is as it is, but for its address, which is each caller's own.
fn endpoints_since(config: &Config, ledger: &Ledger) -> Vec<Timestamp> {
    let sight = |archive: &config::Archive| {
        let settings = &archive.settings;
        let endpoint = mapping::endpoint(&context(config, archive), &settings.name, String::new(), false);
        // What cannot be written is never shown.
        let json = serde_json::to_vec(&endpoint).unwrap_or_default();
        let fingerprint = Fingerprint::of([]).read_by(&json);
        Sight { subject: Subject::endpoint(&settings.id), fingerprint, content: None }
    };
    let sights: Vec<_> = config.archives.iter().map(sight).collect();
    ledger.observe_at_start(&sights).into_iter().map(|version| version.last_updated).collect()
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
        notes: config.fhir.notes,
    }
}
