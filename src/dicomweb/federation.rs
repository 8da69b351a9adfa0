//! The aggregate root, `/dicom-web/studies…`: every archive as if it were one (PS3.18 chapters 9 and 10).
//!
//! Searches across studies ask every archive and put the rows together by UID. What lies below a study is asked of the
//! archives that hold it, which is found out once and remembered briefly. Where one archive holds all that is asked for,
//! its answer streams through as it does below `/dicom-web/{archive}`; a list over several is put together here, and is
//! complete or is an error. Of several copies the fullest is retrieved.

pub(super) mod search;
mod study_locator;

use http::Response;

use study_locator::{StudyLocation, StudyLocator};

use super::error::DicomwebError;
use super::proxy::response;
use super::request::path::Resource;
use super::request::wado_uri;
use super::request::{DicomwebRequest, SearchQuestion};
use super::{DicomwebContext, response_cache};
use crate::auth::Access;
use crate::upstream::{Archive, ArchiveId, DicomResource, SearchLevel};
use dicom_model::{SeriesUid, StudyUid};
use http_messages::body::Body;

/// Every archive that is configured, and where studies were found of late.
#[derive(Debug)]
pub struct Federation {
    archives: Vec<Archive>,
    context: DicomwebContext,
    holdings: StudyLocator,
}

impl Federation {
    /// Over `archives`, in the order of the configuration, answering with `context`.
    pub fn new(archives: Vec<Archive>, context: DicomwebContext) -> Self {
        Self { archives, context, holdings: StudyLocator::default() }
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
        super::handle(&self.context, archive, access, public, request).await
    }

    /// Answers a request below `/dicom-web/`. `public` is the address of that root here, without a trailing slash.
    pub async fn answer(
        &self,
        access: &Access,
        public: &str,
        request: DicomwebRequest<'_>,
    ) -> Result<Response<Body>, DicomwebError> {
        let resource = super::admit(access, &request)?;
        let answer = match resource.study() {
            None => self.search(public, &request, &resource, &self.all()).await,
            Some(study) => self.below_study(public, &request, &resource, study).await,
        };
        answer.map(|answer| super::finish(&request, answer))
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
        let is_search = matches!(resource, Resource::Search(_));
        if is_search {
            // A list without what a silent archive may hold would be no list.
            holding.require_every_archive()?;
        }
        let mut holders = holders(&holding, resource)?;
        if request.path == wado_uri::PATH && !holders.is_empty() {
            // Whoever has no such service cannot be asked, though it holds the object.
            holders.retain(|holder| self.archives[*holder].settings().wado_uri_url.is_some());
            if holders.is_empty() {
                return Err(DicomwebError::NoUriService);
            }
        }
        match holders.as_slice() {
            [] if is_search => {
                let SearchQuestion { format, .. } = SearchQuestion::read(request, resource)?;
                Ok(response::rows("[]", format))
            }
            [] => {
                holding.require_every_archive()?;
                Err(DicomwebError::NotFound)
            }
            [only] => response_cache::answer(&self.context, &self.archives[*only], public, request).await,
            several if is_search => {
                let several: Vec<_> = several.iter().map(|holder| &self.archives[*holder]).collect();
                self.search(public, request, resource, &several).await
            }
            several => self.first_found(public, request, several).await,
        }
    }

    /// An instance may be missing from one of two copies of its series.
    async fn first_found(
        &self,
        public: &str,
        request: &DicomwebRequest<'_>,
        holders: &[usize],
    ) -> Result<Response<Body>, DicomwebError> {
        let mut missing = DicomwebError::NotFound;
        for holder in holders {
            match response_cache::answer(&self.context, &self.archives[*holder], public, request).await {
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
        resource: &Resource,
        archives: &[&Archive],
    ) -> Result<Response<Body>, DicomwebError> {
        search::answer(archives, public, request, resource, self.context.limits).await
    }

    fn all(&self) -> Vec<&Archive> {
        self.archives.iter().collect()
    }
}

/// Who is asked for `resource`, the fullest copy first.
fn holders(holding: &StudyLocation, resource: &Resource) -> Result<Vec<usize>, DicomwebError> {
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
