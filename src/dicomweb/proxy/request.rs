//! The request of a client, read for one archive: the upstream requests, and what is needed to forward the response.
//!
//! The upstream URL is built from typed parts; of the client's headers, only those that have a meaning for the archive (PS3.18
//! 8.4, RFC 9110) are forwarded.

use http::header;

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::request::DicomwebRequest;
use crate::dicomweb::request::accept::{Accepted, RequestedTypes};
use crate::dicomweb::request::computed_attributes::computed_key;
use crate::dicomweb::request::path::{PathError, Resource, Target};
use crate::dicomweb::request::{query, wado_uri};
use crate::dicomweb::url_rewrite::url_map::UrlMap;
use crate::http::negotiation;
use crate::http::query::decode;
use crate::upstream::{
    Archive, DicomResource, QidoQuery, Rendering, Retrieval, Synthesized, UpstreamRequest,
};
use dicom_model::{SopInstanceUid, tag};

/// Width and height of a thumbnail in pixels if the client gives none: the size in which viewers show lists.
pub(crate) const THUMBNAIL_SIZE: u32 = 128;

/// One upstream request for a [`ProxyRequest`].
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) request: UpstreamRequest,
    /// If set, only the content of the response's single part is forwarded, with this media type.
    pub(crate) only_part: Option<&'static str>,
}

/// A client's request, read for one archive, with what is needed to forward its response.
#[derive(Debug, Clone)]
pub(crate) struct ProxyRequest {
    pub(crate) resource: Resource,
    pub(crate) url_map: UrlMap,
    /// The client accepts gzip.
    pub(crate) accepts_gzip: bool,
    /// What the client accepts.
    pub(crate) accepted: Accepted,
    /// The rendering parameters of the client.
    pub(crate) rendering: Rendering,
    /// The client requested more rows than an archive may be asked for.
    pub(crate) is_limit_reduced: bool,
    /// The SOP Instance UID that an anonymized object must not have.
    pub(crate) anonymous: Option<SopInstanceUid>,
    upstream: UpstreamRequest,
    /// The request that replaces `upstream` if the archive lacks that service.
    thumbnail_substitute: Option<UpstreamRequest>,
}

impl ProxyRequest {
    pub(crate) fn read(
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Self, DicomwebError> {
        let resource = match request.target {
            Target::UriService => return Self::of_uri_service(archive, public, request),
            Target::Resource(resource) => resource.clone(),
        };
        let pairs = decode(request.query.unwrap_or_default())?;
        let mut is_limit_reduced = false;
        let (upstream, thumbnail_substitute, rendering, common) = match resource.clone() {
            Resource::Search(level) => {
                let search = query::search(level, &pairs)?;
                reject_computed_keys(archive, &search.query)?;
                is_limit_reduced = search.is_limit_reduced;
                (UpstreamRequest::search(search.query), None, Rendering::default(), search.common)
            }
            retrieved => {
                let (rendering, common) = query::retrieval(&resource, &pairs)?;
                let thumbnail_substitute =
                    thumbnail_as_rendered(&retrieved, &rendering).map(UpstreamRequest::retrieve);
                let retrieval = retrieved.retrieval(rendering.clone()).ok_or(PathError::Unknown)?;
                (UpstreamRequest::retrieve(retrieval), thumbnail_substitute, rendering, common)
            }
        };
        let mut headers = common.headers_of(request);
        // URL rewriting changes lengths: ranges of the archive's bytes do not fit the response.
        if resource.is_text() {
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
        let settings = archive.settings();
        Ok(Self {
            url_map: UrlMap::new(public, &settings.qido_url, &settings.wado_url, request.path),
            accepts_gzip: negotiation::accepts_gzip(&headers),
            accepted: Accepted::read(&headers, &resource).ok_or(DicomwebError::NotAcceptable)?,
            is_limit_reduced,
            anonymous: None,
            upstream: upstream.with_forwarded_headers(&headers),
            thumbnail_substitute: thumbnail_substitute
                .map(|thumbnail_substitute| thumbnail_substitute.with_forwarded_headers(&headers)),
            rendering,
            resource,
        })
    }

    /// The same request for JSON: rows are completed in JSON, whatever format the client gets.
    pub(crate) fn in_json(&self) -> Self {
        Self { accepted: Accepted::rows(), ..self.clone() }
    }

    /// Requests the metadata of `objects` as JSON rows, for a list that is assembled here.
    pub(crate) fn of_metadata(archive: &Archive, public: &str, objects: DicomResource) -> Self {
        let settings = archive.settings();
        let retrieval = Retrieval::metadata(objects.clone());
        let url_map = UrlMap::new(public, &settings.qido_url, &settings.wado_url, &retrieval.path());
        Self {
            resource: Resource::Metadata(objects),
            url_map,
            accepts_gzip: false,
            accepted: Accepted::rows(),
            rendering: Rendering::default(),
            is_limit_reduced: false,
            anonymous: None,
            upstream: UpstreamRequest::retrieve(retrieval),
            thumbnail_substitute: None,
        }
    }

    /// The query says what the client accepts; without it the archive chooses (PS3.18 9.4.1.2.1).
    fn of_uri_service(
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Self, DicomwebError> {
        let settings = archive.settings();
        let object = wado_uri::read(&decode(request.query.unwrap_or_default())?)?;
        let resource = wado_uri::resource(&object);
        let accepted = Accepted::in_query(object.names("text/html"));
        let anonymous = object.is_anonymous().then(|| object.instance().clone());
        let upstream = UpstreamRequest::wado_uri(settings, object).ok_or(DicomwebError::NoUriService)?;
        let upstream = upstream.with_forwarded_headers(request.headers);
        Ok(Self {
            url_map: UrlMap::new(public, &settings.qido_url, &settings.wado_url, request.path),
            accepts_gzip: negotiation::accepts_gzip(request.headers),
            accepted,
            // The beginning of the object is inspected, which a range may lack.
            upstream: if anonymous.is_some() { upstream.without_range() } else { upstream },
            anonymous,
            is_limit_reduced: false,
            rendering: Rendering::default(),
            thumbnail_substitute: None,
            resource,
        })
    }

    /// For a thumbnail: the same as a small rendered image, for an archive without thumbnails (PS3.18 10.4.1.1.5).
    pub(crate) fn thumbnail_fallback(&self) -> Option<Self> {
        let upstream = self.thumbnail_substitute.clone()?;
        Some(Self { upstream, thumbnail_substitute: None, ..self.clone() })
    }

    /// Requests the whole `instance`, from which the gateway renders the requested image.
    pub(crate) fn for_object(&self, instance: DicomResource) -> Self {
        Self {
            upstream: UpstreamRequest::retrieve(Retrieval::whole(instance.clone())),
            thumbnail_substitute: None,
            accepted: Accepted::object(),
            accepts_gzip: false,
            resource: Resource::Whole(instance),
            ..self.clone()
        }
    }

    /// Whether the gateway renders without trying the archive first. Archives silently ignore `annotation`: the image would
    /// lack the requested patient's name.
    pub(crate) fn is_rendered_here(&self, archive: &Archive) -> bool {
        let is_annotated = self.rendering.parameter("annotation").is_some();
        self.resource.is_for_people()
            && (is_annotated || archive.profile().synthesized.contains(Synthesized::Rendered))
    }

    /// The upstream requests, sent one after the other until the archive accepts one.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Attempt> {
        self.accepted.attempts().map(|RequestedTypes { media_types, only_part }| {
            let request = match media_types {
                Some(media_types) => self.upstream.clone().with_accept(media_types),
                None => self.upstream.clone(),
            };
            // A range would include the multipart framing.
            let request = if only_part.is_some() { request.without_range() } else { request };
            Attempt { request, only_part }
        })
    }

    /// Whether the client names specific media types, so that an archive's rejection of them means 406. For rows and metadata
    /// the gateway chooses the media types, and `*/*` names none.
    pub(crate) fn names_media_types(&self) -> bool {
        let ranges = &self.accepted.ranges;
        let accepts_anything = ranges.iter().any(|range| range.essence == "*/*" && range.quality > 0.0);
        !self.resource.is_text() && !ranges.is_empty() && !accepts_anything
    }

    /// Whether it is a search.
    pub(crate) fn is_search(&self) -> bool {
        matches!(self.resource, Resource::Search(_))
    }
}

/// Rejects a search by an attribute that the gateway computes for `archive`.
pub(crate) fn reject_computed_keys(archive: &Archive, query: &QidoQuery) -> Result<(), DicomwebError> {
    match computed_key(archive, query) {
        Some(key) => Err(DicomwebError::UnsearchableAttribute(tag::keyword(key).unwrap_or_default())),
        None => Ok(()),
    }
}

/// A thumbnail as a small rendered image (PS3.18 10.4.1.1.5).
fn thumbnail_as_rendered(resource: &Resource, rendering: &Rendering) -> Option<Retrieval> {
    match resource {
        Resource::Thumbnail(objects) => {
            Some(Retrieval::rendered(objects.clone(), rendering.clone().within(THUMBNAIL_SIZE)))
        }
        _ => None,
    }
}
