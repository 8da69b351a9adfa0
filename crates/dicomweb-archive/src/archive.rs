//! The embedded archive: a read-only DICOMweb server for a directory of DICOM files. It allows users to try and test the gateway
//! without a PACS: the gateway accesses it by HTTP, like any other archive.
//!
//! Searches (QIDO-RS, PS3.18 10.6) use an [`Index`] in memory; retrieval (WADO-RS, PS3.18 10.4) reads the files. This module does
//! not know about the gateway, FHIR, configuration or users.

mod body;
mod content_negotiation;
mod frames;
mod index;
mod levels;
mod matching;
mod multipart;
mod query;
mod retrieve;
mod route;
mod search;

use body::Chunks;
use bytes::Bytes;
use dicom_model::metadata;
use http::header::{ALLOW, CONTENT_TYPE, HOST, WARNING};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_messages::body::{Body, empty, full};
use http_messages::media_range::MediaRange;
use http_messages::path::decode_safe_escapes;
use levels::Level;
use query::{Query, QueryError};
use route::{Resource, Route, RouteError, Scope};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

pub use index::{Index, IndexReport, Instance, Progress, Series, Study};
pub use route::ROOT;

/// Maximum number of responses that read files concurrently. This number suffices to use the disk fully, and leaves threads of the
/// blocking thread pool for other work.
const MAX_CONCURRENT_READERS: usize = 16;

/// The number of rows that are serialized at once.
const ROWS_PER_CHUNK: usize = 64;

/// The archive. Clones share the index.
#[derive(Debug, Clone)]
pub struct Archive {
    index: Arc<Index>,
    readers: Arc<Semaphore>,
}

/// Why a request is rejected.
#[derive(Debug, thiserror::Error)]
enum InvalidRequest {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("the archive does not contain this study, series, instance, frame or value")]
    NotFound,
    #[error("the resource is not available in a media type and transfer syntax listed in Accept")]
    NotAcceptable,
    #[error("the archive is read-only; use GET or HEAD")]
    Method,
    #[error("this resource supports no query parameter except accept")]
    Parameters,
    #[error("the frames of the image cannot be determined: {0}")]
    Inconsistent(&'static str),
    #[error("a file could not be read; it was changed or deleted after the archive started")]
    Internal,
}

impl InvalidRequest {
    fn status(&self) -> StatusCode {
        match self {
            Self::Route(RouteError::Unknown) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Route(_) | Self::Query(_) | Self::Parameters => StatusCode::BAD_REQUEST,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Inconsistent(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn response(&self) -> Response<Body> {
        let mut response = Response::new(full(format!("{self}\n")));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(self, Self::Method) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

impl Archive {
    /// Creates an archive that serves the instances in `index`.
    pub fn new(index: Index) -> Self {
        Self { index: Arc::new(index), readers: Arc::new(Semaphore::new(MAX_CONCURRENT_READERS)) }
    }

    /// Returns the index of the studies.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Responds to one request. Does not read the request body.
    pub async fn respond<B>(&self, request: Request<B>) -> Response<Body> {
        let is_head = *request.method() == Method::HEAD;
        let response = self.dispatch(&request).await.unwrap_or_else(|error| error.response());
        if is_head { response.map(|_| empty()) } else { response }
    }

    async fn dispatch<B>(&self, request: &Request<B>) -> Result<Response<Body>, InvalidRequest> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(InvalidRequest::Method);
        }
        let Route { scope, resource } = Route::parse(&decode_safe_escapes(request.uri().path()))?;
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        let accepted = content_negotiation::parse_accept(request.headers(), query.accept.as_deref());
        let base = base_url(request);
        if !matches!(resource, Resource::Search(_)) && !query.has_only_accept() {
            return Err(InvalidRequest::Parameters);
        }
        match resource {
            Resource::Search(level) => self.search(level, scope, query, &accepted, base).await,
            Resource::Instances => self.retrieve(&scope, &accepted).await,
            Resource::Metadata => self.metadata(&scope, &accepted, &base),
            Resource::Frames(numbers) => self.frames(&scope, numbers, &accepted).await,
            Resource::BulkData(path) => self.bulk_data(&scope, path, &accepted).await,
        }
    }

    async fn search(
        &self,
        level: Level,
        scope: Scope,
        query: Query,
        accepted: &[MediaRange],
        base: String,
    ) -> Result<Response<Body>, InvalidRequest> {
        let media_type =
            content_negotiation::json_media_type(accepted).ok_or(InvalidRequest::NotAcceptable)?;
        let (index, scope, query) = (Arc::clone(&self.index), Arc::new(scope), Arc::new(query));
        let results = {
            let (index, scope, query) = (Arc::clone(&index), Arc::clone(&scope), Arc::clone(&query));
            self.run_blocking(move || search::find(&index, level, &scope, &query)).await?
        };
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        let mut add_warning = |text: &str| {
            if let Ok(value) = HeaderValue::from_str(&format!("299 {base}: \"{text}\"")) {
                headers.append(WARNING, value);
            }
        };
        if query.is_fuzzy {
            add_warning(
                "The fuzzymatching parameter is not supported. Only literal matching has been performed.",
            );
        }
        if results.remaining > 0 {
            add_warning(&format!("There are {} additional results that can be requested", results.remaining));
        }
        let mut results = results.page.into_iter();
        let chunks = std::iter::from_fn(move || {
            let chunk: Vec<_> = results.by_ref().take(ROWS_PER_CHUNK).collect();
            (!chunk.is_empty()).then_some(chunk)
        });
        let objects = chunks.map(move |chunk| {
            let mut objects = Vec::new();
            for (position, result) in chunk.into_iter().enumerate() {
                if position > 0 {
                    objects.push(b',');
                }
                search::write_row(&mut objects, &index, result, &scope, &query, &base)?;
            }
            Ok(objects)
        });
        Ok(response.map(|()| body::streamed(json_array(objects), Arc::clone(&self.readers))))
    }

    fn metadata(
        &self,
        scope: &Scope,
        accepted: &[MediaRange],
        base: &str,
    ) -> Result<Response<Body>, InvalidRequest> {
        let media_type =
            content_negotiation::json_media_type(accepted).ok_or(InvalidRequest::NotAcceptable)?;
        let instances = self.instances(scope, base);
        if instances.is_empty() {
            return Err(InvalidRequest::NotFound);
        }
        let objects = instances.into_iter().map(|instance| {
            let mut object = Vec::new();
            let header = body::read_header(&instance.path, |_| true).map_err(io::Error::other)?;
            metadata::write(&mut object, header, instance.url)?;
            Ok(object)
        });
        let mut response = Response::new(body::streamed(json_array(objects), Arc::clone(&self.readers)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        Ok(response)
    }

    /// Returns the instances in `scope`, each with its URL.
    fn instances(&self, scope: &Scope, base: &str) -> Vec<LocatedInstance> {
        let Some(study) = &scope.study else { return Vec::new() };
        let studies = self.index.positions(study).iter().map(|position| &self.index.studies()[*position]);
        studies
            .flat_map(|study| study.series.iter().map(move |series| (study, series)))
            .filter(|(_, series)| scope.series.as_ref().is_none_or(|uid| *uid == series.uid))
            .flat_map(|(study, series)| {
                series.instances.iter().map(move |instance| (study, series, instance))
            })
            .filter(|(_, _, instance)| scope.instance.as_ref().is_none_or(|uid| *uid == instance.uid))
            .map(|(study, series, instance)| LocatedInstance {
                path: instance.path.clone(),
                transfer_syntax: instance.transfer_syntax,
                url: format!("{base}/studies/{}/series/{}/instances/{}", study.uid, series.uid, instance.uid),
            })
            .collect()
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, InvalidRequest> {
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| InvalidRequest::Internal)?;
        let result = tokio::task::spawn_blocking(work).await.map_err(|_| InvalidRequest::Internal);
        drop(permit);
        result
    }
}

/// A file and the URL of its instance.
#[derive(Debug)]
struct LocatedInstance {
    path: PathBuf,
    transfer_syntax: &'static str,
    url: String,
}

/// Returns the root URL of the service, according to the host in the request, for URLs in responses.
fn base_url<B>(request: &Request<B>) -> String {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host);
    // Without a valid host, URLs are relative.
    match authority.and_then(|text| text.parse::<http::uri::Authority>().ok()) {
        Some(authority) => format!("http://{authority}{ROOT}"),
        None => ROOT.to_owned(),
    }
}

/// Returns a JSON array of objects that are serialized on demand.
fn json_array(objects: impl Iterator<Item = io::Result<Vec<u8>>> + Send + 'static) -> Chunks {
    let mut is_first = true;
    let objects = objects.map(move |object| {
        let mut chunk = if is_first { Vec::new() } else { vec![b','] };
        is_first = false;
        chunk.append(&mut object?);
        Ok(Bytes::from(chunk))
    });
    Box::new(
        std::iter::once(Ok(Bytes::from_static(b"[")))
            .chain(objects)
            .chain(std::iter::once(Ok(Bytes::from_static(b"]")))),
    )
}

#[cfg(test)]
mod tests;
