//! The errors of DICOMweb requests. The error body of an archive is never forwarded, because it may contain URLs, stack traces
//! and data of patients.
//!
//! This module does not determine the status of the response; `crate::error` does, for each variant.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::request::path::PathError;
use super::request::query::QueryError;
use crate::studies::{ArchiveFailure, StudiesError};
use crate::upstream::{Archive, ArchiveError, ArchiveErrorKind, ArchiveId, UnsearchableValue, retry_after};
use dicom_render::RenderError;

/// Maximum number of frames that an error names.
const MAX_NAMED_FRAMES: usize = 8;

/// The level of a resource of which several archives contain a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitLevel {
    /// A study.
    Study,
    /// A series.
    Series,
}

impl SplitLevel {
    /// Returns the objects of the next level below.
    fn parts(self) -> &'static str {
        match self {
            Self::Study => "series",
            Self::Series => "instances",
        }
    }
}

impl fmt::Display for SplitLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Study => "study",
            Self::Series => "series",
        })
    }
}

/// Why a DICOMweb request fails.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DicomwebError {
    /// None of the media types that the client accepts is available.
    #[error("none of the media types in Accept is available for this resource")]
    NotAcceptable,
    /// None of the media types that the client accepts is available; the error names the available ones.
    #[error(
        "none of the media types in {requested_in} is available for this resource{}; available are {available}",
        rejection_text(rejection.as_ref())
    )]
    OtherMediaTypesAvailable {
        /// The part of the request that contains the accepted media types: `Accept` or `the query parameter accept`.
        requested_in: &'static str,
        /// The archive that rejected the media types, and its status; `None` if no request was sent to an archive.
        rejection: Option<(ArchiveId, StatusCode)>,
        /// The available media types.
        available: String,
    },
    /// The client accepts none of the media types in which the object can be rendered.
    #[error(
        "none of the media types in Accept is available for this object; available are {}",
        available.join(", ")
    )]
    ObjectMediaTypes {
        /// The available media types.
        available: Vec<&'static str>,
    },
    /// The WADO-URI service of the archives that may have the object is not configured.
    #[error(
        "the WADO-URI service is not configured ({}); use WADO-RS, or ask the administrator to set wado_uri_url",
        comma_separated(.0)
    )]
    NoUriService(Vec<ArchiveId>),
    /// The archive returned the original object although an anonymized one was requested.
    #[error(
        "archive {0} did not anonymize the object: its response has the original SOP Instance UID; the object is not forwarded"
    )]
    NotAnonymized(ArchiveId),
    /// No archive has the resource.
    #[error("no archive has this resource")]
    NotFound,
    /// Several archives contain a part of a study or a series, and none contains the whole.
    #[error(
        "the {level} is split across several archives ({}), and none has all of it; retrieve its {} one by one",
        comma_separated(archives),
        level.parts()
    )]
    SplitAcrossArchives {
        /// The level of the resource that is split.
        level: SplitLevel,
        /// The archives that contain a part.
        archives: Vec<ArchiveId>,
    },
    /// One Study Instance UID is assigned to different patients.
    #[error(
        "archives assign this Study Instance UID to different patients ({}); use /dicom-web/{{archive}}/studies to retrieve the study of one archive",
        comma_separated(archives)
    )]
    PatientConflict {
        /// The archives that contain a study with this UID.
        archives: Vec<ArchiveId>,
    },
    /// More rows than the limit would have to be read.
    #[error("more than {limit} rows would have to be read to answer this search; narrow it, or lower offset")]
    TooCostly {
        /// The maximum number of rows of one archive.
        limit: usize,
    },
    /// Too many studies and series would have to be searched to count their contents.
    #[error(
        "more than {limit} studies and series would have to be searched, to count their contents; narrow the search, or lower limit"
    )]
    TooManyCountQueries {
        /// The maximum number of studies and series of one archive.
        limit: usize,
    },
    /// The parts of studies in several archives could not be compared.
    #[error(transparent)]
    Studies(StudiesError),
    /// The archive cannot match by the attribute, because it does not provide the attribute.
    #[error(
        "searching by {0} is not supported, as the gateway computes it for an archive that does not provide it; omit it"
    )]
    UnsearchableAttribute(&'static str),
    /// The archive cannot be searched for such a value, and its rows cannot be compared with it.
    #[error("archive {0} {1}")]
    UnsearchableValue(ArchiveId, UnsearchableValue),
    /// A task of the gateway ended without a result.
    #[error("internal error; the gateway's log has details under the request ID of this response")]
    Interrupted,
    /// The caller may see only some studies, and the request is not for one of them.
    #[error(
        "access to this archive is restricted to some of its studies, which DICOMweb requests cannot be checked for"
    )]
    Forbidden,
    /// The path does not identify a resource.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The query is rejected.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The query string cannot be decoded.
    #[error(transparent)]
    Encoding(#[from] crate::http::query::QueryStringError),
    /// There are several images, but the client accepts only a single one.
    #[error(
        "there are several images, and Accept takes a single one; accept multipart/related, or image/gif for the frames of one instance, or request one frame at .../frames/{{number}}/rendered"
    )]
    MultipleImages,
    /// The gateway does not support a rendering parameter.
    #[error(
        "rendering parameter {0} is not supported by the gateway, nor does the archive render this; omit it"
    )]
    UnsupportedRenderParameter(&'static str),
    /// No permit for rendering became available in time.
    #[error("the gateway is rendering as many images as it can; try again later")]
    RenderPoolBusy,
    /// Rendering an image took longer than it may.
    #[error("rendering the image takes longer than {} s; request the object or its frames instead", .0.as_secs_f32())]
    RenderTimeout(Duration),
    /// The gateway cannot render the object.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// The archive responded with a status other than success.
    #[error("archive {archive} responded with status {}: {}", status.as_u16(), status_meaning(*status))]
    ErrorStatus {
        /// The archive.
        archive: ArchiveId,
        /// The status of its response.
        status: StatusCode,
        /// The Retry-After of its response, in seconds.
        retry_after: Option<u32>,
    },
    /// The archive responded with a success, but with nothing of the resource: without content, with an empty list, or with other objects.
    #[error(
        "archive {0} has no such resource: it responded without an error, but with nothing of what was requested"
    )]
    NothingReturned(ArchiveId),
    /// The archive does not have the frames, or rejected the request for them. An archive may respond in both ways if the instance has
    /// fewer frames (PS3.18 8.5).
    #[error(
        "archive {archive} responded with status {} to the request for {} {}: {}; the instance may have fewer frames",
        status.as_u16(),
        if frames.len() == 1 { "frame" } else { "frames" },
        frame_list(frames),
        status_meaning(*status)
    )]
    FramesErrorStatus {
        /// The archive.
        archive: ArchiveId,
        /// The status of its response, 400 or 404.
        status: StatusCode,
        /// The requested frames.
        frames: Vec<u32>,
    },
    /// The archive has the resource, but rejected every media type that the client accepts.
    #[error(
        "none of the media types in Accept is available for this resource: archive {archive} rejected them (status {})",
        status.as_u16()
    )]
    MediaTypesRejected {
        /// The archive.
        archive: ArchiveId,
        /// The status with which it rejected the first media type.
        status: StatusCode,
    },
    /// The archive did not respond, or its response cannot be forwarded.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Returns the ids, separated by commas.
pub fn comma_separated(archives: &[ArchiveId]) -> String {
    let ids: Vec<_> = archives.iter().map(ArchiveId::as_str).collect();
    ids.join(", ")
}

/// Returns the numbers, separated by commas; of many, only the first ones.
fn frame_list(frames: &[u32]) -> String {
    let numbers: Vec<_> = frames.iter().take(MAX_NAMED_FRAMES).map(ToString::to_string).collect();
    let rest = if frames.len() > MAX_NAMED_FRAMES { ", …" } else { "" };
    numbers.join(", ") + rest
}

fn rejection_text(rejection: Option<&(ArchiveId, StatusCode)>) -> String {
    rejection.map_or_else(String::new, |(archive, status)| {
        format!(": archive {archive} rejected them (status {})", status.as_u16())
    })
}

fn status_meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        201..=299 => "DICOMweb defines no such success",
        400 => "it reported that the request is not valid",
        401 | 403 => "it rejected the gateway's credentials, or asks for some and none are configured",
        407 => "a proxy in front of it asks for credentials, which the gateway cannot send",
        404 => "it has no such resource",
        406 => "it does not have the resource in an accepted media type",
        410 => "the resource was deleted",
        413 => "the response would be too large; request less",
        416 => "the requested range does not exist",
        429 | 503 => "it is temporarily unavailable; try again later",
        501 => "it does not support this service",
        500..=599 => "it failed",
        _ => "it rejected the request",
    }
}

impl From<StudiesError> for DicomwebError {
    fn from(error: StudiesError) -> Self {
        match error {
            StudiesError::Archive(error) => {
                let mut error = error.as_ref().clone();
                // The client would interpret 404 as a study that does not exist.
                if error.is_not_found() {
                    error.kind = ArchiveErrorKind::Rejected(StatusCode::NOT_FOUND);
                }
                Self::Archive(error)
            }
            StudiesError::TooManyRows { limit, .. } => Self::TooCostly { limit },
            StudiesError::TooManyToOpen { limit } => Self::TooManyCountQueries { limit },
            StudiesError::Interrupted(_) => Self::Interrupted,
            error => Self::Studies(error),
        }
    }
}

impl ArchiveFailure for DicomwebError {
    fn as_archive_failure(&self) -> Option<StudiesError> {
        match self {
            Self::Archive(error) => StudiesError::from(error.clone()).as_archive_failure(),
            Self::Studies(error) => error.as_archive_failure(),
            _ => None,
        }
    }
}

impl DicomwebError {
    /// Returns the error of a response of the archive with `status`, which is not a success.
    pub(super) fn from_status(archive: &Archive, status: StatusCode, headers: &HeaderMap) -> Self {
        Self::ErrorStatus { archive: archive.id().clone(), status, retry_after: retry_after(headers) }
    }

    /// Returns the error for a resource that the archive does not have, although its response is a success. It means the same as status
    /// 404.
    pub(super) fn nothing_returned(archive: &Archive) -> Self {
        Self::NothingReturned(archive.id().clone())
    }

    /// Adds the requested `frames` to the error, if an archive may not have them.
    pub(super) fn with_requested_frames(self, frames: &[u32]) -> Self {
        match self {
            Self::ErrorStatus { archive, status, .. } if matches!(status.as_u16(), 400 | 404) => {
                Self::FramesErrorStatus { archive, status, frames: frames.to_vec() }
            }
            error => error,
        }
    }

    /// Adds the media types that are `available` to the error, if none of those in `requested_in` is available.
    pub(super) fn with_available_types(self, requested_in: &'static str, available: &[&str]) -> Self {
        let (rejection, available) = match self {
            Self::NotAcceptable => (None, available.join(", ")),
            Self::ObjectMediaTypes { available } => (None, available.join(", ")),
            Self::MediaTypesRejected { archive, status } => (Some((archive, status)), available.join(", ")),
            error => return error,
        };
        Self::OtherMediaTypesAvailable { requested_in, rejection, available }
    }

    /// Whether the archive rejected the requested media types. Archives respond to an unavailable media type with 400, 406 or
    /// 415.
    pub(super) fn is_media_type_rejection(&self) -> bool {
        match self {
            Self::ErrorStatus { status, .. } => matches!(status.as_u16(), 400 | 406 | 415),
            Self::NotAcceptable | Self::MediaTypesRejected { .. } => true,
            _ => false,
        }
    }

    /// Whether the archive may have the same resource in another media type. An archive that fails for one media type, such as
    /// one that responds with 500 because it cannot transcode, may succeed for another. An archive that is unreachable or
    /// overloaded, that rejects the gateway, the range or the resource, does so for every media type.
    pub(super) fn is_specific_to_media_type(&self) -> bool {
        match self {
            Self::ErrorStatus { status, .. } => {
                !matches!(status.as_u16(), 401 | 403 | 404 | 407 | 410 | 416 | 429 | 503)
            }
            Self::Archive(ArchiveError { kind, .. }) => matches!(
                kind,
                ArchiveErrorKind::Redirected
                    | ArchiveErrorKind::Unreadable(_)
                    | ArchiveErrorKind::Malformed(_)
                    | ArchiveErrorKind::Rejected(_)
            ),
            Self::NotAcceptable | Self::MediaTypesRejected { .. } => true,
            _ => false,
        }
    }

    /// Whether a gateway or proxy in front of the archive responded for it (RFC 9110 15.6.3 and 15.6.5). The request may have
    /// caused a failure of the archive.
    pub(super) fn is_from_intermediary(&self) -> bool {
        matches!(self, Self::ErrorStatus { status, .. } if matches!(status.as_u16(), 502 | 504))
    }

    /// Whether the archive may not support the requested service: it responds as if the resource, the method or the media type
    /// did not exist, or with a media type that the client excludes.
    pub(super) fn is_unsupported_by_archive(&self) -> bool {
        match self {
            Self::ErrorStatus { status, .. } => matches!(status.as_u16(), 400 | 404 | 405 | 406 | 415 | 501),
            Self::NotAcceptable | Self::MediaTypesRejected { .. } | Self::NothingReturned(_) => true,
            _ => false,
        }
    }

    /// Whether the archive responded with 500.
    pub(super) fn is_internal_error_of_archive(&self) -> bool {
        matches!(self, Self::ErrorStatus { status, .. } if *status == StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Whether the archive redirected the request, which the gateway does not follow.
    pub(super) fn is_redirection(&self) -> bool {
        matches!(self, Self::Archive(error) if matches!(error.kind, ArchiveErrorKind::Redirected))
    }

    /// Whether an archive without the resource is the error, so that another archive may have it.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            Self::NotFound => true,
            Self::ErrorStatus { .. } | Self::NothingReturned(_) | Self::Archive(_) => self.is_not_found(),
            _ => false,
        }
    }

    /// Whether the archive has no search for studies at its URL.
    pub(super) fn is_wrong_url(&self) -> bool {
        matches!(self, Self::Archive(ArchiveError { kind: ArchiveErrorKind::NoSearchService(_), .. }))
    }

    /// Whether the archive does not have the resource.
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            Self::ErrorStatus { status, .. } => matches!(status.as_u16(), 404 | 410),
            Self::Archive(error) => error.is_not_found(),
            Self::NotFound
            | Self::NothingReturned(_)
            | Self::NoUriService(_)
            | Self::Path(PathError::Unknown) => true,
            Self::Render(error) => matches!(error, RenderError::NoSuchFrame { .. }),
            _ => false,
        }
    }
}
