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
mod written;

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
use written::Written;

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
    /// `GET /fhir?…`.
    SearchAll,
    /// `GET /fhir/Patient/{id}/{type}?…`; of all types without one.
    SearchCompartment(&'a str, Option<ResourceType>),
    /// `GET /fhir/Patient/{id}/$everything`.
    Everything(&'a str),
}

/// The answer to a read without parameters of a study that is remembered: nothing has to be asked, and no link is made.
pub fn remembered(
    gateway: &Gateway,
    id: &str,
    headers: &HeaderMap,
    access: &Access,
) -> Option<Response<Body>> {
    let written = Written::accepted(headers).ok().filter(|written| written.is_as_stored())?;
    let uid = StudyUid::parse(id).ok()?;
    let study = gateway.studies.remembered(&uid, &Form::Full, access, request::freshness(headers))?;
    answer::success(&study.rendered, written, headers, gateway.clock.now()).ok()
}

/// Answers one request within the deadline, or says why not.
pub async fn handle(
    gateway: &Gateway,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    let written = match Written::asked(request.headers, &request.pairs) {
        Ok(written) => written,
        Err(failure) => return answer::refuse_written(&failure, Written::default()),
    };
    let answer = answered(gateway, interaction, request, access, written).await;
    answer.unwrap_or_else(|failure| answer::refuse_written(&failure, written))
}

async fn answered(
    gateway: &Gateway,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
    written: Written,
) -> Result<Response<Body>, Failure> {
    let work = work_out(gateway, interaction, request, access);
    let rendered =
        tokio::time::timeout(gateway.request_timeout, work).await.map_err(|_| Failure::too_slow())??;
    let now = gateway.clock.now();
    let mut response = if written.is_as_stored() {
        answer::success(&rendered, written, request.headers, now)?
    } else {
        // A study of a thousand images takes milliseconds to write anew.
        let headers = request.headers.clone();
        let writing = tokio::task::spawn_blocking(move || answer::success(&rendered, written, &headers, now));
        writing.await.map_err(|_| Failure::internal())??
    };
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
        Interaction::Capabilities => capabilities::statement(&gateway.fhir.guides, request)?,
        Interaction::Read(kind, id) => read::resource(gateway, kind, id, request, access).await?,
        Interaction::VersionRead(kind, id, version) => {
            let current = read::resource(gateway, kind, id, request, access).await?;
            read::only_if(current, version)?
        }
        Interaction::Search(ResourceType::ImagingStudy) => {
            search::imaging_studies(gateway, request, access, None).await?
        }
        Interaction::SearchCompartment(id, Some(_)) => {
            search::imaging_studies(gateway, request, access, Some(id)).await?
        }
        Interaction::SearchCompartment(id, None) => {
            search::all_types(gateway, request, access, Some(id)).await?
        }
        Interaction::SearchAll => search::all_types(gateway, request, access, None).await?,
        Interaction::Everything(id) => search::everything(gateway, request, access, id).await?,
        Interaction::Search(ResourceType::Patient) => search::patients(gateway, request, access).await?,
        Interaction::Search(ResourceType::Endpoint) => search::endpoints(gateway, request, access).await?,
    })
}
