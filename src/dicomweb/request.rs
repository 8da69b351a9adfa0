//! What a client asks, read into what the archive is asked.

pub(crate) mod accept;
pub(crate) mod path;
pub(crate) mod payload;
pub(crate) mod query;
pub(crate) mod wado_uri;

use http::{HeaderMap, HeaderValue, Method, header};

use super::error::DicomwebError;
use super::rendering::THUMBNAIL;
use super::request::accept::{Accepted, Asked, Format};
use super::request::path::Resource;
use super::synthesis;
use super::url_rewrite::url_map::UrlMap;
use crate::http::negotiation;
use crate::http::query::decode;
use crate::upstream::{
    Archive, DicomResource, QidoQuery, Rendering, Retrieval, Synthesized, UpstreamRequest,
};
use dicom_model::{SopInstanceUid, tag};

/// A request below `/dicom-web/{archive}/`, raw as it came.
#[derive(Debug, Clone, Copy)]
pub struct DicomwebRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The raw path behind `/dicom-web/{archive}/`, without a leading slash.
    pub path: &'a str,
    /// The raw query.
    pub query: Option<&'a str>,
    /// All its headers, of which few cross.
    pub headers: &'a HeaderMap,
}

/// One way of asking.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) request: UpstreamRequest,
    /// The answer's one part is what is wanted, as this media type.
    pub(super) only_part: Option<&'static str>,
}

/// What is asked, and what must be known to pass the answer on.
#[derive(Debug, Clone)]
pub(super) struct ProxyRequest {
    pub(super) resource: Resource,
    pub(super) addresses: UrlMap,
    /// The client takes gzip.
    pub(super) takes_gzip: bool,
    /// What the client takes.
    pub(super) accepted: Accepted,
    /// How the client wants pictures to look.
    pub(super) rendering: Rendering,
    /// Nothing may tell whose the object is that has this UID.
    pub(super) anonymous: Option<SopInstanceUid>,
    upstream: UpstreamRequest,
    /// What does as well where the archive does not have what is asked for.
    substitute: Option<UpstreamRequest>,
}

impl ProxyRequest {
    pub(super) fn read(
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Self, DicomwebError> {
        if request.path == wado_uri::PATH {
            return Self::of_uri_service(archive, public, request);
        }
        let resource = Resource::parse(request.path)?;
        let pairs = decode(request.query.unwrap_or_default())?;
        let (upstream, substitute, rendering, common) = match resource.clone() {
            Resource::Search(level) => {
                let (query, common) = query::search(level, &pairs)?;
                require_keys(archive, &query)?;
                (UpstreamRequest::search(query), None, Rendering::default(), common)
            }
            retrieved => {
                let (rendering, common) = query::retrieval(resource.is_for_people(), &pairs)?;
                let substitute = drawn_small(&retrieved, &rendering).map(UpstreamRequest::retrieve);
                let retrieval = retrieved.retrieval(rendering.clone()).ok_or(super::PathError::Unknown)?;
                (UpstreamRequest::retrieve(retrieval), substitute, rendering, common)
            }
        };
        let mut headers = common.headers_of(request);
        // What is rewritten has other lengths here, so that a range of it would be a range of something else.
        if resource.is_text() {
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
        let settings = archive.settings();
        Ok(Self {
            addresses: UrlMap::new(public, &settings.qido_url, &settings.wado_url, request.path),
            takes_gzip: negotiation::accepts_gzip(&headers),
            accepted: Accepted::read(&headers, &resource).ok_or(DicomwebError::NotAcceptable)?,
            anonymous: None,
            upstream: upstream.forwarding_headers(&headers),
            substitute: substitute.map(|substitute| substitute.forwarding_headers(&headers)),
            rendering,
            resource,
        })
    }

    /// The same in JSON, in which rows are completed, whatever they are written in then.
    pub(super) fn in_json(&self) -> Self {
        Self { accepted: Accepted::rows(), ..self.clone() }
    }

    /// Asks for the metadata of `objects` as rows, for a list that is put together here.
    pub(super) fn of_metadata(archive: &Archive, public: &str, objects: DicomResource) -> Self {
        let settings = archive.settings();
        let retrieval = Retrieval::metadata(objects.clone());
        let addresses = UrlMap::new(public, &settings.qido_url, &settings.wado_url, &retrieval.path());
        Self {
            resource: Resource::Metadata(objects),
            addresses,
            takes_gzip: false,
            accepted: Accepted::rows(),
            rendering: Rendering::default(),
            anonymous: None,
            upstream: UpstreamRequest::retrieve(retrieval),
            substitute: None,
        }
    }

    /// The query says what is taken; without it the choice is the archive's (PS3.18 9.4.1.2.1).
    fn of_uri_service(
        archive: &Archive,
        public: &str,
        request: &DicomwebRequest<'_>,
    ) -> Result<Self, DicomwebError> {
        let settings = archive.settings();
        let object = wado_uri::read(&decode(request.query.unwrap_or_default())?)?;
        let resource = wado_uri::resource(&object);
        let accepted = Accepted::as_asked(object.names("text/html"));
        let anonymous = object.is_anonymous().then(|| object.instance().clone());
        let upstream = UpstreamRequest::wado_uri(settings, object).ok_or(DicomwebError::NoUriService)?;
        let upstream = upstream.forwarding_headers(request.headers);
        Ok(Self {
            addresses: UrlMap::new(public, &settings.qido_url, &settings.wado_url, request.path),
            takes_gzip: negotiation::accepts_gzip(request.headers),
            accepted,
            // A range of what must be looked into would not show it.
            upstream: if anonymous.is_some() { upstream.without_range() } else { upstream },
            anonymous,
            rendering: Rendering::default(),
            substitute: None,
            resource,
        })
    }

    /// The same asked of the service that draws images, where it is a thumbnail that is wanted.
    pub(super) fn thumbnail_fallback(&self) -> Option<Self> {
        let upstream = self.substitute.clone()?;
        Some(Self { upstream, substitute: None, ..self.clone() })
    }

    /// The whole of an instance, of which the gateway makes what was asked for.
    pub(super) fn for_object(&self, instance: DicomResource) -> Self {
        Self {
            upstream: UpstreamRequest::retrieve(Retrieval::whole(instance.clone())),
            substitute: None,
            accepted: Accepted::object(),
            takes_gzip: false,
            resource: Resource::Whole(instance),
            ..self.clone()
        }
    }

    /// Whether the gateway draws it without asking the archive for pictures. Archives ignore annotations without a word, and a
    /// picture that should have said whose it is would not.
    pub(super) fn is_rendered_here(&self, archive: &Archive) -> bool {
        let is_annotated = self.rendering.parameter("annotation").is_some();
        self.resource.is_for_people()
            && (is_annotated || archive.profile().supplied.has(Synthesized::Rendered))
    }

    /// What the archive is asked, one after the other until it does not refuse.
    pub(super) fn attempts(&self) -> impl Iterator<Item = Attempt> {
        self.accepted.attempts().map(|Asked { media_types, only_part }| {
            let request = match media_types {
                Some(media_types) => self.upstream.clone().accepting(media_types),
                None => self.upstream.clone(),
            };
            // A range would be one of the parts with what surrounds them.
            let request = if only_part.is_some() { request.without_range() } else { request };
            Attempt { request, only_part }
        })
    }

    /// Whether the client names the media types that it takes, so that not having one is not having the resource in it. For rows
    /// and metadata the archive is asked for formats of the gateway's choice, and who takes anything names nothing.
    pub(super) fn names_media_types(&self) -> bool {
        let ranges = &self.accepted.ranges;
        let takes_anything = ranges.iter().any(|range| range.essence == "*/*" && range.quality > 0.0);
        !self.resource.is_text() && !ranges.is_empty() && !takes_anything
    }

    /// Whether something is searched for.
    pub(super) fn is_search(&self) -> bool {
        matches!(self.resource, Resource::Search(_))
    }
}

/// Refuses a search by what the archive does not know.
pub(super) fn require_keys(archive: &Archive, query: &QidoQuery) -> Result<(), DicomwebError> {
    match synthesis::computed_key(archive, query) {
        Some(key) => Err(DicomwebError::UnsearchableAttribute(tag::keyword(key).unwrap_or_default())),
        None => Ok(()),
    }
}

/// What a thumbnail is to an archive that has none: an image that is drawn small (PS3.18 10.4.1.1.5).
fn drawn_small(resource: &Resource, rendering: &Rendering) -> Option<Retrieval> {
    match resource {
        Resource::Thumbnail(objects) => {
            Some(Retrieval::rendered(objects.clone(), rendering.clone().within(THUMBNAIL)))
        }
        _ => None,
    }
}

/// A search whose rows are put together here, out of those of several archives.
#[derive(Debug)]
pub(super) struct SearchQuestion {
    pub(super) query: QidoQuery,
    /// How they are written.
    pub(super) format: Format,
}

impl SearchQuestion {
    pub(super) fn read(request: &DicomwebRequest<'_>, resource: &Resource) -> Result<Self, DicomwebError> {
        let Resource::Search(level) = resource else { return Err(super::PathError::Unknown.into()) };
        let pairs = decode(request.query.unwrap_or_default())?;
        let (query, common) = query::search(level.clone(), &pairs)?;
        let accepted = Accepted::read(&common.headers_of(request), resource);
        let format = accepted.ok_or(DicomwebError::NotAcceptable)?.wanted();
        Ok(Self { query, format })
    }
}

impl query::Common {
    /// The request's headers, with what takes their place in the query.
    fn headers_of(&self, request: &DicomwebRequest<'_>) -> HeaderMap {
        let mut headers = request.headers.clone();
        if let Some(accept) = self.accept.as_ref().and_then(|accept| HeaderValue::from_str(accept).ok()) {
            headers.insert(header::ACCEPT, accept);
        }
        headers
    }
}
