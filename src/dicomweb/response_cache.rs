//! Small answers that viewers ask for again and again: metadata of a series or an instance, and thumbnails.
//!
//! They are kept whole in the gateway's cache, as they are for everybody: addresses in them are spelled below a root that
//! nobody has (RFC 2606 2) and are respelled for each caller. While an answer is fresh it is given without asking. Then the
//! archive is asked whether it is still true: by the answer's own validator where it has one (RFC 9110 13), or else by the
//! rows of what it is about, whose fingerprint tells, as it does for studies, whether anything has changed. Those rows are
//! asked for before the answer and never after it, so that what changes in between is not missed; an answer that was asked
//! for without them has to be asked for once more when it is no longer fresh.
//!
//! Only what came whole is kept, and nothing that came with a warning.

mod cached_response;
mod collecting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use url::Url;

use self::cached_response::CachedResponse;
use self::collecting::Collecting;
use super::error::DicomwebError;
use super::proxy::filtered_body::Filtered;
use super::proxy::response_headers::{describe, rewritten_location};
use super::proxy::stream::Filter;
use super::request::DicomwebRequest;
use super::request::path::{Resource, Target};
use super::url_rewrite::syntax::Syntax;
use super::url_rewrite::text::Rewriter;
use super::url_rewrite::url_map::UrlMap;
use crate::cache::Cache;
use crate::fingerprint::Fingerprint;
use crate::http::conditional::{is_not_modified, wants_reload};
use crate::http::negotiation;
use crate::telemetry::{CacheOutcome, Metrics};
use crate::upstream::{Archive, DicomResource, MatchValue, QidoQuery, SearchLevel, UpstreamRequest};
use dicom_model::{Attributes, tags};
use http_messages::body::{self, Body};

/// What an answer is asked for with decides what it is; a longer list of media types is no viewer's.
const MAX_KEY_LEN: usize = 1024;

/// Where responses come from that are not cached.
pub(super) trait ResponseSource: Sync {
    /// The response to `request`, with URLs below `public`.
    fn fetch(
        &self,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> impl Future<Output = Result<Response<Body>, DicomwebError>> + Send;
}

/// The answers that are kept.
#[derive(Debug, Clone)]
pub struct ResponseCache {
    cache: Cache,
    /// In bytes.
    largest: usize,
    metrics: Metrics,
}

/// What kind of answer it is, and what it is about.
struct Small {
    objects: DicomResource,
    /// Whether it is text, in which addresses stand.
    is_text: bool,
    key: String,
}

impl Small {
    /// Nothing for what is large, or asked for in a way in which it is not kept.
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
        let is_wanted_whole = !request.headers.contains_key(header::RANGE);
        let is_asked_once = request.headers.get_all(header::ACCEPT).iter().count() < 2;
        let reads = *request.method == Method::GET;
        (reads && is_wanted_whole && is_asked_once && key.len() <= MAX_KEY_LEN).then_some(Self {
            objects,
            is_text,
            key,
        })
    }
}

/// The answer to `request`: one that is kept, or the archive's, which may be kept from now on. `public` is the address
/// of the archive here.
pub(super) async fn respond(
    kept: &ResponseCache,
    archive: &Archive,
    public: &str,
    request: &DicomwebRequest<'_>,
    source: &impl ResponseSource,
) -> Result<Response<Body>, DicomwebError> {
    let Some(small) = Small::read(request) else {
        return source.fetch(public, request).await;
    };
    let asked_at = kept.cache.elapsed();
    let known: Option<Arc<CachedResponse>> = kept
        .cache
        .get(CachedResponse::key(archive.id(), &small.key))
        .filter(|_| !wants_reload(request.headers));
    let mut fingerprint = None;
    if let Some(known) = known {
        if kept.cache.is_fresh(known.checked_at) {
            return Ok(kept.give(CacheOutcome::Hit, &known, archive, public, request));
        }
        let confirmed = if known.validators.is_empty() {
            fingerprint = rows(archive, &small.objects).await;
            fingerprint.is_some() && fingerprint == known.fingerprint
        } else {
            let headers = known.conditions(request.headers);
            let question = DicomwebRequest { headers: &headers, ..*request };
            let answer = source.fetch(&spelled(archive), &question).await?;
            if answer.status() != StatusCode::NOT_MODIFIED {
                kept.metrics.response_cache_looked_up(CacheOutcome::Miss);
                return Ok(kept.keep(&small, archive, public, request, answer, (asked_at, None)));
            }
            true
        };
        if confirmed {
            let known = Arc::new(CachedResponse { checked_at: asked_at, ..CachedResponse::clone(&known) });
            kept.cache.insert(CachedResponse::key(archive.id(), &small.key), Arc::clone(&known));
            return Ok(kept.give(CacheOutcome::Revalidated, &known, archive, public, request));
        }
    }
    kept.metrics.response_cache_looked_up(CacheOutcome::Miss);
    let answer = source.fetch(&spelled(archive), request).await?;
    Ok(kept.keep(&small, archive, public, request, answer, (asked_at, fingerprint)))
}

impl ResponseCache {
    /// In `cache`, none longer than `largest` bytes.
    pub fn new(cache: Cache, largest: u64, metrics: Metrics) -> Self {
        Self { cache, largest: usize::try_from(largest).unwrap_or(usize::MAX), metrics }
    }

    fn give(
        &self,
        outcome: CacheOutcome,
        known: &CachedResponse,
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Response<Body> {
        self.metrics.response_cache_looked_up(outcome);
        let mut headers = HeaderMap::new();
        describe(&mut headers);
        headers.extend(known.validators.clone());
        let etag = known.validators.get(header::ETAG);
        let mut response = if etag.is_some_and(|etag| is_not_modified(request.headers, etag.as_bytes(), None))
        {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            headers.insert(header::CONTENT_TYPE, known.content_type.clone());
            Response::new(body::full(known.bytes.clone()))
        };
        *response.headers_mut() = headers;
        respelled(archive, public, request, response)
    }

    /// Passes `answer` on, and keeps it when it has come whole.
    fn keep(
        &self,
        small: &Small,
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
        answer: Response<Body>,
        (asked_at, fingerprint): (Duration, Option<Fingerprint>),
    ) -> Response<Body> {
        let headers = answer.headers();
        let content_type = headers.get(header::CONTENT_TYPE).filter(|_| answer.status() == StatusCode::OK);
        let content_type = content_type.filter(|content_type| is_kept(content_type, small.is_text)).cloned();
        let told = answer.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let fits = told.is_none_or(|length| length <= self.largest);
        let is_plain =
            !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::WARNING);
        let Some(content_type) = content_type.filter(|_| fits && is_plain) else {
            return respelled(archive, public, request, answer);
        };
        let validators = [header::ETAG, header::LAST_MODIFIED];
        let validators =
            validators.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
        let validators = validators.collect();
        let (cache, key) = (self.cache.clone(), CachedResponse::key(archive.id(), &small.key));
        let keep = move |bytes: Bytes| {
            let answer =
                CachedResponse { content_type, validators, bytes, fingerprint, checked_at: asked_at };
            cache.insert(key, Arc::new(answer));
        };
        let answer = answer.map(|body| body::streamed(Collecting::body(body, self.largest, keep)));
        respelled(archive, public, request, answer)
    }
}

/// Whether an answer of that type is what was asked for: rows as JSON, or an image.
fn is_kept(content_type: &HeaderValue, is_text: bool) -> bool {
    let range = content_type.to_str().ok().and_then(negotiation::MediaRange::parse);
    range.is_some_and(|range| {
        let is_json = matches!(range.essence.as_str(), "application/dicom+json" | "application/json");
        if is_text { is_json } else { range.essence.starts_with("image/") }
    })
}

/// The root below which addresses are spelled in what is kept.
fn spelled(archive: &Archive) -> String {
    format!("http://gateway.invalid/dicom-web/{}", archive.id())
}

/// The same answer with the caller's addresses.
fn respelled(
    archive: &Archive,
    public: &str,
    request: &DicomwebRequest<'_>,
    mut response: Response<Body>,
) -> Response<Body> {
    // It is an address by how an archive's id is written.
    let Ok(root) = Url::parse(&spelled(archive)) else { return response };
    let addresses = UrlMap::new(public, &root, &root, request.path);
    let location = response.headers_mut().remove(header::CONTENT_LOCATION);
    if let Some(location) = location.and_then(|location| rewritten_location(&location, &addresses)) {
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
        let rewriter = Filter::UrlMap(Box::new(Rewriter::new(addresses, syntax)));
        body::streamed(Filtered::new(body, rewriter))
    })
}

/// The fingerprint of the rows that describe `objects`; `None` without rows, and without counts, as a new instance would then not
/// change it.
async fn rows(archive: &Archive, objects: &DicomResource) -> Option<Fingerprint> {
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
    let query =
        QidoQuery::new(level).matching(tag, MatchValue::any_of(std::slice::from_ref(uid))?).include(&[count]);
    let mut found: Vec<Attributes> = Vec::new();
    // Archives answer with rows that were not asked for.
    let is_meant = |row: &Attributes| row.text(tag) == Some(uid.as_str());
    let each = |row: Attributes| found.extend(is_meant(&row).then_some(row));
    let end = archive.rows(UpstreamRequest::search(query), each).await;
    let is_counted = !found.is_empty() && found.iter().all(|row| row.integer(count).is_some());
    (end.is_ok() && is_counted).then(|| Fingerprint::of(found.iter().map(|row| (archive.id(), row))))
}
