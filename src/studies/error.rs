//! The errors of searching and reading studies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use crate::cache::Interrupted;
use crate::change_log::ChangeLogAway;
use crate::upstream::{ArchiveError, ArchiveId};
use dicom_model::StudyUid;

/// The reason why a search or a read failed. Requests that share a scan or a load receive the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StudiesError {
    /// A request to an archive failed.
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
    /// The rows of the search would occupy more memory than permitted.
    #[error("archive {archive} returned more than {limit} bytes of rows for this search")]
    TooManyBytes {
        /// The archive that returned the rows.
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
    /// The archive rejected the query because the list would be too long, and the query has no date range that could be split
    /// further.
    #[error("archive {archive} does not list as many studies as this search finds")]
    TooMuchToList {
        /// The archive that rejected the query.
        archive: ArchiveId,
    },
    /// An archive lists more studies of a day and the days around it than may be read, so that they cannot be sorted.
    #[error("archive {archive} lists more than {limit} studies of three days around {day}")]
    TooManyOnDay {
        /// The archive with too many rows.
        archive: ArchiveId,
        /// Maximum number of studies of three days.
        limit: usize,
        /// The day with most of them.
        day: Date,
    },
    /// The archive returned fewer series or instances than it reports.
    #[error("archive {archive} returned fewer {what} than the number that it reports")]
    Incomplete {
        /// The archive that returned too few.
        archive: ArchiveId,
        /// What is missing: `series of a study`.
        what: &'static str,
    },
    /// One study has more series or instances than may be read.
    #[error("archive {archive} lists more than {limit} {what} in one study, the maximum ({key})")]
    TooMuchDetail {
        /// The archive that lists them.
        archive: ArchiveId,
        /// What exceeds the maximum: `series`, `instances` or `bytes`.
        what: &'static str,
        /// The configuration key of the maximum.
        key: &'static str,
        /// The maximum.
        limit: usize,
    },
    /// A scan or a load did not finish within `search.load_timeout`.
    #[error("the archives did not send everything that is needed within {} s", .0.as_secs())]
    LoadTimeout(Duration),
    /// Several patients have a study with the same UID, so the subject of the study is ambiguous.
    #[error("study {study} appears under more than one Patient ID (archives: {})", comma_separated(archives))]
    SeveralPatients {
        /// The UID of the study.
        study: StudyUid,
        /// The archives that contain a study with this UID.
        archives: BTreeSet<ArchiveId>,
    },
    /// Parts of one study belong to different patients, so that the images may be those of either.
    #[error("parts of study {study} belong to different patients (archives: {})", comma_separated(archives))]
    PatientOfPart {
        /// The UID of the study.
        study: StudyUid,
        /// The archives that contain the parts.
        archives: BTreeSet<ArchiveId>,
    },
    /// The store does not respond, so it is not known when studies last changed.
    #[error(transparent)]
    ChangeLogAway(#[from] ChangeLogAway),
    /// The resource could not be serialized.
    #[error("a resource could not be serialized")]
    Unwritable,
    /// A scan or a load that requests share ended without a result.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl StudiesError {
    /// Whether the error concerns only the study that was read: other studies of the archive can still be read.
    pub fn is_specific_to_study(&self) -> bool {
        match self {
            Self::Archive(error) => error.is_specific_to_request(),
            Self::Incomplete { .. } | Self::TooMuchDetail { .. } | Self::PatientOfPart { .. } => true,
            Self::TooManyRows { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyToSort { .. }
            | Self::TooManyToOpen { .. }
            | Self::TooManyToInclude { .. }
            | Self::TooMuchToList { .. }
            | Self::TooManyOnDay { .. }
            | Self::LoadTimeout(_)
            | Self::SeveralPatients { .. }
            | Self::ChangeLogAway(_)
            | Self::Unwritable
            | Self::Interrupted(_) => false,
        }
    }
}

impl StudiesError {
    /// Whether a list of studies is too long to be read as a whole, so that a part of it may be readable.
    pub(super) fn is_from_long_list(&self) -> bool {
        match self {
            Self::TooManyRows { .. } | Self::TooManyBytes { .. } | Self::TooMuchToList { .. } => true,
            Self::Archive(error) => error.is_content_too_large(),
            _ => false,
        }
    }
}

impl From<ArchiveError> for StudiesError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Arc::new(error))
    }
}

/// Returns the ids, separated by commas.
pub fn comma_separated(archives: &BTreeSet<ArchiveId>) -> String {
    archives.iter().map(ArchiveId::as_str).collect::<Vec<_>>().join(", ")
}
