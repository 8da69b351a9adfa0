//! Converts failures of FHIR searches and reads to statuses.

use http::StatusCode;

use super::{Failure, to_sentence};
use crate::routes::ErrorFormat;
use crate::studies::{StudiesError, comma_separated};

impl From<&StudiesError> for Failure {
    fn from(error: &StudiesError) -> Self {
        match error {
            StudiesError::Archive(error) => Self::from(error.as_ref()),
            StudiesError::TooManyRows { archive, limit } => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {archive} has more than {limit} candidate studies for this search. Narrow the search: by patient, \
                     identifier, or a range of started."
                ),
            ),
            StudiesError::TooManyBytes { archive, limit } => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {archive} returned more than {limit} bytes of rows for this search (search.max_scan_memory). Narrow \
                     the search: by patient, identifier, or a range of started."
                ),
            ),
            StudiesError::TooManyToSort { limit } => Self::bad_request(
                "too-costly",
                format!(
                    "More than {limit} matches would have to be sorted. Omit _sort, or narrow the search: by patient, \
                     identifier, or a range of started."
                ),
            ),
            StudiesError::TooManyToOpen { limit } => Self::bad_request(
                "too-costly",
                format!(
                    "More than {limit} studies would have to be read in full, as archives cannot search by this. Narrow the \
                     search: by patient, identifier, modality, or a range of started."
                ),
            ),
            StudiesError::TooManyToInclude { limit } => Self::bad_request(
                "too-costly",
                format!(
                    "More than {limit} resources would have to be included with the matches. Lower _count, or search for \
                     the included resources separately."
                ),
            ),
            StudiesError::TooMuchToList { archive } => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {archive} does not list as many studies as this search finds. Narrow the search: by patient, \
                     identifier, or a range of started."
                ),
            ),
            StudiesError::TooManyOnDay { archive, limit, day } => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {archive} has more than {limit} candidate studies on three days around {day} (three times \
                     search.max_scan), or does not list them, so that they cannot be sorted by started. Narrow the search: by \
                     patient, identifier, or a range of started without this day."
                ),
            ),
            StudiesError::Incomplete { archive, .. } | StudiesError::TooMuchDetail { archive, .. } => {
                Self::new(StatusCode::BAD_GATEWAY, "incomplete", to_sentence(&error.to_string()))
                    .with_cause(Some(archive.to_string()), error.to_string())
            }
            StudiesError::LoadTimeout(_) => Self::timed_out(ErrorFormat::Fhir).with_cause(None, error.to_string()),
            StudiesError::SeveralPatients { study, archives } => Self::new(
                StatusCode::BAD_GATEWAY,
                "multiple-matches",
                format!(
                    "Study {study} appears under more than one Patient ID (archives: {}), so its subject is ambiguous. A search by patient \
                     returns the part of it that belongs to that patient.",
                    comma_separated(archives)
                ),
            )
            .with_cause(
                Some(comma_separated(archives)),
                "a study appears under more than one Patient ID",
            ),
            StudiesError::PatientOfPart { archives, .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                "multiple-matches",
                format!("{}, so its subject is ambiguous.", to_sentence(&error.to_string()).trim_end_matches('.')),
            )
            .with_cause(Some(comma_separated(archives)), "parts of a study belong to different patients"),
            StudiesError::ChangeLogAway(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "transient",
                "The store of the gateway does not respond, so it is not known when studies last changed. Searches without \
                 _lastUpdated are not affected.",
            )
            .with_retry_after(Some(error.retry_after))
            .with_cause(None, error.to_string()),
            StudiesError::Unwritable | StudiesError::Interrupted(_) => {
                Self::internal().with_cause(None, error.to_string())
            }
        }
    }
}

impl From<StudiesError> for Failure {
    fn from(error: StudiesError) -> Self {
        Self::from(&error)
    }
}
