//! Studies of all archives: searches, single reads, and the assembly of their resources.
//!
//! [`plan`] turns criteria into QIDO-RS queries, [`scan`] reads the whole list of each query, and [`candidates`] groups the rows
//! by study. [`filter`] decides which studies match, and [`sort`] sorts them and selects the page. [`fetch`] reads the series and
//! instances of a study, [`assembly`] makes resources and caches them, [`deep_check`] and [`invalidation`] cause cached studies
//! to be read again, and [`study_versions`] looks up their versions. The entry points are [`search`], [`windowed_page`],
//! [`unsorted_page`] and [`patients`].
//!
//! The filtering by an archive is only an optimization: a study matches if the resource as it would be returned satisfies every
//! criterion and the caller may see it. This module does not depend on HTTP.

mod accepted_uids;
mod archive_changes;
mod assembly;
mod background;
mod candidates;
mod copies;
mod date_windows;
mod deep_check;
mod error;
mod fetch;
mod filter;
mod invalidation;
mod known_patient;
mod listed_patients;
mod named_patients;
mod partial_answers;
mod patients;
mod plan;
mod referenced_endpoints;
mod representation;
mod row;
mod scan;
mod search;
mod serialization;
mod sort;
mod staleness;
mod study_copies;
mod study_totals;
mod study_versions;
mod uid_lists;
mod unsorted_page;
mod windowed_page;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use assembly::{AssembledStudy, Depth, ReadOutcome};
pub use deep_check::DeepCheckLifetimes;
pub use error::{StudiesError, comma_separated};
pub use fetch::{DetailLimits, OmittedCounts};
pub use invalidation::{InvalidatedStudies, Selection};
pub use listed_patients::listed_patients;
pub use partial_answers::{ArchiveFailure, FailedArchives, partial_timeout};
pub use patients::FoundPatient;
pub use representation::Representation;
pub use row::{OmittedMatches, RowWithoutUid};
pub use scan::ListLimits;
pub use search::{
    Cursor, FoundStudies, FoundStudy, PatientConflict, StudyPage, StudySearch, UnreadableStudy,
};
pub use sort::{PageSlice, SortPosition, paginate};
pub use staleness::StalenessLimits;
pub use study_totals::{FoundTotals, StudyTotals};

use crate::cache::{Cache, SingleFlight};
use crate::change_log::ChangeLog;
use crate::clock::SharedClock;
use crate::fingerprint::Fingerprint;
use crate::mapping::{self, EndpointStatus, MappingContext, PatientIds};
use crate::request_priority::RequestPriority;
use crate::telemetry::Metrics;
use crate::upstream::{Archive, ArchiveId};
use deep_check::DeepChecks;
use dicom_model::StudyUid;
use fhir_r4::types::Endpoint;
use partial_answers::PartialAnswer;
use scan::{ScanKey, SearchRows};
use staleness::Revalidations;

/// Whether cached data may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Cached data is used while it is fresh.
    #[default]
    Cached,
    /// Cached data is not used; the archives are queried (`Cache-Control: no-cache`).
    Reload,
    /// Cached data is not used, and an identical query that is already in flight is not shared.
    Bypass,
}

/// An archive, and how its attributes are mapped.
#[derive(Debug, Clone)]
pub struct ArchiveSource {
    /// The client of the archive.
    pub archive: Archive,
    /// The configuration of the mapping.
    pub context: MappingContext,
    /// The [`rules`](MappingContext::rules) of the context.
    pub rules: String,
    /// The time at which the current content of the archive's Endpoint was first seen.
    pub endpoint_last_updated: Timestamp,
}

impl ArchiveSource {
    /// Returns the Endpoint of the archive, whose status is `error` while searches at the archive fail.
    pub fn endpoint(&self, address: String, requires_access_token: bool) -> Endpoint {
        let (name, health) = (&self.archive.settings().name, self.archive.health());
        let status = if health.is_failing { EndpointStatus::Error } else { EndpointStatus::Active };
        let mut endpoint = mapping::endpoint(&self.context, name, status, address, requires_access_token);
        let changed_at =
            health.since.map_or(self.endpoint_last_updated, |since| since.max(self.endpoint_last_updated));
        endpoint.meta.last_updated = Some(format!("{changed_at:.3}"));
        endpoint
    }

    /// Returns the same source, whose calls have this priority.
    fn with_priority(&self, priority: &RequestPriority) -> Self {
        Self { archive: self.archive.with_priority(priority), ..self.clone() }
    }
}

/// The limits of one search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Maximum number of rows read from one archive.
    pub max_scan: usize,
    /// Maximum number of matches that are sorted.
    pub sort_window: usize,
    /// Maximum number of studies that are fetched to be compared with the criteria.
    pub max_opened: usize,
    /// The limits of the series and instances of one study.
    pub detail: DetailLimits,
    /// How long unchanged rows confirm a study.
    pub deep_checks: DeepCheckLifetimes,
    /// Maximum ages of studies that are served although the archives have not just confirmed them.
    pub staleness: StalenessLimits,
    /// Maximum duration of a scan or load, which several requests may share and which continues if they disconnect.
    pub load_timeout: Duration,
    /// Maximum duration of a query to an archive that may be missing from the answer.
    pub partial_timeout: Duration,
}

/// The result of reading all rows of a query.
type ScanResult = Result<Arc<SearchRows>, StudiesError>;

/// The result of assembling one study.
type LoadResult = Result<Arc<AssembledStudy>, StudiesError>;

/// The [`generation`](Cache::generation) of the cache in which a request began. Requests of a later generation do not share its
/// result.
type Generation = u64;

/// The studies of all archives. Clones share the same state.
#[derive(Debug, Clone)]
pub struct Studies {
    sources: Arc<[ArchiveSource]>,
    /// The priority of the calls to the archives.
    priority: RequestPriority,
    /// The archives that may be missing from the answer to the request; `None` if none may be missing.
    partial_answer: Option<Arc<PartialAnswer>>,
    /// The archives that failed although the response to the client request may be without them.
    failed_archives: FailedArchives,
    /// Whether the response depends on every archive, even if it is about studies in other archives.
    requires_every_archive: bool,
    cache: Cache,
    change_log: ChangeLog,
    /// Whether the request does not need the whole list of an archive, and stops as soon as a list is known to be too long.
    detects_long_lists: bool,
    scans: Arc<SingleFlight<ScanKey, ScanResult>>,
    loads: Arc<SingleFlight<(StudyUid, Representation, Fingerprint, Generation), LoadResult>>,
    deep_checks: Arc<DeepChecks>,
    revalidations: Arc<Revalidations>,
    limits: SearchLimits,
    patient_ids: Arc<PatientIds>,
    clock: SharedClock,
    metrics: Metrics,
}

impl Studies {
    /// Creates the studies of `sources`, which are in the order of the configuration.
    pub fn new(
        sources: Vec<ArchiveSource>,
        cache: Cache,
        change_log: ChangeLog,
        limits: SearchLimits,
        patient_ids: Arc<PatientIds>,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        Self {
            sources: sources.into(),
            priority: RequestPriority::of_new_request(),
            partial_answer: None,
            failed_archives: FailedArchives::default(),
            requires_every_archive: false,
            cache,
            change_log,
            detects_long_lists: false,
            scans: Arc::default(),
            loads: Arc::default(),
            deep_checks: Arc::default(),
            revalidations: Arc::default(),
            limits,
            patient_ids,
            clock,
            metrics,
        }
    }

    /// Returns the same studies, for a client request with this priority.
    #[must_use]
    pub fn with_priority(&self, priority: &RequestPriority) -> Self {
        let sources = self.sources.iter().map(|source| source.with_priority(priority)).collect();
        Self { sources, priority: priority.clone(), ..self.clone() }
    }

    /// Returns the archives, in the order of the configuration.
    pub fn sources(&self) -> &[ArchiveSource] {
        &self.sources
    }

    /// Returns the source whose archive has the id.
    pub fn source(&self, id: &ArchiveId) -> Option<&ArchiveSource> {
        self.sources.iter().find(|source| source.archive.id() == id)
    }
}
