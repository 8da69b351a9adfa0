//! Responses of the aggregate root without the archives that fail, for clients that accept them (`search.partial`, `Prefer:
//! handling=lenient`, RFC 7240 4.4). Each missing archive has a `Warning` (RFC 7234 5.5), and clients must not store the response.
//!
//! The pages of a list are parts of the same list only if all of them are from the same archives. Therefore a page after the first
//! requires every archive. What no other archive contains is the error of the missing one, because it may contain it.
//! `studies::partial_answers` collects the failures.

use http::{HeaderValue, Response, header};

use super::{Federation, StudyLocation};
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::merged_search::SearchRequest;
use crate::dicomweb::request::DicomwebRequest;
use crate::dicomweb::request::path::Resource;
use crate::http::preference::PreferredHandling;
use crate::studies::StudiesError;
use crate::upstream::ArchiveId;
use http_messages::body::Body;

/// The warning for an archive whose error cannot be a header.
const ARCHIVE_MISSING_WARNING: HeaderValue =
    HeaderValue::from_static("299 dicomweb-gateway \"An archive failed and is missing from this response\"");

impl Federation {
    /// Returns the same federation for `request` of a client, which may accept a response without the archives that fail.
    pub(super) fn for_client(
        &self,
        request: &DicomwebRequest<'_>,
        resource: &Resource,
    ) -> Result<Self, DicomwebError> {
        let accepts_partial = PreferredHandling::from_headers(request.headers)
            .map_or(self.context.limits.partial, |handling| handling == PreferredHandling::Lenient);
        let is_later_page = match resource {
            Resource::Search(level) => SearchRequest::read(request, level)?.query.window().1 > 0,
            _ => false,
        };
        let studies = if accepts_partial && !is_later_page {
            self.studies.accepting_partial_answers()
        } else {
            self.studies.requiring_every_archive()
        };
        Ok(Self { studies, ..self.clone() })
    }

    /// Records the archives without which `location` was determined.
    pub(super) fn record_missing(&self, location: &StudyLocation) {
        for (archive, error) in location.missing() {
            self.studies.record_missing_archive(archive, error);
        }
    }

    /// Returns the error of a missing archive in place of an error that the resource does not exist.
    pub(super) fn error_of_missing_archive(
        &self,
        response: Result<Response<Body>, DicomwebError>,
    ) -> Result<Response<Body>, DicomwebError> {
        if response.as_ref().is_err_and(DicomwebError::is_absence) {
            self.studies.require_complete_answer()?;
        }
        response
    }

    /// Adds a warning for each missing archive to `response`.
    pub(super) fn with_missing_archives(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Prefer"));
        for (archive, error) in self.studies.missing_archives() {
            headers.append(header::WARNING, missing_archive_warning(&archive, &error));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

/// Returns the warning that `archive` is missing from a response because of `error` (RFC 7234 5.5).
fn missing_archive_warning(archive: &ArchiveId, error: &StudiesError) -> HeaderValue {
    let cause = match error {
        StudiesError::Archive(error) => format!("it {}", error.kind),
        error => error.to_string(),
    };
    let text = format!("Archive {archive} is missing from this response: {cause}").replace(['"', '\\'], "'");
    HeaderValue::try_from(format!("299 dicomweb-gateway \"{text}\"")).unwrap_or(ARCHIVE_MISSING_WARNING)
}
