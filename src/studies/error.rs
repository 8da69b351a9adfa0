//! The errors of searches and reads of studies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Interrupted;
use crate::upstream::{ArchiveError, ArchiveId};
use dicom_model::StudyUid;

/// Why a search or read failed. Requests that share the work share the error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StudiesError {
    /// An archive did not return what it was asked for.
    #[error(transparent)]
    Archive(Arc<ArchiveError>),
    /// The search would have to read more rows than permitted.
    #[error("archive {archive} has more than {limit} candidate studies for this search")]
    TooManyRows {
        /// The archive with too many rows.
        archive: ArchiveId,
        /// `search.max_scan`.
        limit: usize,
    },
    /// The rows of the search would need more memory than permitted.
    #[error("archive {archive} returned more than {limit} bytes of rows for this search")]
    TooManyBytes {
        /// The archive.
        archive: ArchiveId,
        /// `search.max_scan_memory`.
        limit: usize,
    },
    /// More matches than permitted would have to be sorted.
    #[error("more than {limit} matches would have to be sorted")]
    TooManyToSort {
        /// `search.sort_window`.
        limit: usize,
    },
    /// More studies than permitted would have to be fetched.
    #[error("more than {limit} studies would have to be read in full")]
    TooManyToOpen {
        /// `search.max_opened`.
        limit: usize,
    },
    /// More resources than permitted would have to be included with the matches.
    #[error("more than {limit} resources would have to be included with the matches")]
    TooManyToInclude {
        /// `search.max_included`.
        limit: usize,
    },
    /// The archive refuses to list as many studies as the search finds, and the search has no date range that could be split.
    #[error("archive {archive} does not list as many studies as this search finds")]
    TooMuchToList {
        /// The archive.
        archive: ArchiveId,
    },
    /// The archive reports a higher number of series or instances than it returned.
    #[error("archive {archive} returned fewer {what} than the number that it reports")]
    Incomplete {
        /// The archive.
        archive: ArchiveId,
        /// What is missing: `series of a study`.
        what: &'static str,
    },
    /// The archive lists more below one study than may be read.
    #[error("archive {archive} lists more than {limit} {what} in one study, the maximum ({key})")]
    TooMuchDetail {
        /// The archive.
        archive: ArchiveId,
        /// `series` or `instances`.
        what: &'static str,
        /// The configuration key of the maximum.
        key: &'static str,
        /// The maximum.
        limit: usize,
    },
    /// Work that requests share did not finish in `search.load_timeout`.
    #[error("the archives did not send everything that is needed within {} s", .0.as_secs())]
    LoadTimeout(Duration),
    /// One study UID is used for two patients, so it is unknown whose study it is.
    #[error("study {study} appears under more than one Patient ID (archives: {})", listed(archives))]
    TwoPatients {
        /// The study.
        study: StudyUid,
        /// The archives that hold a study with this UID.
        archives: BTreeSet<ArchiveId>,
    },
    /// The resource could not be serialized as JSON.
    #[error("a resource could not be serialized")]
    Unwritable,
    /// The work was shared with another request, and ended without a result.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl StudiesError {
    /// Whether only the study that was read is affected, so that others can still be read from the same archive.
    pub fn concerns_one_study(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_specific_to_request(),
            Self::Incomplete { .. } | Self::TooMuchDetail { .. } => true,
            Self::TooManyRows { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyToSort { .. }
            | Self::TooManyToOpen { .. }
            | Self::TooManyToInclude { .. }
            | Self::TooMuchToList { .. }
            | Self::LoadTimeout(_)
            | Self::TwoPatients { .. }
            | Self::Unwritable
            | Self::Interrupted(_) => false,
        }
    }
}

impl From<ArchiveError> for StudiesError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Arc::new(error))
    }
}

/// The ids, separated by commas.
pub fn listed(archives: &BTreeSet<ArchiveId>) -> String {
    archives.iter().map(ArchiveId::as_str).collect::<Vec<_>>().join(", ")
}
