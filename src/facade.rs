//! The FHIR R4 facade: read and search of ImagingStudy, Patient and Endpoint, and what the server says of itself.
//!
//! Handlers take a request that is already routed and give a [`Response`]; what is wrong becomes a [`Failure`], which
//! [`refuse`] words as an OperationOutcome. Nothing here asks an archive or decides what matches.

mod answer;
mod bundle;
mod capabilities;
mod endpoints;
mod format;
mod read;
mod request;
mod search;

pub use answer::{allowed, refuse};
pub use request::FhirRequest;

use http::{HeaderMap, HeaderValue, Response, header};

use crate::access::Access;
use crate::cache::{Form, Rendered};
use crate::dicom::StudyUid;
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
    /// `GET /fhir/{type}/{id}/_history/{version}`.
    VersionRead(ResourceType, &'a str, &'a str),
    /// `GET /fhir/{type}?…`.
    Search(ResourceType),
}

/// The answer to a read without parameters of a study that is remembered: nothing has to be asked, and no link is made.
pub fn remembered(
    gateway: &Gateway,
    id: &str,
    headers: &HeaderMap,
    access: &Access,
) -> Option<Response<Body>> {
    let format = format::accepted(headers)?;
    let uid = StudyUid::parse(id).ok()?;
    let study = gateway.studies.remembered(&uid, &Form::Full, access, request::freshness(headers))?;
    Some(answer::success(&study.rendered, format, false, headers, gateway.clock.now()))
}

/// Answers one request within the deadline, or says why not.
pub async fn handle(
    gateway: &Gateway,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Response<Body>, Failure> {
    let format = format::negotiate(request)?;
    let work = work_out(gateway, interaction, request, access);
    let rendered =
        tokio::time::timeout(gateway.request_timeout, work).await.map_err(|_| Failure::too_slow())??;
    let pretty = request.parameter("_pretty") == Some("true");
    let mut response = answer::success(&rendered, format, pretty, request.headers, gateway.clock.now());
    if let Interaction::VersionRead(kind, id, version) = interaction {
        let address = format!("{}/{kind}/{id}/_history/{version}", request.base());
        let address = HeaderValue::from_str(&address).map_err(|_| Failure::internal())?;
        response.headers_mut().insert(header::CONTENT_LOCATION, address);
    }
    Ok(response)
}

async fn work_out(
    gateway: &Gateway,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    Ok(match interaction {
        Interaction::Capabilities => capabilities::statement(request)?,
        Interaction::Read(kind, id) => read::resource(gateway, kind, id, request, access).await?,
        Interaction::VersionRead(kind, id, version) => {
            let current = read::resource(gateway, kind, id, request, access).await?;
            read::only_if(current, version)?
        }
        Interaction::Search(ResourceType::ImagingStudy) => {
            search::imaging_studies(gateway, request, access).await?
        }
        Interaction::Search(ResourceType::Patient) => search::patients(gateway, request, access).await?,
        Interaction::Search(ResourceType::Endpoint) => search::endpoints(gateway, request, access).await?,
    })
}
