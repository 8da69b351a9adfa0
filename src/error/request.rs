//! Converts invalid requests to statuses. They are rejected before any archive is queried.

use http::StatusCode;

use super::{Failure, to_sentence};
use crate::routes::NoRoute;
use http_server::InvalidRequest;

impl From<NoRoute> for Failure {
    fn from(no_route: NoRoute) -> Self {
        match no_route {
            NoRoute::AmbiguousPath => Self::bad_request(
                "invalid",
                "The path contains dot segments, empty segments, escapes that could be read in more than one way, or characters that do not occur in URLs of this server.",
            ),
            NoRoute::PathTooLong => Self::new(
                StatusCode::URI_TOO_LONG,
                "too-long",
                "The path is longer than any path of this server; /fhir/metadata lists what it serves.",
            ),
            NoRoute::NotFound => Self::not_found(
                "This URL is not supported. FHIR is served under /fhir (/fhir/metadata lists resource types and operations), DICOMweb under /dicom-web/{archive}.",
            ),
            NoRoute::TrailingSlash => Self::not_found(
                "The path ends with a slash, but the path of the resource does not; remove the slash at the end of the path.",
            ),
            NoRoute::UnknownType => Self::not_supported(
                "This resource type is not supported; /fhir/metadata lists those that are.",
            ),
            NoRoute::UnknownOperation => {
                Self::not_supported("This operation is not supported; /fhir/metadata lists those that are.")
            }
            NoRoute::InvalidId => Self::not_found(
                "No resource has this id: an id consists of 1 to 64 letters, digits, hyphens and dots (R4 datatypes#id).",
            ),
            NoRoute::NoHistory => Self::not_supported(
                "The history of a type or of the whole system is not supported. The current version of a resource is in {type}/{id}/_history.",
            ),
            NoRoute::MethodNotAllowed { allow } => Self::method_not_allowed(
                allow,
                format!("This service is read-only. Allowed methods at this URL: {allow}."),
            ),
        }
    }
}

impl From<InvalidRequest> for Failure {
    fn from(error: InvalidRequest) -> Self {
        let code = match error {
            InvalidRequest::TargetTooLong | InvalidRequest::HeadTooLarge => "too-long",
            InvalidRequest::Method => "not-supported",
            InvalidRequest::Host
            | InvalidRequest::DifferentHosts
            | InvalidRequest::Target
            | InvalidRequest::Body => "invalid",
        };
        Self::new(error.status(), code, to_sentence(&error.to_string()))
    }
}
