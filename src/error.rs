//! What failed, on whose side, and whether it may be tried again: the one place that knows statuses, OperationOutcomes
//! (R4 operationoutcome.html, fhir-rules of R4 http#summary) and DICOMweb errors.
//!
//! Each layer below has an enum of its own; here each of its variants becomes a [`Failure`]. What a failure says is
//! written here: no text of an archive, no address and no value of a query ever is part of it.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::archive::{ArchiveError, ArchiveErrorKind};
use crate::auth::AuthError;
use crate::route::NoRoute;
use crate::studies::StudiesError;

/// How long to wait before asking again, where nobody knows better.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// One thing that is wrong, for an OperationOutcome's `issue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// A code of R4's value set issue-type.
    pub code: &'static str,
    /// What is wrong and what can be done, for people.
    pub diagnostics: Cow<'static, str>,
    /// Where: a search parameter as `http.name`, or a header as `http.header`.
    pub expression: Option<String>,
}

/// `text` with a capital at its beginning, as errors of the layers below are written without.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// At least one.
    pub issues: Vec<Issue>,
    /// Asking again after this may succeed.
    pub retry_after: Option<Duration>,
    /// How to authenticate, for a 401.
    pub challenge: Option<&'static str>,
    /// The methods that are allowed, for a 405.
    pub allow: Option<&'static str>,
}

impl Failure {
    /// A failure with one issue.
    pub fn new(status: StatusCode, code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        let issue = Issue { code, diagnostics: diagnostics.into(), expression: None };
        Self { status, issues: vec![issue], retry_after: None, challenge: None, allow: None }
    }

    /// Something in the request itself is wrong.
    pub fn bad_request(code: &'static str, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, diagnostics)
    }

    /// There is no such thing.
    pub fn not_found(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", diagnostics)
    }

    /// The thing was there once.
    pub fn gone(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::GONE, "deleted", diagnostics)
    }

    /// None of the formats that there are is acceptable to the caller.
    pub fn not_acceptable(diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-supported", diagnostics)
    }

    /// Something that must not happen did.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "exception",
            "The gateway failed; its log has more under the request's id.",
        )
    }

    /// The request took longer than it may; the work that it began goes on where others can use it.
    pub fn too_slow() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "The archives did not give all that is needed in time. What they have given so far is kept: asking again may \
             succeed, and a narrower search will be faster.",
        )
    }

    /// Where the issue stands.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        if let Some(issue) = self.issues.first_mut() {
            issue.expression = Some(expression.into());
        }
        self
    }

    /// Puts what a caller can act on into the answer's headers: `Allow`,
    /// `WWW-Authenticate`, `Retry-After`.
    pub fn describe(&self, headers: &mut HeaderMap) {
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
    }

    #[must_use]
    fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<NoRoute> for Failure {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::AmbiguousPath => Self::bad_request(
                "invalid",
                "The path holds dot segments, doubled slashes, escapes or other characters that no address of this server has.",
            ),
            NoRoute::PathTooLong => Self::new(
                StatusCode::URI_TOO_LONG,
                "too-long",
                "The path is longer than any address of this server.",
            ),
            NoRoute::NotFound => Self::not_found(
                "Nothing stands at this address. FHIR is below /fhir, DICOMweb below /dicom-web/{archive}.",
            ),
            NoRoute::UnknownType => Self::new(
                StatusCode::NOT_FOUND,
                "not-supported",
                "This resource type is not served; /fhir/metadata lists those that are.",
            ),
            NoRoute::NoHistory => Self::new(
                StatusCode::NOT_FOUND,
                "not-supported",
                "No history is kept. The current version can be read at {type}/{id} and {type}/{id}/_history/{versionId}.",
            ),
            NoRoute::MethodNotAllowed { allow } => {
                let mut failure = Self::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "not-supported",
                    format!("Only {allow} can be done here: the gateway reads archives and changes nothing."),
                );
                failure.allow = Some(allow);
                failure
            }
        }
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        let diagnostics = sentence(&format!("{error}."));
        match error {
            AuthError::Unauthenticated { challenge } => {
                let failure = Self::new(StatusCode::UNAUTHORIZED, "login", diagnostics);
                Self { challenge: Some(challenge), ..failure }
            }
            AuthError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", diagnostics),
            AuthError::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", diagnostics).after(RETRY_AFTER)
            }
        }
    }
}

impl From<&ArchiveError> for Failure {
    fn from(error: &ArchiveError) -> Self {
        use ArchiveErrorKind as Kind;
        let said = || sentence(&format!("{error}."));
        match &error.kind {
            Kind::Unreachable | Kind::Busy | Kind::ListChanged => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", said()).after(RETRY_AFTER)
            }
            Kind::Resting(rest) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", said()).after(*rest)
            }
            Kind::Unavailable { retry_after, .. } => {
                let wait = retry_after.map_or(RETRY_AFTER, |seconds| Duration::from_secs(seconds.into()));
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", said()).after(wait)
            }
            Kind::Unpageable => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {} {}. Narrow the search: by patient, identifier, or a range of started.",
                    error.archive, error.kind
                ),
            ),
            Kind::Timeout(_) => Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", said()),
            Kind::Disconnected | Kind::BrokenOff => Self::new(StatusCode::BAD_GATEWAY, "transient", said()),
            Kind::Unauthorized(_)
            | Kind::OffLimits
            | Kind::NotFound
            | Kind::Refused(_)
            | Kind::Redirected
            | Kind::Malformed(_)
            | Kind::Unreadable(_)
            | Kind::TooLarge(_) => Self::new(StatusCode::BAD_GATEWAY, "exception", said()),
        }
    }
}

impl From<&StudiesError> for Failure {
    fn from(error: &StudiesError) -> Self {
        match error {
            StudiesError::Archive(error) => Self::from(error.as_ref()),
            StudiesError::TooManyRows { archive, limit } => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {archive} has more than {limit} studies to look through for this search. Narrow it: by \
                     patient, identifier, or a range of started."
                ),
            ),
            StudiesError::TooManyToSort { limit } => Self::bad_request(
                "too-costly",
                format!(
                    "More than {limit} matches would have to be put in order. Leave _sort out, or narrow the search: by \
                     patient, identifier, or a range of started."
                ),
            ),
            StudiesError::TooManyToOpen { limit } => Self::bad_request(
                "too-costly",
                format!(
                    "More than {limit} studies would have to be opened, as archives cannot be asked for this. Narrow the \
                     search: by patient, identifier, modality, or a range of started."
                ),
            ),
            StudiesError::TooManyToInclude { limit } => Self::bad_request(
                "too-costly",
                format!(
                    "More than {limit} resources would have to go with the matches. Ask for fewer matches on a page, or \
                     search for what goes with them by itself."
                ),
            ),
            StudiesError::TooMuchToList { archive } => Self::bad_request(
                "too-costly",
                format!(
                    "Archive {archive} refuses to list as many studies as this search finds. Narrow it: by patient, \
                     identifier, or a range of started."
                ),
            ),
            StudiesError::Incomplete { .. } => {
                Self::new(StatusCode::BAD_GATEWAY, "incomplete", sentence(&format!("{error}.")))
            }
            StudiesError::TwoPatients { study } => Self::new(
                StatusCode::BAD_GATEWAY,
                "multiple-matches",
                format!(
                    "Study {study} stands under more than one patient, so nobody can tell whose it is. A search by patient \
                     gives what stands under that patient."
                ),
            ),
            StudiesError::Unwritable | StudiesError::Interrupted(_) => Self::internal(),
        }
    }
}

impl From<StudiesError> for Failure {
    fn from(error: StudiesError) -> Self {
        Self::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveId;
    use crate::dicom::json::RowError;

    fn failure(kind: ArchiveErrorKind) -> Failure {
        Failure::from(&ArchiveError { archive: ArchiveId::parse("main").unwrap(), kind })
    }

    #[test]
    fn the_side_that_failed_decides_the_status() {
        let statuses = [
            (ArchiveErrorKind::Unreachable, 503, true),
            (ArchiveErrorKind::Busy, 503, true),
            (
                ArchiveErrorKind::Unavailable { status: StatusCode::TOO_MANY_REQUESTS, retry_after: Some(9) },
                503,
                true,
            ),
            (ArchiveErrorKind::Timeout(Duration::from_secs(1)), 504, false),
            (ArchiveErrorKind::Disconnected, 502, false),
            (ArchiveErrorKind::Malformed(RowError::Truncated { rows: 3 }), 502, false),
            (ArchiveErrorKind::Unauthorized(StatusCode::UNAUTHORIZED), 502, false),
            (ArchiveErrorKind::NotFound, 502, false),
            (ArchiveErrorKind::Redirected, 502, false),
            (ArchiveErrorKind::OffLimits, 502, false),
        ];
        for (kind, status, retry) in statuses {
            let failure = failure(kind);
            assert_eq!(failure.status.as_u16(), status);
            assert_eq!(failure.retry_after.is_some(), retry);
            assert!(
                failure.issues[0].diagnostics.starts_with("Archive main "),
                "{}",
                failure.issues[0].diagnostics
            );
        }
    }
}
