//! The aggregate root, `/dicom-web/studies…`: every archive as if it were one (PS3.18 chapters 9 and 10).
//!
//! Searches across studies ask every archive and put the rows together by UID. What lies below a study is asked of the
//! archives that hold it, which is found out once and remembered briefly. Where one archive holds all that is asked for,
//! its answer streams through as it does below `/dicom-web/{archive}`; a list over several is put together here, and is
//! complete or is an error. Of several copies the fullest is retrieved.

mod study_locator;

use http::{Method, Response};

use study_locator::{StudyLocation, StudyLocator};

use super::context::DicomwebContext;
use super::error::DicomwebError;
use super::merged_search::{self, SearchRequest};
use super::proxy::assembled;
use super::request::path::{PathError, Resource, Target};
use super::request::{DicomwebRequest, wado_uri};
use super::response_cache;
use super::strategies::ArchiveResponses;
use crate::auth::Access;
use crate::cache::Cache;
use crate::http::query::decode;
use crate::http::streaming_compression::compressed;
use crate::upstream::{Archive, ArchiveId, DicomResource, SearchLevel};
use dicom_model::{SeriesUid, StudyUid};
use http_messages::body::{self, Body};

/// Every archive that is configured, and where studies were found of late.
#[derive(Debug)]
pub struct Federation {
    archives: Vec<Archive>,
    context: DicomwebContext,
    holdings: StudyLocator,
}

impl Federation {
    /// Over `archives`, in the order of the configuration, answering with `context`. Remembers in `cache` where studies are.
    pub fn new(archives: Vec<Archive>, context: DicomwebContext, cache: Cache) -> Self {
        Self { archives, context, holdings: StudyLocator::new(cache) }
    }

    /// The archive with this id.
    pub fn archive(&self, id: &ArchiveId) -> Option<&Archive> {
        self.archives.iter().find(|archive| archive.id() == id)
    }

    /// Answers a request below `/dicom-web/{archive}/`, which is `archive`. `public` is the address of that archive here,
    /// without a trailing slash: `https://gateway.example/dicom-web/main`.
    pub async fn answer_of(
        &self,
        archive: &Archive,
        access: &Access,
        public: &str,
        request: DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        admit(access, &request)?;
        let response = self.respond(archive, public, &request).await?;
        Ok(finish(&request, response))
    }

    /// Answers a request below `/dicom-web/`. `public` is the address of that root here, without a trailing slash.
    pub async fn answer(
        &self,
        access: &Access,
        public: &str,
        request: DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        let resource = admit(access, &request)?;
        let response = match (&resource, resource.study()) {
            (_, Some(study)) => self.below_study(public, &request, &resource, study).await,
            (Resource::Search(level), None) => self.search(public, &request, level, &self.all()).await,
            (_, None) => Err(PathError::Unknown.into()),
        };
        response.map(|response| finish(&request, response))
    }

    /// The response of one archive, cached or not.
    async fn respond(
        &self,
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        let source = ArchiveResponses { context: &self.context, archive };
        response_cache::respond(&self.context.response_cache, archive, public, request, &source).await
    }

    async fn below_study(
        &self,
        public: &str,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
        study: &StudyUid,
    ) -> Result<Response<Body>, DicomwebError> {
        let holding = self
            .holdings
            .of(study, series_of(resource), &self.archives, self.context.limits.max_scan)
            .await?;
        let search = match resource {
            Resource::Search(level) => Some(level),
            _ => None,
        };
        if search.is_some() {
            // A list without what a silent archive may hold would be no list.
            holding.require_every_archive()?;
        }
        // Each of them is configured: these archives were asked.
        let mut holders: Vec<_> =
            holders(&holding, resource)?.into_iter().filter_map(|id| self.archive(id)).collect();
        if *request.target == Target::UriService && !holders.is_empty() {
            // Whoever has no such service cannot be asked, though it holds the object.
            holders.retain(|holder| holder.settings().wado_uri_url.is_some());
            if holders.is_empty() {
                return Err(DicomwebError::NoUriService);
            }
        }
        match (holders.as_slice(), search) {
            ([], Some(level)) => {
                let SearchRequest { format, .. } = SearchRequest::read(request, level)?;
                Ok(assembled::rows("[]", format))
            }
            ([], None) => {
                holding.require_every_archive()?;
                Err(DicomwebError::NotFound)
            }
            ([only], _) => self.respond(only, public, request).await,
            (several, Some(level)) => self.search(public, request, level, several).await,
            (several, None) => self.first_found(public, request, several).await,
        }
    }

    /// An instance may be missing from one of two copies of its series.
    async fn first_found(
        &self,
        public: &str,
        request: &DicomwebRequest<'_>,
        holders: &[&Archive],
    ) -> Result<Response<Body>, DicomwebError> {
        let mut missing = DicomwebError::NotFound;
        for holder in holders {
            match self.respond(holder, public, request).await {
                Err(error) if error.is_not_found() => missing = error,
                answer => return answer,
            }
        }
        Err(missing)
    }

    async fn search(
        &self,
        public: &str,
        request: &DicomwebRequest<'_>,
        level: &SearchLevel,
        archives: &[&Archive],
    ) -> Result<Response<Body>, DicomwebError> {
        merged_search::answer(archives, public, request, level, self.context.limits).await
    }

    fn all(&self) -> Vec<&Archive> {
        self.archives.iter().collect()
    }
}

/// The resource of `request`, when the caller may see the study that it belongs to; what reaches across studies requires access to
/// all of them.
fn admit(access: &Access, request: &DicomwebRequest<'_>) -> Result<Resource, DicomwebError> {
    let resource = match request.target {
        Target::Resource(resource) => resource.clone(),
        Target::UriService => {
            wado_uri::resource(&wado_uri::read(&decode(request.query.unwrap_or_default())?)?)
        }
    };
    if access.may_see(resource.study()) { Ok(resource) } else { Err(DicomwebError::Forbidden) }
}

/// Compresses text where the client accepts that; pixel data never, as they are compressed already or would grow.
///
/// Archives respond to HEAD with 404, so they are asked with GET, and the body is dropped unread.
fn finish(request: &DicomwebRequest<'_>, response: Response<Body>) -> Response<Body> {
    let is_text = matches!(request.target, Target::Resource(resource) if resource.is_text());
    let response = if is_text { compressed(request.headers, response) } else { response };
    if request.method == Method::HEAD { response.map(|_| body::empty()) } else { response }
}

/// Who is asked for `resource`, the fullest copy first.
fn holders<'a>(holding: &'a StudyLocation, resource: &Resource) -> Result<Vec<&'a ArchiveId>, DicomwebError> {
    match (resource, series_of(resource)) {
        (_, Some(series)) => Ok(holding.holders_of(series)),
        (Resource::Search(_), None) => Ok(holding.holders()),
        // A study that no archive holds whole is not retrieved as if one did.
        (_, None) => holding.holders_of_all(),
    }
}

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
