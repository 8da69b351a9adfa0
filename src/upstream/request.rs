//! A request to an archive, built from typed parts. No other request is sent to an archive, and it cannot contain a raw path,
//! query or header of a caller.

use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use super::qido::{QidoQuery, SearchLevel};
use super::settings::Settings;
use super::wado::retrieve::Retrieval;
use super::wado::uri::WadoUri;

/// A request to an archive.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    pub(super) service: ArchiveService,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
}

/// The service of the archive that is called, with its parameters.
#[derive(Debug, Clone)]
pub(super) enum ArchiveService {
    Search(QidoQuery),
    Retrieve(Retrieval),
    /// The URI service, with its URL.
    Uri(Url, WadoUri),
}

/// The class of a request. Each class has its own permits and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// QIDO-RS.
    Search,
    /// WADO-RS metadata.
    Metadata,
    /// All other resources of WADO-RS, and WADO-URI.
    Retrieve,
}

impl Class {
    /// Returns the label of the class in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Metadata => "metadata",
            Self::Retrieve => "retrieve",
        }
    }
}

/// The request headers of a caller that may be forwarded to an archive unchanged.
pub const FORWARDED_HEADERS: [header::HeaderName; 4] =
    [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// The `Accept` of requests whose DICOM JSON the gateway reads itself.
const DICOM_JSON: HeaderValue = HeaderValue::from_static("application/dicom+json, application/json;q=0.9");

impl UpstreamRequest {
    /// Creates a search whose rows the gateway reads.
    pub fn search(query: QidoQuery) -> Self {
        Self::get(ArchiveService::Search(query)).with_accept(DICOM_JSON)
    }

    /// Creates a retrieval. The gateway reads the response of a [`Retrieval::metadata`]; other responses are forwarded.
    pub fn retrieve(retrieval: Retrieval) -> Self {
        let request = Self::get(ArchiveService::Retrieve(retrieval));
        match request.class() {
            Class::Metadata => request.with_accept(DICOM_JSON),
            _ => request,
        }
    }

    /// Creates a retrieval of one object by the URI service; `None` if the archive has no URI service.
    pub fn wado_uri(settings: &Settings, object: WadoUri) -> Option<Self> {
        settings.wado_uri_url.clone().map(|url| Self::get(ArchiveService::Uri(url, object)))
    }

    /// Uses `HEAD` instead of `GET`.
    #[must_use]
    pub fn head_only(mut self) -> Self {
        self.method = Method::HEAD;
        self
    }

    /// Adds the [`FORWARDED_HEADERS`] of a caller's request.
    #[must_use]
    pub fn with_forwarded_headers(mut self, headers: &HeaderMap) -> Self {
        for name in FORWARDED_HEADERS {
            if let Some(value) = headers.get(&name) {
                self.headers.insert(name, value.clone());
            }
        }
        // The response to several ranges is multipart/byteranges, and many small ranges are an attack (RFC 9110 14.2, 17.15).
        if self.headers.get(header::RANGE).is_some_and(|range| !is_single_range(range)) {
            return self.without_range();
        }
        self
    }

    /// Removes the range, so that the archive returns the whole representation.
    #[must_use]
    pub fn without_range(mut self) -> Self {
        self.headers.remove(header::RANGE);
        self.headers.remove(header::IF_RANGE);
        self
    }

    /// Sets `Accept`.
    #[must_use]
    pub fn with_accept(mut self, media_types: HeaderValue) -> Self {
        self.headers.insert(header::ACCEPT, media_types);
        self
    }

    /// Returns the class of the request.
    pub fn class(&self) -> Class {
        match &self.service {
            ArchiveService::Search(_) => Class::Search,
            ArchiveService::Retrieve(retrieval) if retrieval.is_metadata() => Class::Metadata,
            ArchiveService::Retrieve(_) | ArchiveService::Uri(..) => Class::Retrieve,
        }
    }

    /// Whether the request may be sent again if the connection was closed before the response arrived. Rendering is expensive,
    /// and an archive that failed while rendering should not receive the same request again.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.service {
            ArchiveService::Search(_) => true,
            ArchiveService::Retrieve(retrieval) => !retrieval.is_rendered(),
            ArchiveService::Uri(_, object) => !object.is_rendered(),
        }
    }

    /// Whether the request has a condition, so that the response may be 304 (RFC 9110 13.1.2, 13.1.3).
    pub(super) fn is_conditional(&self) -> bool {
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].iter().any(|name| self.headers.contains_key(name))
    }

    /// Whether the request searches for studies, so that 404 can only mean a wrong URL.
    pub(super) fn is_study_search(&self) -> bool {
        matches!(&self.service, ArchiveService::Search(query) if *query.level() == SearchLevel::Studies)
    }

    /// Builds the URL from the root URL of the archive, fixed and typed path segments, and known query keys.
    pub(super) fn url(&self, settings: &Settings) -> Url {
        let (root, path, query) = match &self.service {
            ArchiveService::Search(search) => {
                let query = search.query_string(settings.profile.include_style);
                (&settings.qido_url, Some(search.level().path()), query)
            }
            ArchiveService::Retrieve(retrieval) => {
                (&settings.wado_url, Some(retrieval.path()), retrieval.query_string())
            }
            ArchiveService::Uri(url, object) => (url, None, object.query_string()),
        };
        let mut url = root.clone();
        if let Some(path) = path {
            url.set_path(&format!("{}/{path}", root.path().trim_end_matches('/')));
        }
        url.set_query((!query.is_empty()).then_some(&query));
        url
    }

    fn get(service: ArchiveService) -> Self {
        Self { service, method: Method::GET, headers: HeaderMap::new() }
    }
}

/// Whether `value` is one byte range: `bytes=0-99`, `bytes=100-` or `bytes=-100` (RFC 9110 14.1.2).
fn is_single_range(value: &HeaderValue) -> bool {
    let is_position = |text: &str| text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    range.is_some_and(|(first, last)| {
        is_position(first) && is_position(last) && !(first.is_empty() && last.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forwarded_range(range: &HeaderValue) -> Option<HeaderValue> {
        let headers = [(header::RANGE, range.clone()), (header::IF_RANGE, HeaderValue::from_static("\"a\""))];
        let query = QidoQuery::new(SearchLevel::Studies);
        let request = UpstreamRequest::search(query).with_forwarded_headers(&HeaderMap::from_iter(headers));
        assert_eq!(
            request.headers.contains_key(header::RANGE),
            request.headers.contains_key(header::IF_RANGE)
        );
        request.headers.get(header::RANGE).cloned()
    }

    #[test]
    fn only_a_single_byte_range_is_forwarded() {
        for range in ["bytes=0-0", "bytes=100-", "bytes=-5", "bytes=5-1"] {
            assert_eq!(forwarded_range(&HeaderValue::from_static(range)).unwrap(), range);
        }
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=0-1,3-4",
            "bytes=a-b",
            "items=0-1",
            "bytes= 0-1",
            "bytes=--1",
        ] {
            assert_eq!(forwarded_range(&HeaderValue::from_static(range)), None, "{range}");
        }
    }

    proptest! {
        #[test]
        fn a_forwarded_range_always_matches_the_grammar(range in prop::collection::vec(any::<u8>(), 0..60), digits in "bytes=[0-9,-]{0,60}") {
            for range in [range.as_slice(), digits.as_bytes()] {
                if let Some(forwarded) = HeaderValue::from_bytes(range).ok().and_then(|range| forwarded_range(&range)) {
                    let text = forwarded.to_str().unwrap().strip_prefix("bytes=").unwrap();
                    prop_assert!(text.len() <= 39 && text.matches('-').count() == 1);
                    prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
                }
            }
        }
    }
}
