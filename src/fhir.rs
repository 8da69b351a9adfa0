//! The FHIR R4 REST API: read, history and search of ImagingStudy, Patient and Endpoint, batch, `$everything`, and the
//! CapabilityStatement.
//!
//! Handlers take a routed request and return a [`Response`]; errors become a [`Failure`], which [`error_response`] writes as an
//! OperationOutcome. Every response is made as JSON first, and converted to another format last. The module neither queries
//! archives nor decides what matches.

mod batch;
mod bundle;
mod capabilities;
mod context;
mod endpoints;
mod format_negotiation;
mod history;
mod html;
mod operation_parameters;
mod read;
mod request;
mod response;
mod response_format;
mod search;

pub use context::FhirContext;
pub use operation_parameters::operation_parameters;
pub use request::FhirRequest;
pub use response::{allowed, error_response};

use http::{HeaderMap, HeaderValue, Response, header};

use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::routes::Interaction;
use crate::studies::Representation;
use dicom_model::StudyUid;
use fhir_r4::search::ResourceType;
use http_messages::body::Body;
use response_format::ResponseFormat;

/// The response to a read without parameters, if the study is cached and fresh: no archive is queried, and no link is made.
pub fn cached_response(
    context: &FhirContext,
    id: &str,
    headers: &HeaderMap,
    access: &Access,
) -> Option<Response<Body>> {
    let format = ResponseFormat::of_headers(headers).ok().filter(ResponseFormat::is_as_stored)?;
    let uid = StudyUid::parse(id).ok()?;
    let study =
        context.studies.cached_study(&uid, &Representation::Full, access, request::freshness(headers))?;
    response::success(&study.encoded, &format, headers, context.clock.now()).ok()
}

/// Responds to a batch; `body` is the Bundle of the request.
pub async fn handle_batch(
    context: &FhirContext,
    body: &[u8],
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    respond(context, request, batch::perform(context, body, request, access)).await
}

/// Responds to one request within the deadline.
pub async fn handle(
    context: &FhirContext,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    // The future of the largest interaction is too large to be returned by value.
    let work = Box::pin(perform(context, interaction, request, access));
    let mut response = respond(context, request, work).await;
    if let Interaction::VersionRead(kind, id, version) = interaction
        && !response.status().is_client_error()
        && !response.status().is_server_error()
        && let Ok(location) =
            HeaderValue::from_str(&format!("{}/{kind}/{id}/_history/{version}", request.base()))
    {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    response
}

async fn respond(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    work: impl Future<Output = Result<EncodedResource, Failure>>,
) -> Response<Body> {
    let format = match ResponseFormat::of_request(request.headers, &request.pairs, Some(request.base())) {
        Ok(format) => format,
        Err(failure) => return response::error_response_in(&failure, &ResponseFormat::default()),
    };
    let response = respond_in_time(context, request, work, &format).await;
    response.unwrap_or_else(|failure| response::error_response_in(&failure, &format))
}

/// The response to the outcome of `work`, or a failure when the deadline has passed.
async fn respond_in_time(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    work: impl Future<Output = Result<EncodedResource, Failure>>,
    format: &ResponseFormat,
) -> Result<Response<Body>, Failure> {
    let encoded =
        tokio::time::timeout(context.request_timeout, work).await.map_err(|_| Failure::timed_out())??;
    let now = context.clock.now();
    if format.is_as_stored() {
        return response::success(&encoded, format, request.headers, now);
    }
    // Converting a study of a thousand images takes milliseconds.
    let (headers, format) = (request.headers.clone(), format.clone());
    let writing = tokio::task::spawn_blocking(move || response::success(&encoded, &format, &headers, now));
    writing.await.map_err(|_| Failure::internal())?
}

/// Performs an interaction.
async fn perform(
    context: &FhirContext,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    Ok(match interaction {
        Interaction::Capabilities => capabilities::statement(context, request)?,
        Interaction::Read(kind, id) => read::resource(context, kind, id, request, access).await?,
        Interaction::VersionRead(kind, id, version) => {
            let current = read::resource(context, kind, id, request, access).await?;
            read::require_version(current, version)?
        }
        Interaction::History(kind, id) => history::instance(context, kind, id, request, access).await?,
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
