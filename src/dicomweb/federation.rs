//! The aggregate root, `/dicom-web/studies…`: all archives as one (PS3.18 chapters 9 and 10).
//!
//! Searches across studies query every archive and merge the rows by UID. Resources of a study are requested from the archives
//! that contain the study, whose ids are cached for a short time. If one archive contains the whole resource, its response is
//! forwarded as for `/dicom-web/{archive}`. The rows of several archives are merged; the list is complete or an error. Of
//! several copies, the most complete one is retrieved. A study that archives assign to different patients is an error.

mod study_locator;

use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode, header};

use study_locator::{StudyLocation, StudyLocator};

use super::capabilities;
use super::context::DicomwebContext;
use super::error::DicomwebError;
use super::merged_search::{self, SearchRequest};
use super::proxy::assembled;
use super::proxy::filtered_body::FilteredBody;
use super::proxy::stream::Filter;
use super::request::path::{PathError, Resource, Target};
use super::request::{DicomwebRequest, retrieval_query, wado_uri};
use super::response_cache;
use super::response_strategy::ArchiveResponses;
use crate::auth::Access;
use crate::cache::Cache;
use crate::http::negotiation::MediaRange;
use crate::http::query::decode;
use crate::http::streaming_compression::compress;
use crate::request_priority::RequestPriority;
use crate::upstream::{Archive, ArchiveId, DicomResource, SearchLevel};
use dicom_model::{SeriesUid, StudyUid};
use http_messages::body::{self, Body};

/// All configured archives, and the locations of studies.
#[derive(Debug, Clone)]
pub struct Federation {
    archives: Vec<Archive>,
    /// The priority of the calls to the archives.
    priority: RequestPriority,
    context: DicomwebContext,
    locator: StudyLocator,
}

impl Federation {
    /// Creates a federation of `archives`, in the order of the configuration. The locations of studies are cached in `cache`.
    pub fn new(archives: Vec<Archive>, context: DicomwebContext, cache: Cache) -> Self {
        let priority = RequestPriority::of_new_request();
        Self { archives, priority, context, locator: StudyLocator::new(cache) }
    }

    /// Returns the same federation, for a client request with this priority.
    #[must_use]
    pub fn with_priority(&self, priority: &RequestPriority) -> Self {
        let archives = self.archives.iter().map(|archive| archive.with_priority(priority)).collect();
        Self { archives, priority: priority.clone(), ..self.clone() }
    }

    /// Returns the archive with `id`.
    pub fn archive(&self, id: &ArchiveId) -> Option<&Archive> {
        self.archives.iter().find(|archive| archive.id() == id)
    }

    /// Responds to a request for `/dicom-web/{archive}/…`. `public_url` is the public URL of `archive`, without a trailing
    /// slash: `https://gateway.example/dicom-web/main`.
    pub async fn respond_for_archive(
        &self,
        archive: &Archive,
        access: &Access,
        public_url: &str,
        request: DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        authorize(access, &request)?;
        let response = self.archive_response(archive, public_url, &request).await;
        response
            .map(|response| finish(&request, response))
            .map_err(|error| with_available_types(error, &request))
    }

    /// Responds to a request for `/dicom-web/…`. `public_url` is the public URL of `/dicom-web`, without a trailing slash.
    pub async fn respond(
        &self,
        access: &Access,
        public_url: &str,
        request: DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        let resource = authorize(access, &request)?;
        let response = self.respond_for_resource(public_url, &request, &resource).await;
        response
            .map(|response| finish(&request, response))
            .map_err(|error| with_available_types(error, &request))
    }

    /// Responds to a request for `resource`.
    async fn respond_for_resource(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
    ) -> Result<Response<Body>, DicomwebError> {
        if let Resource::Search(level) = resource
            && let Some(empty) = SearchRequest::read(request, level)?.without_rows()
        {
            return Ok(empty);
        }
        match (resource, resource.study()) {
            (_, Some(study)) => self.respond_for_study(public_url, request, resource, study).await,
            (Resource::Search(level), None) => {
                self.search(public_url, request, level, &self.all_archives()).await
            }
            (_, None) => Err(PathError::Unknown.into()),
        }
    }

    /// Returns the Capabilities Description of the root with the public URL `public`, without a trailing slash.
    pub fn describe(&self, public: &str, headers: &HeaderMap) -> Result<Response<Body>, DicomwebError> {
        capabilities::describe(public, headers)
    }

    /// Returns the response of one archive, from the cache if possible.
    async fn archive_response(
        &self,
        archive: &Archive,
        public_url: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        let source = ArchiveResponses { context: &self.context, archive };
        response_cache::respond(&self.context.response_cache, archive, public_url, request, &source).await
    }

    /// Responds to a request for a resource of a study.
    async fn respond_for_study(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
        study: &StudyUid,
    ) -> Result<Response<Body>, DicomwebError> {
        if matches!(request.target, Target::Resource(_)) {
            retrieval_query::check(resource, &decode(request.query.unwrap_or_default())?)?;
        }
        let location = self.locate(study, resource).await?;
        match self.respond_from(&location, public_url, request, resource).await {
            Err(error) if error.is_not_found() && self.locator.forget(study, &location) => {
                let location = self.locate(study, resource).await?;
                self.respond_from(&location, public_url, request, resource).await
            }
            response => response,
        }
    }

    /// Locates `study`, in which the series of `resource` must be.
    async fn locate(
        &self,
        study: &StudyUid,
        resource: &Resource,
    ) -> Result<Arc<StudyLocation>, DicomwebError> {
        let Self { archives, priority, context, locator } = self;
        locator.locate(study, series_of(resource), archives, priority, context).await
    }

    /// Responds from the archives of `location` to a request for a resource of its study.
    async fn respond_from(
        &self,
        location: &StudyLocation,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
    ) -> Result<Response<Body>, DicomwebError> {
        location.require_one_patient()?;
        let search = match resource {
            Resource::Search(level) => Some(level),
            _ => None,
        };
        if search.is_some() {
            // Without the rows of an archive that failed, the list would be incomplete.
            location.require_every_archive()?;
        }
        // Every id is configured, because only configured archives are searched.
        let mut sources: Vec<_> =
            source_ids(location, resource)?.into_iter().filter_map(|id| self.archive(id)).collect();
        if *request.target == Target::UriService && !sources.is_empty() {
            // An archive without the URI service cannot be used, although it contains the object.
            sources.retain(|archive| archive.settings().wado_uri_url.is_some());
            if sources.is_empty() {
                return Err(DicomwebError::NoUriService);
            }
        }
        match (sources.as_slice(), search) {
            ([], Some(level)) => {
                let SearchRequest { format, .. } = SearchRequest::read(request, level)?;
                Ok(assembled::rows("[]", format))
            }
            ([], None) => {
                location.require_every_archive()?;
                Err(DicomwebError::NotFound)
            }
            ([archive], _) => self.archive_response(archive, public_url, request).await,
            (archives, Some(level)) => self.search(public_url, request, level, archives).await,
            (archives, None) => self.retrieve_from_first(public_url, request, archives).await,
        }
    }

    /// Returns the response of the first archive that has the resource, because an instance may be missing from one of two
    /// copies of its series.
    async fn retrieve_from_first(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        archives: &[&Archive],
    ) -> Result<Response<Body>, DicomwebError> {
        let mut not_found = DicomwebError::NotFound;
        for archive in archives {
            match self.archive_response(archive, public_url, request).await {
                Err(error) if error.is_not_found() => not_found = error,
                response => return response,
            }
        }
        Err(not_found)
    }

    async fn search(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        level: &SearchLevel,
        archives: &[&Archive],
    ) -> Result<Response<Body>, DicomwebError> {
        merged_search::respond(archives, public_url, request, level, &self.context).await
    }

    fn all_archives(&self) -> Vec<&Archive> {
        self.archives.iter().collect()
    }
}

/// Returns the resource of `request`, if the caller may see its study. A search across studies requires access to every study.
fn authorize(access: &Access, request: &DicomwebRequest<'_>) -> Result<Resource, DicomwebError> {
    let resource = match request.target {
        Target::Resource(resource) => resource.clone(),
        Target::UriService => {
            wado_uri::resource_of(&wado_uri::read(&decode(request.query.unwrap_or_default())?)?)
        }
    };
    if access.may_see(resource.study()) { Ok(resource) } else { Err(DicomwebError::Forbidden) }
}

/// Adds the available media types to an error that reports that none of the accepted ones is available. A request to the URI
/// service (PS3.18 9.4) does not contain accepted media types in the same form, and its error is unchanged.
fn with_available_types(error: DicomwebError, request: &DicomwebRequest<'_>) -> DicomwebError {
    let Target::Resource(resource) = request.target else { return error };
    let pairs = decode(request.query.unwrap_or_default()).unwrap_or_default();
    let is_in_query = pairs.iter().any(|(key, _)| key == "accept");
    let requested_in = if is_in_query { "the query parameter accept" } else { "Accept" };
    error.with_available_types(requested_in, capabilities::media_types_of(resource))
}

/// Compresses text if the client accepts it, but never pixel data, which is already compressed or would grow. Removes empty
/// modalities from rows of studies in JSON.
///
/// Some archives respond to HEAD with 404, so the gateway sends GET and drops the body without reading it.
fn finish(request: &DicomwebRequest<'_>, response: Response<Body>) -> Response<Body> {
    let is_text = matches!(request.target, Target::Resource(resource) if resource.is_text());
    let is_study_search = matches!(request.target, Target::Resource(Resource::Search(SearchLevel::Studies)));
    let response = if is_study_search && response.status() == StatusCode::OK && is_json(&response) {
        response.map(|rows| body::streamed(FilteredBody::new(rows, Filter::EmptyModalities(Box::default()))))
    } else {
        response
    };
    let response = if is_text { compress(request.headers, response) } else { response };
    if request.method == Method::HEAD { response.map(|_| body::empty()) } else { response }
}

/// Whether the body of the response is JSON.
fn is_json(response: &Response<Body>) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.and_then(MediaRange::parse).is_some_and(|range| range.essence.ends_with("json"))
}

/// Returns the ids of the archives from which `resource` is requested, the most complete copy first.
fn source_ids<'a>(
    location: &'a StudyLocation,
    resource: &Resource,
) -> Result<Vec<&'a ArchiveId>, DicomwebError> {
    match (resource, series_of(resource)) {
        (_, Some(series)) => Ok(location.archives_with(series)),
        (Resource::Search(_), None) => Ok(location.archives()),
        // A study that no archive contains completely is not retrieved.
        (_, None) => location.complete_archives(),
    }
}

/// Returns the series that contains `resource`, unless it is a study or a search of several series.
fn series_of(resource: &Resource) -> Option<&SeriesUid> {
    match resource {
        Resource::Search(SearchLevel::SeriesInstances { series, .. }) => Some(series),
        Resource::Search(_) => None,
        Resource::Whole(objects)
        | Resource::Metadata(objects)
        | Resource::Rendered(objects)
        | Resource::Thumbnail(objects)
        | Resource::Bulkdata(objects, _) => match objects {
            DicomResource::Study(_) => None,
            DicomResource::Series(_, series)
            | DicomResource::Instance(_, series, _)
            | DicomResource::Frames(_, series, ..) => Some(series),
        },
    }
}
