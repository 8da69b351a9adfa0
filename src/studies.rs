//! The heart: from criteria to studies.
//!
//! [`plan`] says what the archives are asked, [`scan`] asks them to the end, [`candidates`] gathers what they answer by study,
//! [`screen`] decides what matches, [`order`] puts it in order, [`detail`] fetches what lies below a study, [`assembly`] makes
//! resources of it and remembers them, [`versions`] tells which version each is; [`search`], [`stream`] and [`patients`] are the ways in. An archive's filter is a hint
//! and never an answer: what counts is the resource that would be shown, compared with every criterion and with the access.
//! Nothing here knows HTTP.

mod assembly;
mod candidates;
mod error;
mod fetch;
mod filter;
mod patients;
mod plan;
mod row;
mod scan;
mod search;
mod sort;
mod unsorted;
mod versions;

use std::sync::Arc;

use jiff::Timestamp;

pub use assembly::{Depth, ReadOutcome};
pub use error::StudiesError;
pub use patients::FoundPatient;
pub use search::{Cursor, FoundStudies, FoundStudy, StudyPage, StudySearch};
pub use sort::{PageSlice, SortPosition, paginate};

use crate::cache::{Cache, Form, SearchRows, SingleFlight, StudyEntry};
use crate::change_log::ChangeLog;
use crate::clock::SharedClock;
use crate::fingerprint::Fingerprint;
use crate::mapping::MappingContext;
use crate::telemetry::Metrics;
use crate::upstream::{Archive, ArchiveId};
use dicom_model::StudyUid;

/// Whether what is remembered will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Freshness {
    /// It will, while it is fresh.
    #[default]
    Cached,
    /// The archives are asked in any case (`Cache-Control: no-cache`).
    Reload,
    /// They are asked from now on: what somebody else is asking already will not do either.
    Bypass,
}

/// An archive, and what its configuration says of its identifiers and times.
#[derive(Debug, Clone)]
pub struct ArchiveSource {
    /// The way to it.
    pub archive: Archive,
    /// How its attributes are read.
    pub context: MappingContext,
    /// The context's [`rules`](MappingContext::rules).
    pub rules: String,
    /// When what is configured of it was first seen as it is.
    pub since: Timestamp,
}

/// How much one search may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Rows of one archive that are looked through.
    pub max_scan: usize,
    /// Matches that are put in an order that was asked for.
    pub sort_window: usize,
    /// Studies that are opened to be compared with the criteria.
    pub max_opened: usize,
}

type Scan = Result<Arc<SearchRows>, StudiesError>;
type Load = Result<Arc<StudyEntry>, StudiesError>;

/// Every study of every archive. Cloning gives another handle to the same one.
#[derive(Debug, Clone)]
pub struct Studies {
    sources: Arc<[ArchiveSource]>,
    cache: Cache,
    change_log: ChangeLog,
    scans: Arc<SingleFlight<(ArchiveId, String), Scan>>,
    loads: Arc<SingleFlight<(StudyUid, Form, Fingerprint), Load>>,
    limits: SearchLimits,
    clock: SharedClock,
    metrics: Metrics,
}

impl Studies {
    /// Over `sources`, in the order in which they are asked.
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

    /// The source that is called `id`.
    pub fn source(&self, id: &ArchiveId) -> Option<&ArchiveSource> {
        self.sources.iter().find(|source| source.archive.id() == id)
    }
}
