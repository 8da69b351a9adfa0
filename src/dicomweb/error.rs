//! What can go wrong with a DICOMweb request: which status of PS3.18 8.5 tells the client on whose side, and a sentence of
//! our own. An archive's error body is never passed on, as it may hold its addresses, stack traces and patients.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use super::path::PathError;
use super::query::QueryError;
use crate::archive::{ArchiveError, ArchiveErrorKind, ArchiveId, Unaskable};
use crate::error::{Failure, sentence};
use crate::http::body::{self, Body};
use crate::render::RenderError;

/// How long to wait before asking again, in seconds, where the archive does not say it.
const RETRY_AFTER: u32 = 5;

/// Why a DICOMweb request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DicomwebError {
    /// Neither GET nor HEAD.
    #[error("archives are only read from here: use GET or HEAD")]
    Method,
    /// The client takes nothing that there is.
    #[error("nothing that is accepted can be had here")]
    NotAcceptable,
    /// The archive's URI service is not configured.
    #[error(
        "this archive has no WADO-URI service here; ask its WADO-RS service, or have wado_uri_url configured"
    )]
    NoUriService,
    /// The archive did not do what makes an object anonymous.
    #[error(
        "archive {0} answered with an object under its own SOP Instance UID, though it was asked to make it anonymous"
    )]
    NotAnonymous(ArchiveId),
    /// No archive holds it.
    #[error("no archive holds it")]
    HeldNowhere,
    /// No archive holds all of a study.
    #[error(
        "the study is spread over several archives, none of which holds all of it; its series can be retrieved one by one"
    )]
    Spread,
    /// More rows than may be looked through.
    #[error(
        "more than {limit} rows would have to be looked through; narrow the search, or ask for a page nearer to the beginning"
    )]
    TooCostly {
        /// How many may be.
        limit: usize,
    },
    /// More would have to be searched to tell what rows lack.
    #[error(
        "more than {limit} studies and series would have to be searched to count what they hold, as the archive does not tell it; narrow the search, or ask for a smaller page"
    )]
    TooManyOpened {
        /// How many may be.
        limit: usize,
    },
    /// The archive cannot match by it.
    #[error("an archive that is asked does not know {0}, which is counted here: nothing can be found by it")]
    Computed(&'static str),
    /// The archive cannot be asked for such a value, and its rows cannot be compared with it.
    #[error("archive {0} {1}")]
    Unaskable(ArchiveId, Unaskable),
    /// The work that others shared broke down.
    #[error("the gateway failed; its log has more under the request's id")]
    Interrupted,
    /// The caller may not see everything.
    #[error("you may not see everything that this archive holds")]
    Forbidden,
    /// The path names nothing.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The query is refused.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The query is no query.
    #[error(transparent)]
    Encoding(#[from] crate::http::query::QueryError),
    /// There are several pictures, and the client takes one only.
    #[error(
        "there are several pictures: accept multipart/related, or image/gif for the frames of one instance, or ask for those of single frames at .../frames/{{number}}/rendered"
    )]
    SeveralPictures,
    /// A parameter of rendering that archives may know and that is not done here.
    #[error("the archive does not draw this, and the gateway draws no {0}: leave the parameter out")]
    NotDrawn(&'static str),
    /// As many pictures are being drawn as may be, and go on being drawn.
    #[error("too many pictures are being drawn; ask again later")]
    DrawingTooMuch,
    /// The gateway cannot draw it either.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The archive answered with a status that is no success.
    #[error("archive {archive} answered with status {}: {}", status.as_u16(), meaning(*status))]
    Refused {
        /// Which archive.
        archive: ArchiveId,
        /// Its status.
        status: StatusCode,
        /// When it may be asked again, in seconds.
        retry_after: Option<u32>,
    },
    /// The archive did not answer, or with something that cannot be passed on.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "it cannot read the request, or has it in no media type that is accepted",
        401 | 403 | 407 => "it refuses the gateway's credentials",
        404 => "it knows no such resource",
        406 => "it has it in no media type that is accepted",
        410 => "it does not hold it any more",
        413 => "the answer would be too large, ask for less",
        416 => "it has no such range",
        429 | 503 => "it is not ready, ask again later",
        501 => "it does not offer this service",
        500..=599 => "it failed",
        _ => "it refuses the request",
    }
}

fn status_of(error: &RenderError) -> StatusCode {
    match error {
        RenderError::NoImage => StatusCode::NOT_ACCEPTABLE,
        RenderError::NoSuchFrame { .. } => StatusCode::NOT_FOUND,
        RenderError::OutsideOfImage | RenderError::NoRoom => StatusCode::BAD_REQUEST,
        RenderError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RenderError::TransferSyntax(_) | RenderError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        // The archive holds it as it is.
        RenderError::Broken(_) => StatusCode::BAD_GATEWAY,
    }
}

impl DicomwebError {
    /// The status that tells the client on whose side the fault is.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable | Self::SeveralPictures => StatusCode::NOT_ACCEPTABLE,
            Self::Spread
            | Self::NotDrawn(_)
            | Self::NotAnonymous(_)
            | Self::Computed(_)
            | Self::Unaskable(..) => StatusCode::NOT_IMPLEMENTED,
            Self::DrawingTooMuch => StatusCode::SERVICE_UNAVAILABLE,
            Self::Render(error) => status_of(error),
            // PS3.18 table 10.6.3-1.
            Self::TooCostly { .. } | Self::TooManyOpened { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::HeldNowhere | Self::NoUriService | Self::Path(PathError::Unknown) => StatusCode::NOT_FOUND,
            Self::Path(_) | Self::Query(_) | Self::Encoding(_) => StatusCode::BAD_REQUEST,
            Self::Refused { status, .. } => match status.as_u16() {
                400 | 404 | 406 | 410 | 413 | 414 | 415 | 416 | 501 | 504 => *status,
                429 | 503 => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Archive(ArchiveError { kind, .. }) => match kind {
                ArchiveErrorKind::NotFound => StatusCode::NOT_FOUND,
                ArchiveErrorKind::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
                ArchiveErrorKind::Unreachable
                | ArchiveErrorKind::Busy
                | ArchiveErrorKind::Resting(_)
                | ArchiveErrorKind::Unavailable { .. }
                | ArchiveErrorKind::ListChanged => StatusCode::SERVICE_UNAVAILABLE,
                // Only a narrower search can be answered (PS3.18 table 10.6.3-1).
                ArchiveErrorKind::Unpageable => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// Whether asking for another media type may help: archives say 400 as well as 406 to one that they do not have.
    pub(super) fn may_be_about_media_types(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 400 | 406 | 415),
            Self::NotAcceptable => true,
            _ => false,
        }
    }

    /// Whether asking for another service may help: one that an archive does not have is not found, or not done, there.
    pub(super) fn may_be_about_the_service(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 400 | 404 | 405 | 406 | 415 | 501),
            _ => false,
        }
    }

    /// Whether the archive that was asked does not hold it.
    pub(super) fn says_that_it_is_not_there(&self) -> bool {
        matches!(self.status(), StatusCode::NOT_FOUND | StatusCode::GONE)
    }

    /// In how many seconds asking again may help; `None` when it will not.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            _ if self.status() != StatusCode::SERVICE_UNAVAILABLE => None,
            Self::Refused { retry_after, .. }
            | Self::Archive(ArchiveError {
                kind: ArchiveErrorKind::Unavailable { retry_after, .. }, ..
            }) => Some(retry_after.unwrap_or(RETRY_AFTER)),
            _ => Some(RETRY_AFTER),
        }
    }
}

impl From<&DicomwebError> for Failure {
    fn from(error: &DicomwebError) -> Self {
        // The codes are those of FHIR; a DICOMweb answer shows the sentence alone.
        let mut failure = Self::new(error.status(), "processing", sentence(&format!("{error}.")));
        failure.retry_after = error.retry_after().map(|seconds| Duration::from_secs(seconds.into()));
        failure
    }
}

/// A failure as DICOMweb clients read it (PS3.18 8.5): the status, and a sentence for people.
pub fn refuse(failure: &Failure) -> Response<Body> {
    let sentences: Vec<_> = failure.issues.iter().map(|issue| issue.diagnostics.as_ref()).collect();
    let message = serde_json::json!({ "status": failure.status.as_u16(), "message": sentences.join(" ") });
    let mut response = Response::new(body::full(message.to_string()));
    *response.status_mut() = failure.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    failure.describe(headers);
    response
}
