//! Caches small responses that viewers request often: metadata of a series or an instance, and thumbnails.
//!
//! Complete responses without a warning are stored in the cache of the gateway, independently of the caller. Their URLs have a
//! reserved host (RFC 2606 2), which is replaced by the public URL for each caller. A fresh response is served without a request
//! to the archive. A stale response is revalidated by its validator (RFC 9110 13), or, without a validator, by the fingerprint of
//! the rows of its objects, for a limited time. The rows are requested before the response, so that no change between the two is
//! missed. A response that was requested without rows is requested again when it is stale.

mod body_collector;
mod cached_response;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use url::Url;

use self::body_collector::BodyCollector;
use self::cached_response::CachedResponse;
use super::error::DicomwebError;
use super::proxy::filtered_body::FilteredBody;
use super::proxy::response_headers::{rewrite_location, set_common_headers};
use super::proxy::stream::Filter;
use super::request::DicomwebRequest;
use super::request::path::{Resource, Target};
use super::url_rewrite::syntax::Syntax;
use super::url_rewrite::text::Rewriter;
use super::url_rewrite::url_map::UrlMap;
use crate::cache::Cache;
use crate::fingerprint::Fingerprint;
use crate::http::conditional::{bypasses_cache, is_not_modified};
use crate::http::negotiation;
use crate::telemetry::{CacheOutcome, Metrics};
use crate::upstream::{
    Archive, ArchiveId, DicomResource, MatchValue, QidoQuery, SearchLevel, UpstreamRequest,
};
use dicom_model::{Attributes, StudyUid, tags};
use http_messages::body::{self, Body};

/// Maximum length of a key in bytes. The key contains `Accept`, which is shorter in all viewers.
const MAX_KEY_LEN: usize = 1024;

/// The source of responses that are not cached.
pub(super) trait ResponseSource: Sync {
    /// Fetches the response to `request`, with URLs that begin with `public_url`.
    fn fetch(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
    ) -> impl Future<Output = Result<Response<Body>, DicomwebError>> + Send;
}

/// The cached responses.
#[derive(Debug, Clone)]
pub struct ResponseCache {
    cache: Cache,
    /// Maximum size of a cached response in bytes.
    max_size: usize,
    /// Maximum age at which unchanged rows confirm a response. Rows do not show every change of the objects.
    row_lifetime: Duration,
    metrics: Metrics,
}

/// The time at which a response was requested from the archive: the time of the clock, and the generation of the cache.
#[derive(Debug, Clone, Copy)]
struct RequestTime {
    elapsed: Duration,
    generation: u64,
}

/// A request whose response can be cached.
struct CacheableRequest {
    objects: DicomResource,
    /// Whether the response is text, which contains URLs.
    is_text: bool,
    key: String,
}

impl CacheableRequest {
    /// Reads the request; `None` if responses to such a request are not cached, or may be large.
    fn read(request: &DicomwebRequest<'_>) -> Option<Self> {
        let Target::Resource(resource) = request.target else { return None };
        let (objects, is_text) = match resource {
            Resource::Metadata(objects @ (DicomResource::Series(..) | DicomResource::Instance(..))) => {
                (objects.clone(), true)
            }
            Resource::Thumbnail(objects) => (objects.clone(), false),
            _ => return None,
        };
        let accept = request.headers.get(header::ACCEPT).map(|accept| accept.to_str().unwrap_or("?"));
        let query = request.query.unwrap_or_default();
        let key = format!("{}?{query} {}", request.path, accept.unwrap_or("*/*"));
        let is_without_range = !request.headers.contains_key(header::RANGE);
        let has_single_accept = request.headers.get_all(header::ACCEPT).iter().count() < 2;
        let is_get = *request.method == Method::GET;
        (is_get && is_without_range && has_single_accept && key.len() <= MAX_KEY_LEN).then_some(Self {
            objects,
            is_text,
            key,
        })
    }
}

/// Responds to `request` with the cached response, or with that of the archive, which is cached if possible. `public_url` is the
/// public URL of the archive.
pub(super) async fn respond(
    responses: &ResponseCache,
    archive: &Archive,
    public_url: &str,
    request: &DicomwebRequest<'_>,
    source: &impl ResponseSource,
) -> Result<Response<Body>, DicomwebError> {
    let Some(cacheable) = CacheableRequest::read(request) else {
        return source.fetch(public_url, request).await;
    };
    let request_time =
        RequestTime { elapsed: responses.cache.elapsed(), generation: responses.cache.generation() };
    let cached: Option<Arc<CachedResponse>> = responses
        .cache
        .get(CachedResponse::key(archive.id(), &cacheable.key))
        .filter(|_| !bypasses_cache(request.headers));
    let mut fingerprint = None;
    if let Some(cached) = cached {
        if responses.cache.is_fresh(cached.validated_at) {
            return Ok(responses.serve(CacheOutcome::Hit, &cached, archive, public_url, request));
        }
        let is_current = if cached.validators.is_empty() {
            fingerprint = rows_fingerprint(archive, &cacheable.objects).await;
            let is_confirmable = responses.cache.age(cached.requested_at) < responses.row_lifetime;
            is_confirmable && fingerprint.is_some() && fingerprint == cached.fingerprint
        } else {
            let headers = cached.with_conditions(request.headers);
            let conditional = DicomwebRequest { headers: &headers, ..*request };
            let response = source.fetch(&placeholder_root(archive), &conditional).await?;
            if response.status() != StatusCode::NOT_MODIFIED {
                responses.metrics.response_cache_looked_up(CacheOutcome::Miss);
                return Ok(responses.store(
                    &cacheable,
                    archive,
                    public_url,
                    request,
                    response,
                    (request_time, None),
                ));
            }
            true
        };
        if is_current {
            let cached = Arc::new(CachedResponse {
                validated_at: request_time.elapsed,
                ..CachedResponse::clone(&cached)
            });
            if responses.cache.generation() == request_time.generation {
                let key = CachedResponse::key(archive.id(), &cacheable.key);
                responses.cache.insert(key, Arc::clone(&cached));
            }
            return Ok(responses.serve(CacheOutcome::Revalidated, &cached, archive, public_url, request));
        }
    }
    responses.metrics.response_cache_looked_up(CacheOutcome::Miss);
    let response = source.fetch(&placeholder_root(archive), request).await?;
    Ok(responses.store(&cacheable, archive, public_url, request, response, (request_time, fingerprint)))
}

impl ResponseCache {
    /// Creates a cache of responses of at most `max_size` bytes in `cache`, which unchanged rows confirm for `row_lifetime`.
    pub fn new(cache: Cache, max_size: u64, row_lifetime: Duration, metrics: Metrics) -> Self {
        Self { cache, max_size: usize::try_from(max_size).unwrap_or(usize::MAX), row_lifetime, metrics }
    }

    /// Removes the responses that `is_selected` selects by archive and study, and returns their number. The
    /// [generation](Cache::start_generation) of the cache must have been started before.
    pub fn invalidate(&self, is_selected: impl Fn(&ArchiveId, &StudyUid) -> bool) -> usize {
        let entries = self.cache.entries::<CachedResponse>().into_iter();
        let selected = entries.filter(|(_, response)| is_selected(&response.archive, &response.study));
        selected.map(|(key, _)| self.cache.remove::<CachedResponse>(key)).count()
    }

    fn serve(
        &self,
        outcome: CacheOutcome,
        cached: &CachedResponse,
        archive: &Archive,
        public_url: &str,
        request: &DicomwebRequest<'_>,
    ) -> Response<Body> {
        self.metrics.response_cache_looked_up(outcome);
        let mut headers = HeaderMap::new();
        set_common_headers(&mut headers);
        headers.extend(cached.validators.clone());
        headers.insert(header::AGE, self.cache.age(cached.validated_at).as_secs().into());
        let etag = cached.validators.get(header::ETAG);
        let mut response = if etag.is_some_and(|etag| is_not_modified(request.headers, etag.as_bytes(), None))
        {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            headers.insert(header::CONTENT_TYPE, cached.content_type.clone());
            Response::new(body::full(cached.bytes.clone()))
        };
        *response.headers_mut() = headers;
        with_public_urls(archive, public_url, request, response)
    }

    /// Forwards `response`, and caches it when it is complete.
    fn store(
        &self,
        cacheable: &CacheableRequest,
        archive: &Archive,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        response: Response<Body>,
        (request_time, fingerprint): (RequestTime, Option<Fingerprint>),
    ) -> Response<Body> {
        let headers = response.headers();
        let content_type = headers.get(header::CONTENT_TYPE).filter(|_| response.status() == StatusCode::OK);
        let content_type =
            content_type.filter(|content_type| is_cacheable(content_type, cacheable.is_text)).cloned();
        let length = response.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let fits = length.is_none_or(|length| length <= self.max_size);
        let is_storable =
            !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::WARNING);
        let Some(content_type) = content_type.filter(|_| fits && is_storable) else {
            return with_public_urls(archive, public_url, request, response);
        };
        let validators = [header::ETAG, header::LAST_MODIFIED];
        let validators =
            validators.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
        let validators = validators.collect();
        let (cache, key) = (self.cache.clone(), CachedResponse::key(archive.id(), &cacheable.key));
        let (archive_id, study) = (archive.id().clone(), cacheable.objects.study().clone());
        let insert = move |bytes: Bytes| {
            if cache.generation() != request_time.generation {
                return;
            }
            let response = CachedResponse {
                archive: archive_id,
                study,
                content_type,
                validators,
                bytes,
                fingerprint,
                requested_at: request_time.elapsed,
                validated_at: request_time.elapsed,
            };
            cache.insert(key, Arc::new(response));
        };
        let response =
            response.map(|body| body::streamed(BodyCollector::observe_body(body, self.max_size, insert)));
        with_public_urls(archive, public_url, request, response)
    }
}

/// Whether a response of this type can be cached: rows in JSON, or an image.
fn is_cacheable(content_type: &HeaderValue, is_text: bool) -> bool {
    let range = content_type.to_str().ok().and_then(negotiation::MediaRange::parse);
    range.is_some_and(|range| {
        let is_json = matches!(range.essence.as_str(), "application/dicom+json" | "application/json");
        if is_text { is_json } else { range.essence.starts_with("image/") }
    })
}

/// Returns the root of URLs in cached responses.
fn placeholder_root(archive: &Archive) -> String {
    format!("http://gateway.invalid/dicom-web/{}", archive.id())
}

/// Replaces the root of URLs in `response` by the public URL for the caller.
fn with_public_urls(
    archive: &Archive,
    public_url: &str,
    request: &DicomwebRequest<'_>,
    mut response: Response<Body>,
) -> Response<Body> {
    // The URL is valid for every archive id.
    let Ok(root) = Url::parse(&placeholder_root(archive)) else { return response };
    let url_map = UrlMap::new(public_url, &root, &root, request.path).with_uid_rule(archive.uid_rule());
    let location = response.headers_mut().remove(header::CONTENT_LOCATION);
    if let Some(location) = location.and_then(|location| rewrite_location(&location, &url_map)) {
        response.headers_mut().insert(header::CONTENT_LOCATION, location);
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let syntax = match content_type
        .and_then(|content_type| negotiation::MediaRange::parse(content_type.to_str().ok()?))
    {
        Some(range) if range.essence.ends_with("json") => Syntax::Json,
        Some(range) if range.essence.starts_with("image/") => return response,
        _ => Syntax::Xml,
    };
    response.map(|body| {
        let rewriter = Filter::Urls(Box::new(Rewriter::new(url_map, syntax)));
        body::streamed(FilteredBody::new(body, rewriter))
    })
}

/// Requests the fingerprint of the rows of `objects`. Returns `None` if there are no rows, or if a row has no count: a new instance
/// would not change the fingerprint.
async fn rows_fingerprint(archive: &Archive, objects: &DicomResource) -> Option<Fingerprint> {
    let (level, tag, uid, count) = match objects {
        DicomResource::Study(study) => {
            let count = tags::NUMBER_OF_STUDY_RELATED_INSTANCES;
            (SearchLevel::Studies, tags::STUDY_INSTANCE_UID, study.uid(), count)
        }
        DicomResource::Series(study, series)
        | DicomResource::Instance(study, series, _)
        | DicomResource::Frames(study, series, ..) => {
            let count = tags::NUMBER_OF_SERIES_RELATED_INSTANCES;
            (SearchLevel::Series { study: study.clone() }, tags::SERIES_INSTANCE_UID, series.uid(), count)
        }
    };
    let query = QidoQuery::new(level).matching(tag, MatchValue::uid(uid)).include(&[count]);
    let mut rows: Vec<Attributes> = Vec::new();
    // Some archives return rows that were not requested.
    let is_requested = |row: &Attributes| row.text(tag) == Some(uid.as_str());
    let add = |row: Attributes| rows.extend(is_requested(&row).then_some(row));
    let end = archive.rows(UpstreamRequest::search(query), add).await;
    let has_counts = !rows.is_empty() && rows.iter().all(|row| row.integer(count).is_some());
    (end.is_ok() && has_counts).then(|| Fingerprint::from_rows(rows.iter().map(|row| (archive.id(), row))))
}
