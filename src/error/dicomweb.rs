//! Converts failures of DICOMweb requests to statuses (PS3.18 8.5), and creates the error responses for DICOMweb clients.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use super::archive::dicomweb_status;
use super::{DEFAULT_RETRY_AFTER, Failure, to_sentence};
use crate::dicomweb::{DicomwebError, PathError, QueryError, comma_separated};
use crate::studies::StudiesError;
use dicom_render::{CodecError, RenderError};
use http_messages::body::{self, Body};

fn status(error: &DicomwebError) -> StatusCode {
    match error {
        DicomwebError::NotAcceptable
        | DicomwebError::OtherMediaTypesAvailable { .. }
        | DicomwebError::ObjectMediaTypes { .. }
        | DicomwebError::Query(QueryError::Charset)
        | DicomwebError::MultipleImages
        | DicomwebError::MediaTypesRejected { .. } => StatusCode::NOT_ACCEPTABLE,
        DicomwebError::SplitAcrossArchives { .. }
        | DicomwebError::UnsupportedRenderParameter(_)
        | DicomwebError::NotAnonymized(_)
        | DicomwebError::UnsearchableAttribute(_)
        | DicomwebError::UnsearchableValue(..) => StatusCode::NOT_IMPLEMENTED,
        DicomwebError::RenderPoolBusy => StatusCode::SERVICE_UNAVAILABLE,
        DicomwebError::RenderTimeout(_) | DicomwebError::Studies(StudiesError::LoadTimeout(_)) => {
            StatusCode::GATEWAY_TIMEOUT
        }
        DicomwebError::Render(error) => rendering_status(error),
        // PS3.18 table 10.6.3-1.
        DicomwebError::TooCostly { .. } | DicomwebError::TooManyCountQueries { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        DicomwebError::Studies(_) | DicomwebError::PatientConflict { .. } => StatusCode::BAD_GATEWAY,
        DicomwebError::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
        DicomwebError::Forbidden => StatusCode::FORBIDDEN,
        DicomwebError::NotFound
        | DicomwebError::NothingReturned(_)
        | DicomwebError::NoUriService(_)
        | DicomwebError::Path(PathError::Unknown) => StatusCode::NOT_FOUND,
        DicomwebError::Path(_) | DicomwebError::Query(_) | DicomwebError::Encoding(_) => {
            StatusCode::BAD_REQUEST
        }
        DicomwebError::ErrorStatus { status, .. } | DicomwebError::FramesErrorStatus { status, .. } => {
            forwarded_status(*status)
        }
        DicomwebError::Archive(error) => dicomweb_status(error.class()),
    }
}

/// Forwards the status of the archive if it concerns the request of the client. A status that concerns the request of the
/// gateway (its credentials, its method), or that PS3.18 does not define, is reported as a failure of the archive.
fn forwarded_status(status: StatusCode) -> StatusCode {
    match status.as_u16() {
        400 | 404 | 406 | 410 | 413 | 414 | 415 | 416 | 501 | 504 => status,
        429 | 503 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn rendering_status(error: &RenderError) -> StatusCode {
    match error {
        RenderError::NoImage => StatusCode::NOT_ACCEPTABLE,
        RenderError::NoSuchFrame { .. } => StatusCode::NOT_FOUND,
        RenderError::OutsideOfImage | RenderError::ViewportTooSmall => StatusCode::BAD_REQUEST,
        RenderError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RenderError::TransferSyntax(_)
        | RenderError::Unsupported(_)
        | RenderError::Codec(CodecError::Unsupported(_)) => StatusCode::NOT_IMPLEMENTED,
        // The object of the archive is malformed.
        RenderError::Malformed(_) | RenderError::Codec(_) => StatusCode::BAD_GATEWAY,
    }
}

fn retry_after(error: &DicomwebError) -> Option<Duration> {
    match error {
        DicomwebError::Archive(error) => error.retry_after(),
        DicomwebError::ErrorStatus { retry_after: Some(seconds), status, .. }
            if forwarded_status(*status) == StatusCode::SERVICE_UNAVAILABLE =>
        {
            Some(Duration::from_secs((*seconds).into()))
        }
        error => (status(error) == StatusCode::SERVICE_UNAVAILABLE).then_some(DEFAULT_RETRY_AFTER),
    }
}

impl From<&DicomwebError> for Failure {
    fn from(error: &DicomwebError) -> Self {
        // The issue codes are those of FHIR; a DICOMweb response contains the sentence only.
        Self::new(status(error), "processing", to_sentence(&error.to_string()))
            .with_retry_after(retry_after(error))
            .with_cause(archive(error), error.to_string())
    }
}

/// Returns the archive that caused the error, or the archives, separated by commas.
fn archive(error: &DicomwebError) -> Option<String> {
    match error {
        DicomwebError::Archive(error) => Some(error.archive.to_string()),
        DicomwebError::ErrorStatus { archive, .. }
        | DicomwebError::FramesErrorStatus { archive, .. }
        | DicomwebError::MediaTypesRejected { archive, .. }
        | DicomwebError::NotAnonymized(archive)
        | DicomwebError::NothingReturned(archive)
        | DicomwebError::UnsearchableValue(archive, _) => Some(archive.to_string()),
        DicomwebError::PatientConflict { archives } | DicomwebError::SplitAcrossArchives { archives, .. } => {
            Some(comma_separated(archives))
        }
        _ => None,
    }
}

/// Creates the error response for a DICOMweb client (PS3.18 8.5): the status, and a message for people.
pub fn error_response(failure: &Failure) -> Response<Body> {
    let sentences: Vec<_> = failure.issues.iter().map(|issue| issue.diagnostics.as_ref()).collect();
    let message = serde_json::json!({ "status": failure.status.as_u16(), "message": sentences.join(" ") });
    let mut response = Response::new(body::full(message.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    failure.add_to_response(&mut response);
    response
}
