//! Builds the gateway from the configuration, and passes each module its dependencies.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::AbortHandle;

use crate::auth::{Authenticator, Open};
use crate::cache::Cache;
use crate::change_log::{ChangeLog, ChangeLogAway, Observation, ResourceKey};
use crate::clock::SharedClock;
use crate::config::{self, AuthMode, Config, ImplementationGuide};
use crate::dicomweb::{self, DicomwebContext, Federation, PatientComparison, RenderPool, ResponseCache};
use crate::fhir::FhirContext;
use crate::fingerprint::Fingerprint;
use crate::http::accepted_hosts::AcceptedHosts;
use crate::http::forwarded::PublicUrl;
use crate::http::sealing::{KeyDerivationError, SealingKeys};
use crate::mapping::{self, EndpointStatus, Guide, MappingContext, NoSecret, PatientIds};
use crate::service::{Service, ServiceContext};
use crate::store::{self, OpenError, Store, StoreError};
use crate::studies::partial_timeout;
use crate::studies::{
    ArchiveSource, DeepCheckLifetimes, DetailLimits, SearchLimits, StalenessLimits, Studies,
};
use crate::telemetry::Metrics;
use crate::upstream::{Archive, NoProbeMemory, SettingsError};
use dicom_model::UidRule;

/// The reason why the gateway cannot be built from the configuration.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The client of an archive cannot be created.
    #[error(transparent)]
    Archive(#[from] SettingsError),
    /// The keys for page links cannot be created.
    #[error(transparent)]
    LinkKeys(#[from] KeyDerivationError),
    /// The keys of Patient ids cannot be created.
    #[error(transparent)]
    PatientIds(#[from] NoSecret),
    /// The secret in the store cannot be read or made.
    #[error("the secret of Patient ids and page links cannot be read from the store, or stored: {0}")]
    Secret(StoreError),
    /// The store in `[store] url` cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The database of the change log does not respond.
    #[error(transparent)]
    ChangeLogAway(#[from] ChangeLogAway),
    /// The store cannot be read or written.
    #[error("the change log cannot be opened")]
    ChangeLog(#[from] StoreError),
}

/// One gateway. Two gateways in one process share no state.
#[derive(Debug)]
pub struct App {
    service: Service,
    metrics: Metrics,
    cache: Cache,
    store: Arc<dyn Store>,
    change_log: ChangeLog,
    studies: Studies,
    /// The archives with a change feed.
    change_feeds: Vec<Archive>,
    /// The tasks that follow the change feeds.
    feed_tasks: Mutex<Vec<AbortHandle>>,
}

impl App {
    /// Builds the gateway from `config`, without calling an archive.
    pub async fn new(config: &Config, clock: SharedClock, metrics: Metrics) -> Result<Self, AppError> {
        let authenticator = match config.auth.mode {
            AuthMode::Open => Arc::new(Open),
        };
        Self::with_authenticator(config, clock, metrics, authenticator).await
    }

    /// Does the same as [`new`](Self::new), with `authenticator` instead of the configured authenticator.
    pub async fn with_authenticator(
        config: &Config,
        clock: SharedClock,
        metrics: Metrics,
        authenticator: Arc<dyn Authenticator>,
    ) -> Result<Self, AppError> {
        let (store, change_log) = open_change_log(config, &clock, &metrics).await?;
        let secrets = key_secrets(config, &*store).await?;
        let secrets = || secrets.iter().map(|secret| secret.expose_secret().as_bytes());
        let patient_ids = Arc::new(PatientIds::derive(secrets())?);
        let link_key = Arc::new(SealingKeys::derive(secrets())?);
        let endpoint_times = observe_endpoints(config, &change_log, &patient_ids).await?;
        let create_source = |(archive, endpoint_last_updated): (&config::ArchiveConfig, Timestamp)| {
            let context = mapping_context(config, archive, &patient_ids);
            Ok(ArchiveSource {
                archive: Archive::with_probing(
                    archive.settings.clone(),
                    metrics.clone(),
                    SharedClock::clone(&clock),
                    Arc::new(NoProbeMemory),
                )?,
                rules: rules(&context, archive.settings.uid_rule),
                context,
                endpoint_last_updated,
            })
        };
        let sources = config
            .archives
            .iter()
            .zip(endpoint_times)
            .map(create_source)
            .collect::<Result<Vec<_>, SettingsError>>()?;
        let archives = sources.iter().map(|source| source.archive.clone()).collect();
        let cache = Cache::new(config.cache.memory, config.cache.fresh_for, SharedClock::clone(&clock));
        let limits = search_limits(config);
        let studies = Studies::new(
            sources,
            cache.clone(),
            change_log.clone(),
            limits,
            Arc::clone(&patient_ids),
            SharedClock::clone(&clock),
            metrics.clone(),
        );
        let fhir = FhirContext {
            studies: studies.clone(),
            guides: Arc::new(guides(config)),
            cors: config.server.cors.allows_any_page(),
            limits: Arc::new(config.search.clone()),
            link_key: Arc::clone(&link_key),
            clock,
        };
        let (max_size, row_lifetime) = (config.cache.largest_answer, config.cache.deep_check);
        let response_cache = ResponseCache::new(cache.clone(), max_size, row_lifetime, metrics.clone());
        let dicomweb = DicomwebContext {
            response_cache: response_cache.clone(),
            frames: dicomweb::FrameCache::new(cache.clone(), config.cache.memory),
            limits: dicomweb::DicomwebLimits {
                max_scan: config.search.max_scan,
                max_instances: config.search.max_instances,
                max_opened: config.search.max_opened,
                partial: config.search.partial,
            },
            render_pool: RenderPool::new(
                config.render.memory,
                config.render.parallelism,
                config.render.timeout,
            ),
            patients: PatientComparison::new(config.archives.iter().map(|archive| {
                (archive.settings.id.clone(), mapping_context(config, archive, &patient_ids))
            })),
            url_key: link_key,
        };
        let public_url = PublicUrl {
            fixed: config.server.public_url.clone(),
            trusted_proxies: config.server.trusted_proxies.clone(),
            is_secure: config.server.tls.is_some(),
        };
        let hosts = AcceptedHosts::new(&config.server.hosts, &public_url);
        let context = ServiceContext {
            authenticator,
            public_url,
            hosts,
            cors: config.server.cors.clone(),
            response_cache,
            request_timeout: config.server.request_timeout,
            admin_token: config.server.admin_token.clone(),
            metrics: metrics.clone(),
        };
        let federation = Federation::new(archives, dicomweb, cache.clone(), studies.clone());
        let service = Service::new(context, fhir, federation);
        let change_feeds = change_feeds(config, &metrics)?;
        Ok(Self {
            service,
            metrics,
            cache,
            store,
            change_log,
            studies,
            change_feeds,
            feed_tasks: Mutex::default(),
        })
    }

    /// Returns the service of the public listener.
    pub fn service(&self) -> Service {
        self.service.clone()
    }

    /// Returns the archives, in the order of the configuration.
    pub fn archives(&self) -> Vec<Archive> {
        self.studies.sources().iter().map(|source| source.archive.clone()).collect()
    }

    /// Starts the background tasks, which probe archives and follow their change feeds. It must be called in a Tokio runtime.
    pub fn start_background_work(&self) {
        self.studies.sources().iter().for_each(|source| source.archive.probe_profile_if_due());
        let follow = |archive: &Archive| self.studies.follow_changes(archive.clone());
        let tasks = self.change_feeds.iter().map(follow);
        self.feed_tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
    }

    /// Returns the metrics as OpenMetrics text.
    pub fn metrics(&self) -> String {
        let (entries, bytes) = self.cache.usage();
        self.metrics.set_cache_size(entries, bytes);
        self.metrics.to_text()
    }

    /// Makes the state in the store durable. It must be called after the last request.
    pub async fn close(&self) {
        let tasks = std::mem::take(&mut *self.feed_tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(AbortHandle::abort);
        self.change_log.close().await;
        self.store.close().await;
    }
}

/// Opens the store, and the change log in it. A store whose entries cannot be read is replaced, like a damaged one.
async fn open_change_log(
    config: &Config,
    clock: &SharedClock,
    metrics: &Metrics,
) -> Result<(Arc<dyn Store>, ChangeLog), AppError> {
    let max_records = u64::try_from(config.cache.change_log_entries).unwrap_or(u64::MAX);
    let open = |store| ChangeLog::open(store, max_records, SharedClock::clone(clock), metrics.clone());
    let store = store::open(&config.store, SharedClock::clone(clock)).await?;
    let error = match open(Arc::clone(&store)).await {
        Ok(log) => return Ok((store, log)),
        Err(error) => error,
    };
    store.close().await;
    drop(store);
    if !error.is_damage() {
        return Err(error.into());
    }
    let store = store::replace(&config.store, &error).await?;
    let log = open(Arc::clone(&store)).await?;
    Ok((store, log))
}

/// Returns the secrets from which keys are derived: those of the configuration, or the one that the store contains.
async fn key_secrets(config: &Config, store: &dyn Store) -> Result<Vec<SecretString>, AppError> {
    if !config.fhir.keys.is_empty() {
        return Ok(config.fhir.keys.clone());
    }
    if !store.is_durable() {
        tracing::warn!(
            "neither fhir.keys nor store.url is set: Patient ids and page links are valid only until this process ends"
        );
    }
    Ok(vec![store::secret(store).await.map_err(AppError::Secret)?])
}

fn search_limits(config: &Config) -> SearchLimits {
    SearchLimits {
        max_scan: config.search.max_scan,
        sort_window: config.search.sort_window,
        max_opened: config.search.max_opened,
        detail: DetailLimits {
            max_series: config.search.max_series,
            max_instances: config.search.max_instances,
            max_bytes: config.search.max_scan_memory,
            max_parallel_series: usize::MAX,
        },
        staleness: StalenessLimits {
            stale_for: config.cache.stale_for,
            stale_if_error: config.cache.stale_if_error,
        },
        deep_checks: DeepCheckLifetimes { recent: config.cache.deep_check, old: config.cache.deep_check_old },
        load_timeout: config.search.load_timeout,
        partial_timeout: partial_timeout(config.server.request_timeout),
    }
}

/// Creates the clients of change feeds. They have separate limits and circuit breakers, so that a feed that fails does not affect
/// the searches of the same archive.
fn change_feeds(config: &Config, metrics: &Metrics) -> Result<Vec<Archive>, SettingsError> {
    let with_feed = config.archives.iter().filter(|archive| archive.settings.rest_url.is_some());
    with_feed.map(|archive| Archive::new(archive.settings.clone(), metrics.clone())).collect()
}

/// Records the current content of the Endpoint of each archive in the change log, and returns the times at which it was first
/// seen. The content does not include the address, which depends on the public base URL of the request.
async fn observe_endpoints(
    config: &Config,
    change_log: &ChangeLog,
    patient_ids: &Arc<PatientIds>,
) -> Result<Vec<Timestamp>, ChangeLogAway> {
    let observation = |archive: &config::ArchiveConfig| {
        let settings = &archive.settings;
        let endpoint = mapping::endpoint(
            &mapping_context(config, archive, patient_ids),
            &settings.name,
            EndpointStatus::Active,
            String::new(),
            false,
        );
        // An Endpoint that cannot be serialized is never returned.
        let json = serde_json::to_vec(&endpoint).unwrap_or_default();
        let fingerprint = Fingerprint::from_rows([]).with_rules(&json);
        Observation { resource: ResourceKey::endpoint(&settings.id), fingerprint, content: None }
    };
    let observations: Vec<_> = config.archives.iter().map(observation).collect();
    let versions = change_log.observe(observations, None).await?;
    Ok(versions.into_iter().map(|version| version.last_updated).collect())
}

fn mapping_context(
    config: &Config,
    archive: &config::ArchiveConfig,
    patient_ids: &Arc<PatientIds>,
) -> MappingContext {
    MappingContext {
        archive: archive.settings.id.to_string(),
        time_zone: archive.time_zone.clone(),
        patient_id_system: archive.patient_id_system.clone(),
        issuers: archive.issuers.clone(),
        accession_system: archive.accession_system.clone(),
        guides: guides(config),
        narrative: config.fhir.narrative,
        notes: config.fhir.notes,
        patient_ids: Arc::clone(patient_ids),
    }
}

/// Identifies the rules by which attributes of an archive become resources: those of the mapping, and which UIDs are accepted.
fn rules(context: &MappingContext, uid_rule: UidRule) -> String {
    match uid_rule {
        UidRule::Strict => context.rules(),
        UidRule::Lenient => format!("{} lenient_uids", context.rules()),
    }
}

/// Converts the configured guides to the type of `mapping`.
fn guides(config: &Config) -> BTreeSet<Guide> {
    let guide = |guide: &ImplementationGuide| match guide {
        ImplementationGuide::SmartImagingAccess => Guide::SmartImagingAccess,
        ImplementationGuide::IheImr => Guide::IheImr,
        ImplementationGuide::EuImaging => Guide::EuImaging,
        ImplementationGuide::UsCore => Guide::UsCore,
        ImplementationGuide::Ipa => Guide::Ipa,
    };
    config.fhir.guides.iter().map(guide).collect()
}
