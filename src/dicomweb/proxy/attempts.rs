//! Sends a request to an archive, one acceptable media type after the other, until the archive responds with one, or with an
//! error that holds for all of them (RFC 9110 12.5.1).
//!
//! Does not replace what the archive lacks: `response_strategy` does.

use http::Response;

use super::request::{Attempt, ProxyRequest};
use super::response;
use crate::dicomweb::error::DicomwebError;
use crate::upstream::Archive;
use http_messages::body::Body;

/// The archive's response to `request`; the first rejection when the archive rejected every media type. Rendering is expensive:
/// it is not requested again if its response was lost.
pub(crate) async fn fetch(
    archive: &Archive,
    request: &ProxyRequest,
) -> Result<Response<Body>, DicomwebError> {
    let mut rejections = Rejections::default();
    for attempt in request.attempts() {
        match fetch_as(archive, request, &attempt).await {
            Err(rejection) if request.resource.is_for_people() && rejection.is_of_lost_response() => {
                return Err(rejection);
            }
            Err(rejection) if rejection.leaves_other_media_types() => rejections.add(rejection),
            response => return response,
        }
    }
    Err(rejections.into_error(request.names_media_types()))
}

async fn fetch_as(
    archive: &Archive,
    request: &ProxyRequest,
    attempt: &Attempt,
) -> Result<Response<Body>, DicomwebError> {
    let upstream = archive.send(attempt.request.clone()).await?;
    response::forward(archive, request, attempt, upstream).await
}

/// How an archive rejected the requested media types.
#[derive(Debug, Default)]
struct Rejections {
    first: Option<DicomwebError>,
    /// Whether one of them had another reason than the media type.
    has_other_reason: bool,
}

impl Rejections {
    fn add(&mut self, rejection: DicomwebError) {
        self.has_other_reason |= !rejection.is_media_type_rejection();
        self.first.get_or_insert(rejection);
    }

    /// The first rejection. Archives respond with 400, too, to a media type that they do not have; where the client named media
    /// types and every one was rejected, the request is well formed, and 406 lets the client try another.
    fn into_error(self, named_by_client: bool) -> DicomwebError {
        match self.first {
            Some(DicomwebError::Refused { archive, status, .. })
                if named_by_client && !self.has_other_reason =>
            {
                DicomwebError::MediaTypesRejected { archive, status }
            }
            first => first.unwrap_or(DicomwebError::NotAcceptable),
        }
    }
}
