//! Studies of all archives: searches, single reads, and the assembly of their resources.
//!
//! [`plan`] turns criteria into QIDO-RS queries, [`scan`] reads the whole list of each, and [`candidates`] groups the rows by
//! study. [`filter`] decides which studies match, [`sort`] orders them and cuts the page. [`fetch`] reads the levels below a
//! study, [`assembly`] makes resources and caches them, and [`versions`] looks up the version of each. The entry points are
//! [`search`], [`unsorted_page`] and [`patients`]. An archive's own filter is only a hint: what decides is the resource as it would
//! be returned, compared with every criterion and with the access. The module does not know HTTP.

mod assembly;
mod candidates;
mod error;
mod fetch;
mod filter;
mod known_patient;
mod named_patients;
mod patients;
mod plan;
mod representation;
mod row;
mod scan;
mod search;
mod sort;
mod study_versions;
mod unsorted_page;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use assembly::{Depth, ReadOutcome, StudyEntry};
pub use error::{StudiesError, listed};
pub use fetch::{DetailLimits, OmittedRows};
pub use patients::FoundPatient;
pub use representation::Representation;
pub use search::{Cursor, FoundStudies, FoundStudy, PatientConflict, StudyPage, StudySearch, UnreadStudy};
pub use sort::{PageSlice, SortPosition, paginate};

use crate::cache::{Cache, SingleFlight};
use crate::change_log::ChangeLog;
use crate::clock::SharedClock;
use crate::fingerprint::Fingerprint;
use crate::mapping::MappingContext;
use crate::telemetry::Metrics;
use crate::upstream::{Archive, ArchiveId};
use dicom_model::StudyUid;
use scan::SearchRows;

/// Whether cached data may be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Yes, while it is fresh.
    #[default]
    Cached,
    /// No: the archives are queried in any case (`Cache-Control: no-cache`).
    Reload,
    /// No, and the queries must begin now: an identical query already in flight may not be shared.
    Bypass,
}

/// An archive with the configuration of its identifiers and times.
#[derive(Debug, Clone)]
pub struct ArchiveSource {
    /// The client of the archive.
    pub archive: Archive,
    /// How its attributes are mapped.
    pub context: MappingContext,
    /// The context's [`rules`](MappingContext::rules).
    pub rules: String,
    /// When the present mapping rules were first seen.
    pub since: Timestamp,
}

/// How much one search may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Maximum number of rows read from one archive.
    pub max_scan: usize,
    /// Maximum number of matches that are sorted.
    pub sort_window: usize,
    /// Maximum number of studies that are fetched to be compared with the criteria.
    pub max_opened: usize,
    /// How much may be read below one study.
    pub detail: DetailLimits,
    /// Maximum duration of work that requests share and that continues without them.
    pub load_timeout: Duration,
}

type Scan = Result<Arc<SearchRows>, StudiesError>;
type Load = Result<Arc<StudyEntry>, StudiesError>;

/// The studies of all archives. Clones share the same state.
#[derive(Debug, Clone)]
pub struct Studies {
    sources: Arc<[ArchiveSource]>,
    cache: Cache,
    change_log: ChangeLog,
    scans: Arc<SingleFlight<(ArchiveId, String), Scan>>,
    loads: Arc<SingleFlight<(StudyUid, Representation, Fingerprint), Load>>,
    limits: SearchLimits,
    clock: SharedClock,
    metrics: Metrics,
}

impl Studies {
    /// Over `sources`, in the order in which they are queried.
    pub fn new(
        sources: Vec<ArchiveSource>,
        cache: Cache,
        change_log: ChangeLog,
        limits: SearchLimits,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        Self {
            sources: sources.into(),
            cache,
            change_log,
            scans: Arc::default(),
            loads: Arc::default(),
            limits,
            clock,
            metrics,
        }
    }

    /// The archives, in the order of the configuration.
    pub fn sources(&self) -> &[ArchiveSource] {
        &self.sources
    }

    /// The source with that id.
    pub fn source(&self, id: &ArchiveId) -> Option<&ArchiveSource> {
        self.sources.iter().find(|source| source.archive.id() == id)
    }
}
