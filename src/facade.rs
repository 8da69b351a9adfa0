//! The FHIR R4 facade: read and search of ImagingStudy, Patient and Endpoint, and what the server says of itself.
//!
//! Handlers take a request that is already routed and give a [`Response`]; what is wrong becomes a [`Failure`], which
//! [`refuse`] words as an OperationOutcome. Nothing here asks an archive or decides what matches.

mod answer;
mod bundle;
mod capabilities;
mod cursor;
mod endpoints;
mod format;
mod read;
mod request;
mod search;

pub use answer::refuse;
pub use request::FhirRequest;

use http::Response;

use crate::access::Access;
use crate::error::Failure;
use crate::fhir::search::ResourceType;
use crate::gateway::Gateway;
use crate::http::body::Body;

/// What is asked of the facade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction<'a> {
    /// `GET /fhir/metadata`.
    Capabilities,
    /// `GET /fhir/{type}/{id}`.
    Read(ResourceType, &'a str),
    /// `GET /fhir/{type}?…`.
    Search(ResourceType),
}

/// Answers one request, or says why not.
pub async fn handle(
    gateway: &Gateway,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Response<Body>, Failure> {
    let format = format::negotiate(request)?;
    let rendered = match interaction {
        Interaction::Capabilities => capabilities::statement(request)?,
        Interaction::Read(ResourceType::ImagingStudy, id) => {
            read::imaging_study(gateway, id, request, access).await?
        }
        Interaction::Read(ResourceType::Patient, id) => read::patient(gateway, id, request, access).await?,
        Interaction::Read(ResourceType::Endpoint, id) => read::endpoint(gateway, id, request)?,
        Interaction::Search(ResourceType::ImagingStudy) => {
            search::imaging_studies(gateway, request, access).await?
        }
        Interaction::Search(ResourceType::Patient) => search::patients(gateway, request, access).await?,
        Interaction::Search(ResourceType::Endpoint) => search::endpoints(gateway, request).await?,
    };
    Ok(answer::success(&rendered, format, request))
}
