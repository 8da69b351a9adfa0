//! A request for metadata or rows of instances in any format, as a request for the same list in JSON, which is compared and then
//! converted to the requested format. This module does not compare instances; `one_patient` does.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::empty_list::detect_empty_list;
use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::proxy::assembled;
use crate::dicomweb::proxy::prefetched_body::with_prefetched_beginning;
use crate::dicomweb::request::DicomwebRequest;
use crate::dicomweb::request::accept::{Accepted, Format};
use crate::dicomweb::request::path::Resource;
use crate::dicomweb::request::query::parse_search;
use crate::dicomweb::request::retrieval_query::RetrievalParameters;
use crate::http::query::{decode, encode};
use crate::upstream::{Archive, SearchLevel};
use http_messages::body::Body;

/// A request for metadata or rows of instances.
#[derive(Debug)]
pub(super) struct InstancesRequest {
    /// The format that the client prefers.
    format: Format,
    /// Whether the list may be empty, because it is that of a search.
    is_search: bool,
    headers: HeaderMap,
    query: Option<String>,
}

impl InstancesRequest {
    /// Reads `request` for `resource`; `None` if the response has no metadata or rows of instances.
    pub(super) fn read(
        request: &DicomwebRequest<'_>,
        resource: &Resource,
    ) -> Result<Option<Self>, DicomwebError> {
        let pairs = decode(request.query.unwrap_or_default())?;
        let (common, is_search) = match resource {
            Resource::Metadata(_) => (RetrievalParameters::parse(resource, &pairs)?.common, false),
            Resource::Search(
                level @ (SearchLevel::Instances { .. } | SearchLevel::SeriesInstances { .. }),
            ) => (parse_search(level.clone(), &pairs, request.uid_rule)?.common, true),
            _ => return Ok(None),
        };
        let mut headers = common.headers_of(request);
        let accepted = Accepted::read(&headers, resource).ok_or(DicomwebError::NotAcceptable)?;
        let format = accepted.preferred_format();
        let mut query = request.query.map(str::to_owned);
        if format != Format::Json {
            headers.insert(header::ACCEPT, HeaderValue::from_static("application/dicom+json"));
            let other_pairs = pairs.iter().filter(|(name, _)| name != "accept");
            query = Some(encode(other_pairs.map(|(name, value)| (name.as_str(), value.as_str()))));
        }
        Ok(Some(Self { format, is_search, headers, query }))
    }

    /// Returns the request for the list in JSON.
    pub(super) fn in_json<'a>(&'a self, request: &DicomwebRequest<'a>) -> DicomwebRequest<'a> {
        if self.format == Format::Json {
            return *request;
        }
        let query = self.query.as_deref().filter(|query| !query.is_empty());
        DicomwebRequest { headers: &self.headers, query, ..*request }
    }

    /// Converts `response` of `archive` in JSON to the requested format.
    pub(super) async fn in_requested_format(
        &self,
        archive: &Archive,
        response: Response<Body>,
    ) -> Result<Response<Body>, DicomwebError> {
        if self.format == Format::Json || response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (response, is_empty) = detect_empty_list(response).await;
        if is_empty && !self.is_search {
            // An empty list means that the archive does not have the objects.
            return Err(DicomwebError::NotFound);
        }
        let (parts, rows) = response.into_parts();
        let mut converted = if is_empty {
            assembled::no_rows(self.format)
        } else {
            with_prefetched_beginning(archive, assembled::streamed_rows(archive, rows, self.format)).await?
        };
        for warning in parts.headers.get_all(header::WARNING) {
            converted.headers_mut().append(header::WARNING, warning.clone());
        }
        Ok(converted)
    }
}
