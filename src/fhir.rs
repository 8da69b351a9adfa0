//! The FHIR R4 REST API: read, history and search of ImagingStudy, Patient and Endpoint, batch, `$everything`, and the
//! CapabilityStatement.
//!
//! Handlers take a routed request and return a [`Response`]. An error becomes a [`Failure`], which [`error_response`] writes as
//! an OperationOutcome. Every response is written as JSON first, and is converted to the requested format last. The module does
//! not send requests to archives, and does not know how resources are compared with criteria.

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
pub use operation_parameters::parse_operation_parameters;
pub use request::FhirRequest;
pub use response::{error_response, options_response};

use http::{HeaderMap, HeaderValue, Response, header};

use crate::auth::Access;
use crate::encoded_resource::EncodedResource;
use crate::error::Failure;
use crate::routes::Interaction;
use crate::studies::Representation;
use fhir_r4::search::ResourceType;
use http_messages::body::Body;
use response_format::ResponseFormat;

/// Returns the response to a read without parameters, if the study is in the cache and fresh. Queries no archive, and needs no
/// public base URL.
pub fn cached_response(
    context: &FhirContext,
    id: &str,
    headers: &HeaderMap,
    access: &Access,
) -> Option<Response<Body>> {
    let format = ResponseFormat::from_headers(headers).ok().filter(ResponseFormat::is_compact_json)?;
    let uid = context.studies.parse_study_id(id)?;
    let study =
        context.studies.cached_study(&uid, &Representation::Full, access, request::freshness(headers))?;
    response::success_response(
        &context.studies.reuse_cached(&study, false),
        &format,
        headers,
        context.clock.now(),
    )
    .ok()
}

/// Responds to a batch. `body` is the Bundle of the request.
pub async fn handle_batch(
    context: &FhirContext,
    body: &[u8],
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    respond(context, request, batch::perform(context, body, request, access)).await
}

/// Responds to one request.
pub async fn handle(
    context: &FhirContext,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Response<Body> {
    // Boxed, because the future of the largest interaction is too large for the stack.
    let resource = Box::pin(perform(context, interaction, request, access));
    let mut response = respond(context, request, resource).await;
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

/// Awaits `resource`, and responds in the requested format.
async fn respond(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    resource: impl Future<Output = Result<EncodedResource, Failure>>,
) -> Response<Body> {
    let format = match ResponseFormat::from_request(request.headers, &request.pairs, Some(request.base())) {
        Ok(format) => format,
        Err(failure) => return response::error_response_in(&failure, &ResponseFormat::default()),
    };
    let response = success_response(context, request, resource, &format).await;
    response.unwrap_or_else(|failure| response::error_response_in(&failure, &format))
}

/// Awaits `resource`, and returns it as a response.
async fn success_response(
    context: &FhirContext,
    request: &FhirRequest<'_>,
    resource: impl Future<Output = Result<EncodedResource, Failure>>,
    format: &ResponseFormat,
) -> Result<Response<Body>, Failure> {
    let encoded = resource.await?;
    let now = context.clock.now();
    if format.is_compact_json() {
        return response::success_response(&encoded, format, request.headers, now);
    }
    // Converting a study of a thousand instances takes milliseconds, during which an async thread would be blocked.
    let (headers, format) = (request.headers.clone(), format.clone());
    let conversion =
        tokio::task::spawn_blocking(move || response::success_response(&encoded, &format, &headers, now));
    conversion.await.map_err(|_| Failure::internal())?
}

/// Performs an interaction, and returns its resource.
async fn perform(
    context: &FhirContext,
    interaction: Interaction<'_>,
    request: &FhirRequest<'_>,
    access: &Access,
) -> Result<EncodedResource, Failure> {
    let context = &context.for_interaction(request);
    Ok(match interaction {
        Interaction::Capabilities => capabilities::capability_statement(context, request)?,
        Interaction::Read(kind, id) => read::read_resource(context, kind, id, request, access).await?,
        Interaction::VersionRead(kind, id, version) => {
            // A resource without a part of its content has no version.
            let context = &context.requiring_every_archive();
            let current = read::read_resource(context, kind, id, request, access).await?;
            read::require_version(current, version)?
        }
        Interaction::History(kind, id) => {
            let context = &context.requiring_every_archive();
            history::read_history(context, kind, id, request, access).await?
        }
        Interaction::Search(ResourceType::ImagingStudy) => {
            search::search_studies(context, request, access, None).await?
        }
        Interaction::SearchCompartment(id, Some(_)) => {
            search::search_studies(context, request, access, Some(id)).await?
        }
        Interaction::SearchCompartment(id, None) => {
            search::search_types(context, request, access, Some(id)).await?
        }
        Interaction::SearchAll => search::search_types(context, request, access, None).await?,
        Interaction::Everything(id) => search::read_everything(context, request, access, id).await?,
        Interaction::Search(ResourceType::Patient) => {
            search::search_patients(context, request, access).await?
        }
        Interaction::Search(ResourceType::Endpoint) => {
            search::search_endpoints(context, request, access).await?
        }
    })
}
