//! Decides how the response of one archive is obtained: forwarded, or compared, synthesized or rendered here if the archive
//! cannot.
//!
//! The choice is a function of the request and the archive's profile; it needs no request to the archive. `response_cache`
//! caches responses.

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
use crate::upstream::{Archive, SearchLevel};
use http_messages::body::Body;

/// PS3.18 8.3.4.4: the list may be longer than the maximum, which is only known when it has been sent.
const LIMIT_REDUCED: HeaderValue = HeaderValue::from_static(
    "299 dicomweb-gateway \"The limit was reduced to the maximum. There may be additional results that can be requested\"",
);

/// How the response is obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Strategy {
    /// The archive's response is forwarded, without a fallback.
    ForwardOnly,
    /// The archive is searched for more than was requested, and its rows are compared here.
    CompareRows(SearchLevel),
    /// The image is rendered here; only the object is requested from the archive.
    Render,
    /// The resource is synthesized here from other resources of the archive.
    Synthesize,
    /// The archive's response is forwarded, with its rows completed if they lack attributes.
    Forward {
        /// The replacement if the archive lacks the service.
        fallback: Option<Fallback>,
    },
}

/// The replacement of a response whose service the archive lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fallback {
    Render,
    Synthesize,
}

impl Strategy {
    fn choose(
        archive: &Archive,
        request: &DicomwebRequest<'_>,
        proxied: &ProxyRequest,
    ) -> Result<Self, DicomwebError> {
        let resource = match request.target {
            Target::UriService => return Ok(Self::ForwardOnly),
            Target::Resource(resource) => resource,
        };
        if let Resource::Search(level) = resource
            && needs_comparison(archive, request, level)?
        {
            return Ok(Self::CompareRows(level.clone()));
        }
        if proxied.is_rendered_by_gateway(archive) {
            return Ok(Self::Render);
        }
        if synthesis::replaces(archive, resource) {
            return Ok(Self::Synthesize);
        }
        let fallback = if resource.is_for_people() {
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
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        respond(self.context, self.archive, public, request).await
    }
}

/// The response of `archive` to `request`. `public` is the archive's public URL.
async fn respond(
    context: &DicomwebContext,
    archive: &Archive,
    public: &str,
    request: &DicomwebRequest<'_>,
) -> Result<Response<Body>, DicomwebError> {
    let proxied = ProxyRequest::read(archive, public, request)?;
    if let Target::Resource(Resource::Search(level)) = request.target
        && let Some(empty) = SearchRequest::read(request, level)?.without_rows()
    {
        return Ok(empty);
    }
    let mut response = respond_as(
        Strategy::choose(archive, request, &proxied)?,
        context,
        archive,
        public,
        (request, &proxied),
    )
    .await?;
    if proxied.is_limit_reduced && response.status().is_success() {
        response.headers_mut().append(header::WARNING, LIMIT_REDUCED);
    }
    Ok(response)
}

/// The response of `archive` that is obtained in that way.
async fn respond_as(
    strategy: Strategy,
    context: &DicomwebContext,
    archive: &Archive,
    public: &str,
    (request, proxied): (&DicomwebRequest<'_>, &ProxyRequest),
) -> Result<Response<Body>, DicomwebError> {
    let limits = context.limits;
    match strategy {
        Strategy::ForwardOnly => fetch(archive, proxied).await,
        Strategy::CompareRows(level) => {
            merged_search::respond(&[archive], public, request, &level, context).await
        }
        Strategy::Render => rendering::render(archive, &context.render_pool, public, proxied).await,
        Strategy::Synthesize => synthesis::synthesize(archive, limits, proxied).await,
        Strategy::Forward { fallback } => {
            let rejection = match forward(archive, proxied).await {
                Err(rejection) if rejection.is_unsupported_by_archive() => rejection,
                response => return synthesis::complete_response(archive, limits, proxied, response?).await,
            };
            let replacement = match fallback {
                Some(Fallback::Render) => {
                    rendering::render(archive, &context.render_pool, public, proxied).await
                }
                Some(Fallback::Synthesize) => synthesis::synthesize(archive, limits, proxied).await,
                None => return Err(rejection),
            };
            match replacement {
                // The archive lacks the objects too, so its own rejection is more accurate.
                Err(error) if is_missing(&error, fallback) => Err(rejection),
                replacement => replacement,
            }
        }
    }
}

/// Whether the objects that a replacement is made from are missing.
fn is_missing(error: &DicomwebError, fallback: Option<Fallback>) -> bool {
    match fallback {
        Some(Fallback::Render) => matches!(error, DicomwebError::NotFound),
        Some(Fallback::Synthesize) => error.is_not_found(),
        None => false,
    }
}

/// Whether the archive can only be searched for more than was requested, so that rows have to be compared here.
fn needs_comparison(
    archive: &Archive,
    request: &DicomwebRequest<'_>,
    level: &SearchLevel,
) -> Result<bool, DicomwebError> {
    let narrowed = SearchRequest::read(request, level)?.query.narrowed_for(archive.profile());
    let narrowed = narrowed.map_err(|why| DicomwebError::UnsearchableValue(archive.id().clone(), why))?;
    Ok(!narrowed.filter.is_empty())
}

/// The archive's response; for a thumbnail that it lacks, its small rendered image.
async fn forward(archive: &Archive, proxied: &ProxyRequest) -> Result<Response<Body>, DicomwebError> {
    let in_json = synthesis::needs_completion(archive, proxied).then(|| proxied.in_json());
    let proxied = in_json.as_ref().unwrap_or(proxied);
    match fetch(archive, proxied).await {
        Err(rejection) if rejection.is_unsupported_by_archive() => match proxied.thumbnail_fallback() {
            Some(small) => fetch(archive, &small).await,
            None => Err(rejection),
        },
        response => response,
    }
}
