//! Sends a request to an archive once for each media type that the client accepts, until the archive returns one of them, or an
//! error that does not depend on the media type (RFC 9110 12.5.1).
//!
//! The module does not synthesize responses that the archive does not provide. `response_strategy` does.

use http::Response;

use super::request::{Attempt, ProxyRequest};
use super::response;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;
use http_messages::body::Body;

/// Returns the response of the archive to `request`, or the first rejection if the archive rejects every media type. A rendered
/// image whose response was lost is not requested again, because rendering is expensive.
pub(crate) async fn fetch(
    archive: &Archive,
    request: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    let mut rejections = Rejections::default();
    for attempt in request.attempts() {
        match send_attempt(archive, request, &attempt).await {
            Err(rejection)
                if request.resource.has_rendered_media_type() && rejection.is_from_intermediary() =>
            {
                return Err(rejection);
            }
            Err(rejection) if rejection.is_specific_to_media_type() => rejections.add(rejection),
            response => return response,
        }
    }
    Err(rejections.into_error(request.specifies_media_types()))
}

/// Sends one attempt, and forwards the response.
async fn send_attempt(
    archive: &Archive,
    request: &ProxyRequest,
    attempt: &Attempt,
) -> Result<Response<Body>, DicomwebError> {
    let upstream = archive.send(attempt.request.clone()).await?;
    response::forward(archive, request, attempt, upstream).await
}

/// The responses with which an archive rejected the requested media types.
#[derive(Debug, Default)]
struct Rejections {
    /// The first rejection.
    first_rejection: Option<DicomwebError>,
    /// Whether the reason for at least one rejection is not the media type.
    has_other_reason: bool,
}

impl Rejections {
    fn add(&mut self, rejection: DicomwebError) {
        self.has_other_reason |= !rejection.is_media_type_rejection();
        self.first_rejection.get_or_insert(rejection);
    }

    /// Returns the first rejection as an error. Some archives respond with 400 to an unsupported media type. If the client specified
    /// the media types and all of them were rejected, the request is well-formed, so the client gets 406 and can send another media
    /// type.
    fn into_error(self, are_types_specified: bool) -> DicomwebError {
        match self.first_rejection {
            Some(DicomwebError::ErrorStatus { archive, status, .. })
                if are_types_specified && !self.has_other_reason =>
            {
                DicomwebError::MediaTypesRejected { archive, status }
            }
            rejection => rejection.unwrap_or(DicomwebError::NotAcceptable),
        }
    }
}
