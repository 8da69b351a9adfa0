//! What can go wrong on the way from a question to studies.

use std::sync::Arc;

use crate::cache::Interrupted;
use crate::upstream::{ArchiveError, ArchiveId};
use dicom_model::StudyUid;

/// Why there is no answer. Shared by everyone who waited for the same work.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StudiesError {
    /// An archive did not give what it was asked for.
    #[error(transparent)]
    Archive(Arc<ArchiveError>),
    /// The search would have to look at more rows than it may.
    #[error("archive {archive} has more than {limit} candidate studies for this search")]
    TooManyRows {
        /// The archive with the rows.
        archive: ArchiveId,
        /// `search.max_scan`.
        limit: usize,
    },
    /// More matches would have to be put in order than may.
    #[error("more than {limit} matches would have to be sorted")]
    TooManyToSort {
        /// `search.sort_window`.
        limit: usize,
    },
    /// More studies would have to be opened than may.
    #[error("more than {limit} studies would have to be read in full")]
    TooManyToOpen {
        /// `search.max_opened`.
        limit: usize,
    },
    /// More resources would have to go with the matches than may.
    #[error("more than {limit} resources would have to be included with the matches")]
    TooManyToInclude {
        /// `search.max_included`.
        limit: usize,
    },
    /// The archive refuses to list as many studies as the search finds, and the search names no days to part them by.
    #[error("archive {archive} does not list as many studies as this search finds")]
    TooMuchToList {
        /// The archive.
        archive: ArchiveId,
    },
    /// The archive counts more instances in a series than it gave.
    #[error("archive {archive} returned fewer instances of a series than its own count says")]
    Incomplete {
        /// The archive that counts.
        archive: ArchiveId,
    },
    /// One study UID stands under two patients: nobody can tell whose study it is.
    #[error("study {study} appears under more than one Patient ID")]
    TwoPatients {
        /// The study.
        study: StudyUid,
    },
    /// The resource could not be written as JSON.
    #[error("a resource could not be serialized")]
    Unwritable,
    /// The work was shared with another request, and ended without an outcome.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<ArchiveError> for StudiesError {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(Arc::new(error))
    }
}
