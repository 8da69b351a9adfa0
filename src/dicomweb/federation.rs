//! The aggregate root, `/dicom-web/studies…`: all archives as one (PS3.18 chapters 9 and 10).
//!
//! Searches across studies query every archive and merge the rows by UID. Resources of a study are requested from the archives
//! that contain the study. If one archive contains the whole resource, its response is forwarded as for `/dicom-web/{archive}`.
//! The rows of several archives are merged; the list is complete or an error. Of several copies, one that contains every instance
//! is retrieved. A study that is assigned to different patients is an error.

mod complete_copy;
mod empty_list;
mod instances_request;
mod one_patient;
mod partial_response;
mod study_location;
mod study_locator;

use http::{HeaderMap, Method, Response, StatusCode, header};

use complete_copy::complete_copy;
use empty_list::detect_empty_list;
use instances_request::InstancesRequest;
use one_patient::InstancePatients;
use study_location::{ArchiveCopy, StudyLocation};
use study_locator::{Located, StudyLocator};

use super::capabilities;
use super::context::DicomwebContext;
use super::error::DicomwebError;
use super::merged_search::{self, SearchRequest};
use super::proxy::filtered_body::FilteredBody;
use super::proxy::stream::Filter;
use super::request::path::{PathError, Resource, Target};
use super::request::{DicomwebRequest, retrieval_query, wado_uri};
use super::response_cache;
use super::response_strategy::ArchiveResponses;
use crate::auth::Access;
use crate::cache::Cache;
use crate::http::conditional::bypasses_cache;
use crate::http::negotiation::MediaRange;
use crate::http::query::decode;
use crate::http::streaming_compression::compress;
use crate::request_priority::RequestPriority;
use crate::studies::{FailedArchives, Studies};
use crate::upstream::{Archive, ArchiveId, DicomResource, SearchLevel};
use dicom_model::{SeriesUid, StudyUid, UidRule};
use http_messages::body::{self, Body};

/// All configured archives, and the locations of studies.
#[derive(Debug, Clone)]
pub struct Federation {
    archives: Vec<Archive>,
    /// The priority of the calls to the archives.
    priority: RequestPriority,
    context: DicomwebContext,
    locator: StudyLocator,
    studies: Studies,
}

impl Federation {
    /// Creates a federation of `archives`, in the order of the configuration. The locations of studies are cached in `cache`.
    /// `studies` contains the studies of the same archives.
    pub fn new(archives: Vec<Archive>, context: DicomwebContext, cache: Cache, studies: Studies) -> Self {
        let priority = RequestPriority::of_new_request();
        Self { archives, priority, context, locator: StudyLocator::new(cache), studies }
    }

    /// Returns the same federation, for a client request with this priority, which records the archives that its response may be without.
    #[must_use]
    pub fn for_request(&self, priority: &RequestPriority, failed_archives: &FailedArchives) -> Self {
        let archives = self.archives.iter().map(|archive| archive.with_priority(priority)).collect();
        let studies = self.studies.with_priority(priority).recording_failures(failed_archives);
        Self { archives, priority: priority.clone(), studies, ..self.clone() }
    }

    /// Returns the most lenient rule of all archives.
    pub fn uid_rule(&self) -> UidRule {
        self.archives.iter().map(Archive::uid_rule).max().unwrap_or_default()
    }

    /// Returns the archives that may contain UIDs that only `rule` accepts. Others are not asked for them.
    fn archives_with(&self, rule: UidRule) -> Vec<Archive> {
        self.archives.iter().filter(|archive| rule <= archive.uid_rule()).cloned().collect()
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
            .map_err(|error| with_request_details(error, &request))
    }

    /// Responds to a request for `/dicom-web/…`. `public_url` is the public URL of `/dicom-web`, without a trailing slash.
    pub async fn respond(
        &self,
        access: &Access,
        public_url: &str,
        request: DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        let resource = authorize(access, &request)?;
        let response = async {
            let federation = self.for_client(&request, &resource)?;
            let response = federation.respond_for_resource(public_url, &request, &resource).await?;
            Ok(finish(&request, federation.with_missing_archives(response)))
        };
        response.await.map_err(|error| with_request_details(error, &request))
    }

    /// Responds to a request for `resource`.
    async fn respond_for_resource(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
    ) -> Result<Response<Body>, DicomwebError> {
        if let Resource::Search(level) = resource
            && let Some(empty) = SearchRequest::read(request, level)?.response_without_rows()
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

    /// Returns the Capabilities Description of the root with the public URL `public_url`, without a trailing slash.
    pub fn describe(&self, public_url: &str, headers: &HeaderMap) -> Result<Response<Body>, DicomwebError> {
        capabilities::describe(public_url, headers)
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

    /// Responds to a request for a resource of a study. If an archive that contained the study when it was located does not have the
    /// resource, the study may have been moved, so it is located again.
    async fn respond_for_study(
        &self,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
        study: &StudyUid,
    ) -> Result<Response<Body>, DicomwebError> {
        if matches!(request.target, Target::Resource(_)) {
            let pairs = decode(request.query.unwrap_or_default())?;
            retrieval_query::check(resource, &pairs, request.uid_rule)?;
        }
        let Located { location, is_new } = self.locate(request, resource, study).await?;
        self.record_missing(&location);
        let (first_response, lacks_resource) =
            match self.respond_from(&location, public_url, request, resource, study).await {
                Ok(response) if matches!(resource, Resource::Search(_)) => {
                    let (response, is_empty) = detect_empty_list(response).await;
                    (Ok(response), is_empty)
                }
                Ok(response) => (Ok(response), false),
                Err(error) => {
                    let is_not_found = error.is_not_found();
                    (Err(error), is_not_found)
                }
            };
        if !lacks_resource || is_new && location.copies().is_empty() {
            return self.error_of_missing_archive(first_response);
        }
        let (archives, partial_timeout) = (self.archives_with(study.rule()), self.studies.partial_timeout());
        let new_location = self.locator.locate_again(study, &archives, partial_timeout, &self.context).await;
        self.record_missing(&new_location);
        if new_location.is_certain() && new_location.copies() == location.copies() {
            return first_response;
        }
        let response = self.respond_from(&new_location, public_url, request, resource, study).await;
        self.error_of_missing_archive(response)
    }

    /// Returns the location of `study`, from the cache only for the retrieval of an instance.
    async fn locate(
        &self,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
        study: &StudyUid,
    ) -> Result<Located, DicomwebError> {
        if let Scope::Instance(series) = Scope::of(resource)
            && !bypasses_cache(request.headers)
            && let Some(located) = self.locator.cached(study, series)
        {
            return Ok(located);
        }
        let (archives, partial_timeout) = (self.archives_with(study.rule()), self.studies.partial_timeout());
        self.locator.locate(study, &archives, partial_timeout, (&self.priority, &self.context)).await
    }

    /// Responds from the archives of `location` to a request for a resource of its study.
    async fn respond_from(
        &self,
        location: &StudyLocation,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
        study: &StudyUid,
    ) -> Result<Response<Body>, DicomwebError> {
        location.require_one_patient()?;
        let rule = resource.uid_rule();
        match Scope::of(resource) {
            Scope::List(level, series) => {
                // Without the rows of an archive that failed, the list would be incomplete.
                location.require_every_series()?;
                let copies = self.copies_of(location, series, rule);
                match copies.iter().map(|(_, archive)| *archive).collect::<Vec<_>>().as_slice() {
                    [] => {
                        self.studies.require_complete_answer()?;
                        Ok(SearchRequest::read(request, level)?.empty())
                    }
                    [archive] => {
                        self.compared_response(location, archive, public_url, request, resource).await
                    }
                    archives => self.search(public_url, request, level, archives).await,
                }
            }
            Scope::Whole(series) => {
                location.require_every_series()?;
                let copies = self.copies_of(location, series, rule);
                let archive = complete_copy(&copies, study, series, &self.context).await?;
                let archive = archive.ok_or(DicomwebError::NotFound)?;
                self.compared_response(location, archive, public_url, request, resource).await
            }
            Scope::Instance(series) => {
                let copies = self.copies_of(location, Some(series), rule);
                let archives: Vec<_> = copies.into_iter().map(|(_, archive)| archive).collect();
                match self.retrieve_from_first(location, public_url, request, resource, archives).await {
                    Err(error) if error.is_not_found() => {
                        location.require_every_series()?;
                        Err(error)
                    }
                    response => response,
                }
            }
        }
    }

    /// Returns the response of one archive of `location`. Metadata and rows of instances are compared with the patient of the study, in
    /// JSON, before they are converted to the format that the client prefers.
    async fn compared_response(
        &self,
        location: &StudyLocation,
        archive: &Archive,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
    ) -> Result<Response<Body>, DicomwebError> {
        let Some(instances) = InstancesRequest::read(request, resource)? else {
            return self.archive_response(archive, public_url, request).await;
        };
        let in_json = instances.in_json(request);
        let response = self.archive_response(archive, public_url, &in_json).await?;
        let patient = location.patient_in(archive.id()).cloned();
        let patients = InstancePatients::new(archive.id().clone(), self.context.patients.clone(), patient);
        instances.in_requested_format(archive, patients.compare(archive, response).await?).await
    }

    /// Returns the copies of the series, the largest part first, or of the study, with their archives, of those archives that may be
    /// asked for UIDs that only `rule` accepts.
    fn copies_of<'a>(
        &'a self,
        location: &'a StudyLocation,
        series: Option<&SeriesUid>,
        rule: UidRule,
    ) -> Vec<(&'a ArchiveCopy, &'a Archive)> {
        let copies = match series {
            Some(series) => location.copies_with(series),
            None => location.copies().iter().collect(),
        };
        // Every id is configured, because only configured archives are searched.
        let copies = copies.into_iter().filter_map(|copy| Some((copy, self.archive(&copy.archive)?)));
        copies.filter(|(_, archive)| rule <= archive.uid_rule()).collect()
    }

    /// Returns the response of the first archive that has the instance, because each archive may contain only a part of its series.
    async fn retrieve_from_first(
        &self,
        location: &StudyLocation,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
        mut archives: Vec<&Archive>,
    ) -> Result<Response<Body>, DicomwebError> {
        let mut not_found = DicomwebError::NotFound;
        if *request.target == Target::UriService && !archives.is_empty() {
            // An archive without the URI service cannot be used, although it contains the object.
            let ids: Vec<_> = archives.iter().map(|archive| archive.id().clone()).collect();
            archives.retain(|archive| archive.settings().wado_uri_url.is_some());
            if archives.is_empty() {
                return Err(DicomwebError::NoUriService(ids));
            }
        }
        for archive in archives {
            match self.compared_response(location, archive, public_url, request, resource).await {
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
        let studies = Some(&self.studies);
        merged_search::respond(archives, public_url, request, level, &self.context, studies).await
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
            let pairs = decode(request.query.unwrap_or_default())?;
            wado_uri::resource_of(&wado_uri::read(&pairs, request.uid_rule)?)
        }
    };
    if access.may_see(resource.study()) { Ok(resource) } else { Err(DicomwebError::Forbidden) }
}

/// Adds the available media types to an error that reports that none of the accepted ones is available, and the requested frames to one
/// that may report that they do not exist. A request to the URI
/// service (PS3.18 9.4) does not contain accepted media types in the same form, and its error is unchanged.
fn with_request_details(error: DicomwebError, request: &DicomwebRequest<'_>) -> DicomwebError {
    let Target::Resource(resource) = request.target else { return error };
    let error = match resource {
        Resource::Whole(DicomResource::Frames(.., frames))
        | Resource::Rendered(DicomResource::Frames(.., frames))
        | Resource::Thumbnail(DicomResource::Frames(.., frames)) => error.with_requested_frames(frames),
        _ => error,
    };
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

/// The part of a study that a request concerns.
#[derive(Debug)]
enum Scope<'a> {
    /// The rows of a level, in the whole study or in one series.
    List(&'a SearchLevel, Option<&'a SeriesUid>),
    /// A resource that contains a whole series or, if it is `None`, the whole study.
    Whole(Option<&'a SeriesUid>),
    /// An instance of a series.
    Instance(&'a SeriesUid),
}

impl<'a> Scope<'a> {
    fn of(resource: &'a Resource) -> Self {
        match resource {
            Resource::Search(level @ SearchLevel::SeriesInstances { series, .. }) => {
                Self::List(level, Some(series))
            }
            Resource::Search(level) => Self::List(level, None),
            Resource::Whole(objects)
            | Resource::Metadata(objects)
            | Resource::Rendered(objects)
            | Resource::Thumbnail(objects)
            | Resource::Bulkdata(objects, _) => match objects {
                DicomResource::Study(_) => Self::Whole(None),
                DicomResource::Series(_, series) => Self::Whole(Some(series)),
                DicomResource::Instance(_, series, _) | DicomResource::Frames(_, series, ..) => {
                    Self::Instance(series)
                }
            },
        }
    }
}
