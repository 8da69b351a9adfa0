//! The FHIR R4 REST API: read and search of ImagingStudy, Patient and Endpoint, batch, `$everything`, and the
//! CapabilityStatement.
//!
//! Handlers take a routed request and return a [`Response`]; errors become a [`Failure`], which [`refuse`] writes as an
//! OperationOutcome. Every response is made as JSON first, and converted to another format last. The module neither queries
//! archives nor decides what matches.

mod batch;
mod bundle;
mod capabilities;
mod context;
mod endpoints;
mod format;
mod html;
mod read;
mod request;
mod response;
mod response_format;
mod search;

pub use context::FhirContext;
pub use request::FhirRequest;
pub use response::{allowed, refuse};

use http::{HeaderMap, HeaderValue, Response, header};

use crate::auth::Access;
use crate::encoded_resource::Rendered;
use crate::error::Failure;
use crate::routes::Interaction;
use crate::studies::Form;
use dicom_model::StudyUid;
use fhir_r4::search::ResourceType;
use http_messages::body::Body;
use response_format::ResponseFormat;

/// The response to a read without parameters of a cached, fresh study: no archive is queried, and no link is made.
pub fn remembered(
    context: &FhirContext,
    id: &str,
    headers: &HeaderMap,
    access: &Access,
) -> Option<Response<Body>> {
    let written = ResponseFormat::accepted(headers).ok().filter(ResponseFormat::is_as_stored)?;
    let uid = StudyUid::parse(id).ok()?;
    let study = context.studies.remembered(&uid, &Form::Full, access, request::freshness(headers))?;
    response::success(&study.rendered, &written, headers, context.clock.now()).ok()
}

/// Responds to a batch; `body` is the Bundle of the request.
pub async fn handle_batch(
    context: &FhirContext,
    body: &[u8],
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    respond(context, request, batch::answered(context, body, request, access)).await
}

/// Responds to one request within the deadline.
pub async fn handle(
    context: &FhirContext,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    // The future of the largest interaction is too large to be returned by value.
    let work = Box::pin(work_out(context, interaction, request, access));
    let mut response = respond(context, request, work).await;
    if let Interaction::VersionRead(kind, id, version) = interaction
        && !response.status().is_client_error()
        && !response.status().is_server_error()
        && let Ok(address) =
            HeaderValue::from_str(&format!("{}/{kind}/{id}/_history/{version}", request.base()))
    {
        response.headers_mut().insert(header::CONTENT_LOCATION, address);
    }
    response
}

async fn respond(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    work: impl Future<Output = Result<Rendered, Failure>>,
) -> Response<Body> {
    let written = match ResponseFormat::asked(request.headers, &request.pairs, Some(request.base())) {
        Ok(written) => written,
        Err(failure) => return response::refuse_written(&failure, &ResponseFormat::default()),
    };
    let answer = answered(context, request, work, &written).await;
    answer.unwrap_or_else(|failure| response::refuse_written(&failure, &written))
}

async fn answered(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    work: impl Future<Output = Result<Rendered, Failure>>,
    written: &ResponseFormat,
) -> Result<Response<Body>, Failure> {
    let rendered =
        tokio::time::timeout(context.request_timeout, work).await.map_err(|_| Failure::too_slow())??;
    let now = context.clock.now();
    if written.is_as_stored() {
        return response::success(&rendered, written, request.headers, now);
    }
    // Converting a study of a thousand images takes milliseconds.
    let (headers, written) = (request.headers.clone(), written.clone());
    let writing = tokio::task::spawn_blocking(move || response::success(&rendered, &written, &headers, now));
    writing.await.map_err(|_| Failure::internal())?
}

async fn work_out(
    context: &FhirContext,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<Rendered, Failure> {
    Ok(match interaction {
        Interaction::Capabilities => capabilities::statement(&context.guides, request)?,
        Interaction::Read(kind, id) => read::resource(context, kind, id, request, access).await?,
        Interaction::VersionRead(kind, id, version) => {
            let current = read::resource(context, kind, id, request, access).await?;
            read::only_if(current, version)?
        }
        Interaction::Search(ResourceType::ImagingStudy) => {
            search::imaging_studies(context, request, access, None).await?
        }
        Interaction::SearchCompartment(id, Some(_)) => {
            search::imaging_studies(context, request, access, Some(id)).await?
        }
        Interaction::SearchCompartment(id, None) => {
            search::all_types(context, request, access, Some(id)).await?
        }
        Interaction::SearchAll => search::all_types(context, request, access, None).await?,
        Interaction::Everything(id) => search::everything(context, request, access, id).await?,
        Interaction::Search(ResourceType::Patient) => search::patients(context, request, access).await?,
        Interaction::Search(ResourceType::Endpoint) => search::endpoints(context, request, access).await?,
    })
}
