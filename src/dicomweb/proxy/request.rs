//! The request of a client to one archive: the upstream requests, and the information that is needed to forward the response.
//!
//! The upstream URL is built from typed parts. Only headers of the client that concern the archive are forwarded (PS3.18 8.4, RFC
//! 9110).

use http::{HeaderMap, header};

use crate::dicomweb::error::DicomwebError;
use crate::dicomweb::request::DicomwebRequest;
use crate::dicomweb::request::accept::{Accepted, RequestedTypes};
use crate::dicomweb::request::computed_attributes::computed_key;
use crate::dicomweb::request::path::{PathError, Resource, Target};
use crate::dicomweb::request::query::{self, QueryError};
use crate::dicomweb::request::retrieval_query::RetrievalParameters;
use crate::dicomweb::request::wado_uri;
use crate::dicomweb::url_rewrite::query_seal::QuerySeal;
use crate::dicomweb::url_rewrite::url_map::UrlMap;
use crate::http::negotiation;
use crate::http::query::decode;
use crate::upstream::{
    Archive, DicomResource, ExactKeys, QidoQuery, Rendering, Retrieval, Synthesized, UpstreamRequest,
};
use dicom_model::{SopInstanceUid, tag};

/// The default width and height of a thumbnail in pixels, which are usual in the lists of viewers.
pub(crate) const THUMBNAIL_SIZE: u32 = 128;

/// One upstream request for a [`ProxyRequest`].
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The request with its Accept header.
    pub(crate) request: UpstreamRequest,
    /// The media type of the response, if only the content of the single part of the upstream response is forwarded.
    pub(crate) only_part: Option<&'static str>,
}

/// The request of a client to one archive, and the information that is needed to forward the response.
#[derive(Debug, Clone)]
pub(crate) struct ProxyRequest {
    /// The requested resource.
    pub(crate) resource: Resource,
    /// The URLs that are rewritten in the response.
    pub(crate) url_map: UrlMap,
    /// Whether the client accepts gzip.
    pub(crate) accepts_gzip: bool,
    /// The media types that the client accepts.
    pub(crate) accepted: Accepted,
    /// The rendering parameters of the client.
    pub(crate) rendering: Rendering,
    /// The keys that the rows of a search are compared with.
    pub(crate) exact_keys: ExactKeys,
    /// The maximum number of rows that the client requests.
    pub(crate) limit: Option<u32>,
    /// Whether the client requested more rows than the gateway may request from an archive.
    pub(crate) is_limit_reduced: bool,
    /// The SOP Instance UID of the original, which the requested anonymized object must not have.
    pub(crate) anonymized_original: Option<SopInstanceUid>,
    upstream: UpstreamRequest,
    /// The request that replaces `upstream` if the archive does not provide thumbnails.
    thumbnail_substitute: Option<UpstreamRequest>,
}

impl ProxyRequest {
    /// Parses the request of a client. `public_url` is the public URL of the archive.
    pub(crate) fn read(
        archive: &Archive,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        query_seal: QuerySeal,
    ) -> Result<Self, DicomwebError> {
        let resource = match request.target {
            Target::UriService => return Self::for_uri_service(archive, public_url, request, query_seal),
            Target::Resource(resource) => resource.clone(),
        };
        let pairs = decode(request.query.unwrap_or_default())?;
        let (mut is_limit_reduced, mut exact_keys, mut limit) = (false, ExactKeys::default(), None);
        let (upstream, thumbnail_substitute, rendering, common) = match resource.clone() {
            Resource::Search(level) => {
                let search = query::parse_search(level, &pairs, request.uid_rule)?;
                reject_computed_keys(archive, &search.query)?;
                is_limit_reduced = search.is_limit_reduced;
                // A search that finds nothing without the other UIDs is not sent.
                let query = search.query.restricted_to(archive.uid_rule()).ok_or(DicomwebError::NotFound)?;
                exact_keys = ExactKeys::from_query(&query);
                limit = query.window().0;
                (UpstreamRequest::search(query), None, Rendering::default(), search.common)
            }
            retrieved => {
                let RetrievalParameters { rendering, common, sealed_query } =
                    RetrievalParameters::parse(&resource, &pairs)?;
                let thumbnail_substitute =
                    rendered_thumbnail(&retrieved, &rendering).map(UpstreamRequest::retrieve);
                let retrieval = retrieved.retrieval(rendering.clone()).ok_or(PathError::Unknown)?;
                let unseal =
                    |sealed: String| query_seal.open(&retrieval.path(), &sealed).ok_or(QueryError::Sealed);
                let archive_query = sealed_query.map(unseal).transpose()?;
                let retrieval = retrieval.with_archive_query(archive_query);
                (UpstreamRequest::retrieve(retrieval), thumbnail_substitute, rendering, common)
            }
        };
        let mut headers = common.headers_of(request);
        // Rewriting URLs changes lengths, so a range of the archive's bytes is not a range of the response.
        if resource.is_text() {
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
        let settings = archive.settings();
        Ok(Self {
            url_map: UrlMap::new(public_url, &settings.qido_url, &settings.wado_url, request.path)
                .with_uid_rule(archive.uid_rule())
                .with_query_seal(query_seal),
            accepts_gzip: negotiation::accepts_gzip(&headers),
            accepted: Accepted::read(&headers, &resource).ok_or(DicomwebError::NotAcceptable)?,
            exact_keys,
            limit,
            is_limit_reduced,
            anonymized_original: None,
            upstream: upstream.with_forwarded_headers(&headers),
            thumbnail_substitute: thumbnail_substitute
                .map(|substitute| substitute.with_forwarded_headers(&headers)),
            rendering,
            resource,
        })
    }

    /// Returns a request for the same rows in JSON. Rows are completed in JSON before they are converted to the format of the response.
    pub(crate) fn in_json(&self) -> Self {
        Self { accepted: Accepted::rows(), ..self.clone() }
    }

    /// Returns a request for the metadata of `objects` in JSON, for a list that the gateway assembles. `url_map` is that of the list.
    pub(crate) fn for_metadata(url_map: &UrlMap, objects: DicomResource) -> Self {
        let retrieval = Retrieval::metadata(objects.clone());
        let url_map = url_map.for_resource(&retrieval.path());
        Self::for_retrieval(Resource::Metadata(objects), retrieval, url_map, Accepted::rows())
    }

    /// Creates a request for the rendered image `resource` that no client has sent. The response is not for a client, so its URLs
    /// are not rewritten.
    pub(crate) fn for_rendered(
        archive: &Archive,
        resource: Resource,
        rendering: Rendering,
        headers: &HeaderMap,
    ) -> Result<Self, DicomwebError> {
        let retrieval = resource.clone().retrieval(rendering.clone()).ok_or(PathError::Unknown)?;
        let settings = archive.settings();
        let url_map = UrlMap::new("", &settings.qido_url, &settings.wado_url, &retrieval.path());
        let accepted = Accepted::read(headers, &resource).ok_or(DicomwebError::NotAcceptable)?;
        Ok(Self { rendering, ..Self::for_retrieval(resource, retrieval, url_map, accepted) })
    }

    /// Creates a request for `resource`, which `retrieval` retrieves, that no client has sent.
    fn for_retrieval(resource: Resource, retrieval: Retrieval, url_map: UrlMap, accepted: Accepted) -> Self {
        Self {
            resource,
            url_map,
            accepts_gzip: false,
            accepted,
            rendering: Rendering::default(),
            exact_keys: ExactKeys::default(),
            limit: None,
            is_limit_reduced: false,
            anonymized_original: None,
            upstream: UpstreamRequest::retrieve(retrieval),
            thumbnail_substitute: None,
        }
    }

    /// Parses a request to the URI service. The query contains the accepted media types; without them the archive selects one
    /// (PS3.18 9.4.1.2.1).
    fn for_uri_service(
        archive: &Archive,
        public_url: &str,
        request: &DicomwebRequest<'_>,
        query_seal: QuerySeal,
    ) -> Result<Self, DicomwebError> {
        let settings = archive.settings();
        let object = wado_uri::read(&decode(request.query.unwrap_or_default())?, request.uid_rule)?;
        let resource = wado_uri::resource_of(&object);
        let accepted = Accepted::in_query(object.requests_media_type("text/html"));
        let anonymized_original = object.requests_anonymized().then(|| object.instance().clone());
        let upstream = UpstreamRequest::wado_uri(settings, object)
            .ok_or_else(|| DicomwebError::NoUriService(vec![archive.id().clone()]))?;
        let upstream = upstream.with_forwarded_headers(request.headers);
        Ok(Self {
            url_map: UrlMap::new(public_url, &settings.qido_url, &settings.wado_url, request.path)
                .with_uid_rule(archive.uid_rule())
                .with_query_seal(query_seal),
            accepts_gzip: negotiation::accepts_gzip(request.headers),
            accepted,
            // The beginning of the object, which a range may not contain, is inspected.
            upstream: if anonymized_original.is_some() { upstream.without_range() } else { upstream },
            anonymized_original,
            exact_keys: ExactKeys::default(),
            limit: None,
            is_limit_reduced: false,
            rendering: Rendering::default(),
            thumbnail_substitute: None,
            resource,
        })
    }

    /// Returns a request for a small rendered image instead of a thumbnail, for an archive that does not provide thumbnails (PS3.18
    /// 10.4.1.1.4); `None` if the request is not for a thumbnail.
    pub(crate) fn thumbnail_fallback(&self) -> Option<Self> {
        let upstream = self.thumbnail_substitute.clone()?;
        Some(Self { upstream, thumbnail_substitute: None, ..self.clone() })
    }

    /// Returns a request for the whole `instance`, from which the gateway renders the requested image.
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

    /// Whether the gateway renders the image without requesting it from the archive. Archives ignore `annotation`, so their image
    /// would not contain the requested annotations.
    pub(crate) fn is_rendered_by_gateway(&self, archive: &Archive) -> bool {
        let is_annotated = self.rendering.parameter("annotation").is_some();
        self.resource.has_rendered_media_type()
            && (is_annotated || archive.profile().synthesized.contains(Synthesized::Rendered))
    }

    /// Returns the upstream requests, which are sent in this order until the archive accepts one.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Attempt> {
        self.accepted.attempts().map(|RequestedTypes { media_types, only_part }| {
            let request = match media_types {
                Some(media_types) => self.upstream.clone().with_accept(media_types),
                None => self.upstream.clone(),
            };
            // The range would be one of the multipart body, not of its part.
            let request = if only_part.is_some() { request.without_range() } else { request };
            Attempt { request, only_part }
        })
    }

    /// Returns the media type of the only part of the multipart response to `attempt` with this Content-Type, if the client receives the
    /// content of this part.
    pub(crate) fn only_part_of(&self, attempt: &Attempt, content_type: &str) -> Option<String> {
        attempt.only_part.map(str::to_owned).or_else(|| self.accepted.only_part_of(content_type))
    }

    /// Whether the client requests specific media types. If it does, their rejection by the archive means 406. For rows and metadata
    /// the gateway selects the media types.
    pub(crate) fn specifies_media_types(&self) -> bool {
        let ranges = &self.accepted.ranges;
        let accepts_anything = ranges.iter().any(|range| range.essence == "*/*" && range.weight > 0.0);
        !self.resource.is_text() && !ranges.is_empty() && !accepts_anything
    }

    /// Whether the request is a search.
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

/// Returns the retrieval of a small rendered image for a thumbnail (PS3.18 10.4.1.1.4).
fn rendered_thumbnail(resource: &Resource, rendering: &Rendering) -> Option<Retrieval> {
    match resource {
        Resource::Thumbnail(objects) => {
            Some(Retrieval::rendered(objects.clone(), rendering.clone().within(THUMBNAIL_SIZE)))
        }
        _ => None,
    }
}
