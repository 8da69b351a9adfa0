//! Decides how the response of one archive is obtained: it is forwarded, or, if the archive does not support the request, its
//! rows are compared or its resources synthesized or rendered.
//!
//! The decision depends only on the request and the profile of the archive. This module does not cache responses;
//! `response_cache` does.

use http::{HeaderValue, Response, header};

use super::context::DicomwebContext;
use super::error::DicomwebError;
use super::merged_search::{self, SearchRequest};
use super::proxy::attempts::fetch;
use super::proxy::request::ProxyRequest;
use super::request::DicomwebRequest;
use super::request::path::{Resource, Target};
use super::response_cache::ResponseSource;
use super::{rendering, synthesis};
use crate::http::conditional::bypasses_cache;
use crate::upstream::{Archive, DicomResource, SearchLevel};
use http_messages::body::Body;

/// The warning of a list whose limit exceeds the maximum (PS3.18 8.3.4.4). It says "may", because it is sent before the length of the
/// list is known.
const LIMIT_REDUCED_WARNING: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"The limit was reduced to the maximum. There may be additional results that can be requested\"",
);

/// How the response is obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Strategy {
    /// The response of the archive is forwarded, without a fallback.
    ForwardOnly,
    /// The query is widened, and the rows of the archive are compared with the requested values; or it is split, and the rows are merged.
    CompareRows(SearchLevel),
    /// The image is rendered from the object, which is requested from the archive.
    Render,
    /// The resource is synthesized from other resources of the archive.
    Synthesize,
    /// The response of the archive is forwarded, and attributes that its rows lack are added.
    Forward {
        /// The replacement for the response, if the archive does not support the service.
        fallback: Option<Fallback>,
    },
}

/// The replacement for a response whose service the archive does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fallback {
    Render,
    Synthesize,
}

impl Strategy {
    fn choose(
        archive: &Archive,
        request: &DicomwebRequest<'_>,
        proxy_request: &ProxyRequest,
    ) -> Result<Self, DicomwebError> {
        let resource = match request.target {
            Target::UriService => return Ok(Self::ForwardOnly),
            Target::Resource(resource) => resource,
        };
        if let Resource::Search(level) = resource
            && needs_other_queries(archive, request, level)?
        {
            return Ok(Self::CompareRows(level.clone()));
        }
        if proxy_request.is_rendered_by_gateway(archive) {
            return Ok(Self::Render);
        }
        if synthesis::always_synthesizes(archive, resource) {
            return Ok(Self::Synthesize);
        }
        let fallback = if resource.has_rendered_media_type() {
            Some(Fallback::Render)
        } else {
            synthesis::can_synthesize(resource).then_some(Fallback::Synthesize)
        };
        Ok(Self::Forward { fallback })
    }
}

/// One archive as the source of responses.
#[derive(Debug)]
pub(super) struct ArchiveResponses<'a> {
    pub(super) context: &'a DicomwebContext,
    pub(super) archive: &'a Archive,
}

impl ResponseSource for ArchiveResponses<'_> {
    async fn fetch(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        respond(self.context, self.archive, public_url, request).await
    }
}

/// Responds to `request` from `archive`. `public_url` is the public URL of the archive.
async fn respond(
    context: &DicomwebContext,
    archive: &Archive,
    public_url: &str,
    request: &DicomwebRequest<'_>,
) -> Result<Response<Body>, DicomwebError> {
    let search = match request.target {
        Target::Resource(Resource::Search(level)) => Some(SearchRequest::read(request, level)?),
        _ => None,
    };
    // The archive is not asked for UIDs that its rule does not accept.
    if let Some(search) = &search
        && search.query.restricted_to(archive.uid_rule()).is_none()
    {
        return Ok(search.empty());
    }
    let proxy_request = ProxyRequest::read(archive, public_url, request, context.query_seal(archive))?;
    if let Some(empty) = search.and_then(|search| search.response_without_rows()) {
        return Ok(empty);
    }
    let mut response = respond_as(
        Strategy::choose(archive, request, &proxy_request)?,
        context,
        archive,
        public_url,
        (request, &proxy_request),
    )
    .await?;
    if proxy_request.is_limit_reduced && response.status().is_success() {
        response.headers_mut().append(header::WARNING, LIMIT_REDUCED_WARNING);
    }
    Ok(response)
}

/// Responds to the request with `strategy`.
async fn respond_as(
    strategy: Strategy,
    context: &DicomwebContext,
    archive: &Archive,
    public_url: &str,
    (request, proxy_request): (&DicomwebRequest<'_>, &ProxyRequest),
) -> Result<Response<Body>, DicomwebError> {
    let limits = context.limits;
    let frame_cache = (&context.frames, !bypasses_cache(request.headers));
    match strategy {
        Strategy::ForwardOnly => fetch(archive, proxy_request).await,
        Strategy::CompareRows(level) => {
            merged_search::respond(&[archive], public_url, request, &level, context, None).await
        }
        Strategy::Render => rendering::render(archive, &context.render_pool, public_url, proxy_request).await,
        Strategy::Synthesize => synthesis::synthesize(archive, limits, frame_cache, proxy_request).await,
        Strategy::Forward { fallback } => {
            let rejection = match forward(archive, proxy_request).await {
                Err(rejection) if is_replaceable(&rejection, &proxy_request.resource) => rejection,
                response => {
                    return synthesis::complete_response(archive, limits, proxy_request, response?).await;
                }
            };
            let replacement = match fallback {
                Some(Fallback::Render) => {
                    rendering::render(archive, &context.render_pool, public_url, proxy_request).await
                }
                Some(Fallback::Synthesize) => {
                    synthesis::synthesize(archive, limits, frame_cache, proxy_request).await
                }
                None => return Err(rejection),
            };
            match replacement {
                // The archive does not have the objects, so its rejection of the request is more accurate.
                Err(error) if lacks_objects(&error, fallback) => Err(rejection),
                replacement => replacement,
            }
        }
    }
}

/// Whether a replacement may succeed where the archive failed. Archives respond with 500 if they cannot extract frames in a transfer
/// syntax, and some redirect a thumbnail to a rendered image.
pub(super) fn is_replaceable(rejection: &DicomwebError, resource: &Resource) -> bool {
    match resource {
        Resource::Whole(DicomResource::Frames(..)) if rejection.is_internal_error_of_archive() => true,
        Resource::Rendered(_) | Resource::Thumbnail(_) if rejection.is_redirection() => true,
        _ => rejection.is_unsupported_by_archive(),
    }
}

/// Whether the archive does not have the objects from which a replacement is made.
fn lacks_objects(error: &DicomwebError, fallback: Option<Fallback>) -> bool {
    match fallback {
        Some(Fallback::Render) => matches!(error, DicomwebError::NotFound),
        Some(Fallback::Synthesize) => error.is_not_found(),
        None => false,
    }
}

/// Whether the query must be widened for the archive, so its rows must be compared with the requested values, or split, because the
/// archive does not support lists of so many UIDs.
fn needs_other_queries(
    archive: &Archive,
    request: &DicomwebRequest<'_>,
    level: &SearchLevel,
) -> Result<bool, DicomwebError> {
    let query = SearchRequest::read(request, level)?.query;
    if query.split_uid_lists(archive.profile().max_uids_per_client_query()).len() > 1 {
        return Ok(true);
    }
    // An empty list shows that an archive does not decode the escapes after all, so it must be seen.
    if archive.profile().is_probed && query.needs_escapes() {
        return Ok(true);
    }
    let narrowed = query.narrowed_for(&archive.profile());
    let narrowed =
        narrowed.map_err(|reason| DicomwebError::UnsearchableValue(archive.id().clone(), reason))?;
    Ok(!narrowed.filter.is_empty())
}

/// Fetches the response of the archive. If the archive does not support thumbnails, it is requested to render a small image.
async fn forward(archive: &Archive, proxy_request: &ProxyRequest) -> Result<Response<Body>, DicomwebError> {
    let in_json = synthesis::needs_completion(archive, proxy_request).then(|| proxy_request.in_json());
    let proxy_request = in_json.as_ref().unwrap_or(proxy_request);
    match fetch(archive, proxy_request).await {
        Err(rejection) if is_replaceable(&rejection, &proxy_request.resource) => {
            match proxy_request.thumbnail_fallback() {
                Some(small_image_request) => fetch(archive, &small_image_request).await,
                None => Err(rejection),
            }
        }
        response => response,
    }
}
