//! Converts failures of an archive to statuses and Retry-After: for FHIR, where the archive is part of the server, and for
//! DICOMweb, where the gateway is a proxy.

use std::time::Duration;

use http::StatusCode;

use super::DEFAULT_RETRY_AFTER;
use super::{Failure, to_sentence};
use crate::upstream::{ArchiveError, ArchiveErrorKind, ErrorClass};

/// Returns the status for a DICOMweb client (PS3.18 8.5).
///
/// Two classes differ from FHIR:
/// - [`ErrorClass::NotFound`]: a DICOMweb request refers to a resource of this archive, so its 404 is the response. For FHIR,
///   the gateway requests parts of a study that the archive has listed before. If one of them is missing, the archive
///   contradicts itself, and the resource that the client requested may exist.
/// - [`ErrorClass::TooCostly`]: PS3.18 defines 413 for searches with too many results (table 10.6.3-1); FHIR uses 400 with the
///   issue code `too-costly`.
pub(super) fn dicomweb_status(class: ErrorClass) -> StatusCode {
    match class {
        ErrorClass::NotFound => StatusCode::NOT_FOUND,
        ErrorClass::TooCostly => StatusCode::PAYLOAD_TOO_LARGE,
        class => fhir_status(class).0,
    }
}

/// Returns the status and the issue code for a FHIR client.
fn fhir_status(class: ErrorClass) -> (StatusCode, &'static str) {
    match class {
        ErrorClass::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "transient"),
        ErrorClass::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        ErrorClass::Disconnected => (StatusCode::BAD_GATEWAY, "transient"),
        ErrorClass::TooCostly => (StatusCode::BAD_REQUEST, "too-costly"),
        ErrorClass::NotFound | ErrorClass::BadResponse => (StatusCode::BAD_GATEWAY, "exception"),
    }
}

impl ArchiveError {
    /// Returns the wait before a retry; `None` if a retry is not expected to succeed.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            ArchiveErrorKind::CircuitOpen { wait, .. } => Some(wait),
            ArchiveErrorKind::Unavailable { retry_after: Some(seconds), .. } => {
                Some(Duration::from_secs(seconds.into()))
            }
            _ => (self.class() == ErrorClass::Unavailable).then_some(DEFAULT_RETRY_AFTER),
        }
    }
}

impl From<&ArchiveError> for Failure {
    fn from(error: &ArchiveError) -> Self {
        let class = error.class();
        let (status, code) = fhir_status(class);
        let mut text = to_sentence(&error.to_string());
        if class == ErrorClass::TooCostly {
            text.push_str(" Narrow the search: by patient, identifier, or a range of started.");
        }
        Self::new(status, code, text)
            .with_retry_after(error.retry_after())
            .with_cause(Some(error.archive.to_string()), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicomweb::DicomwebError;
    use crate::upstream::{ArchiveErrorKind as Kind, ArchiveId, ConnectFailure};
    use dicom_model::json::reader::RowError;

    fn error(kind: Kind) -> ArchiveError {
        ArchiveError { archive: ArchiveId::parse("main").unwrap(), kind }
    }

    /// Returns every kind of error with its statuses for FHIR and DICOMweb, and the wait in seconds.
    fn table() -> Vec<(Kind, u16, u16, Option<u64>)> {
        vec![
            (Kind::Unreachable(ConnectFailure::Refused), 503, 503, Some(5)),
            (Kind::Busy, 503, 503, Some(5)),
            (Kind::LargeObjectBusy, 503, 503, Some(5)),
            (Kind::Abandoned, 503, 503, Some(5)),
            (
                Kind::CircuitOpen {
                    wait: Duration::from_secs(42),
                    last_failure: "cannot be reached: connection refused".into(),
                },
                503,
                503,
                Some(42),
            ),
            (
                Kind::Unavailable { status: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(9) },
                503,
                503,
                Some(9),
            ),
            (
                Kind::Unavailable { status: StatusCode::SERVICE_UNAVAILABLE, retry_after: None },
                503,
                503,
                Some(5),
            ),
            (Kind::ListChanged, 503, 503, Some(5)),
            (Kind::Timeout(Duration::from_secs(1)), 504, 504, None),
            (Kind::TooSlow(256), 504, 504, None),
            (Kind::Disconnected, 502, 502, None),
            (Kind::Truncated, 502, 502, None),
            (Kind::Malformed(RowError::Truncated { rows: 3 }), 502, 502, None),
            (Kind::Unreadable("a web page"), 502, 502, None),
            (Kind::TooLarge(9), 502, 502, None),
            (Kind::Unauthorized(StatusCode::UNAUTHORIZED), 502, 502, None),
            (Kind::NoCredentials(StatusCode::UNAUTHORIZED), 502, 502, None),
            (Kind::ProxyCredentials, 502, 502, None),
            (Kind::Rejected(StatusCode::INTERNAL_SERVER_ERROR), 502, 502, None),
            (Kind::Rejected(StatusCode::CONFLICT), 502, 502, None),
            (Kind::Redirected, 502, 502, None),
            (Kind::ForbiddenAddress, 502, 502, None),
            (Kind::NotFound, 502, 404, None),
            (Kind::NoSearchService(StatusCode::NOT_FOUND), 502, 502, None),
            (Kind::Unpageable, 400, 413, None),
        ]
    }

    #[test]
    fn an_archive_failure_has_its_status_and_the_same_retry_after_in_fhir_and_dicomweb() {
        for (kind, fhir, dicomweb, wait) in table() {
            let error = error(kind);
            let wait = wait.map(Duration::from_secs);
            let failure = Failure::from(&error);
            assert_eq!((failure.status.as_u16(), failure.retry_after), (fhir, wait), "{error}");
            let text = &failure.issues[0].diagnostics;
            assert!(text.starts_with("Archive main ") && text.ends_with('.'), "{text}");
            assert!(!text.contains("?.") && !text.contains(".."), "{text}");
            let cause = failure.cause.unwrap();
            assert_eq!((cause.archive.as_deref(), cause.error), (Some("main"), error.to_string().into()));
            let failure = Failure::from(&DicomwebError::Archive(error.clone()));
            assert_eq!(failure.cause.unwrap().archive.as_deref(), Some("main"));
            assert_eq!((failure.status.as_u16(), failure.retry_after), (dicomweb, wait), "{error}");
        }
    }
}
