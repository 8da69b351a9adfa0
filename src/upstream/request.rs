//! A request to an archive, built from typed parts. No other request is sent to an archive. A request contains no raw path or
//! query of a caller, and of the caller's headers only [`FORWARDED_HEADERS`].

use http::{HeaderMap, HeaderValue, header};
use url::Url;

use super::change_feed::FeedRequest;
use super::qido::{IncludeStyle, QidoQuery, SearchLevel};
use super::settings::Settings;
use super::wado::retrieve::Retrieval;
use super::wado::uri::WadoUri;

/// A request to an archive.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    pub(super) service: ArchiveService,
    pub(super) headers: HeaderMap,
}

/// The service of the archive that is called, with its parameters.
#[derive(Debug, Clone)]
pub(super) enum ArchiveService {
    Search(QidoQuery),
    Retrieve(Retrieval),
    /// The URI service, with its URL and its parameters.
    Uri(Url, WadoUri),
    /// The change feed, with the root URL of the REST API.
    ChangeFeed(Url, FeedRequest),
}

/// The class of a request. Each class of an archive has separate permits, a separate circuit breaker, and a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestClass {
    /// QIDO-RS.
    Search,
    /// WADO-RS metadata.
    Metadata,
    /// All other resources of WADO-RS, and WADO-URI.
    Retrieve,
}

impl RequestClass {
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

/// The `Accept` of requests whose DICOM JSON response the gateway parses.
const DICOM_JSON: HeaderValue = HeaderValue::from_static("application/dicom+json, application/json;q=0.9");

/// The values of `Accept` for objects in their stored transfer syntax, which are sent in this order until the archive does not reject the request: the value of PS3.18 8.7.3.3, a
/// value for archives that do not support `transfer-syntax=*`, and a value for a single object.
pub const OBJECT_MEDIA_TYPES: [HeaderValue; 3] = [
    HeaderValue::from_static("multipart/related; type=\"application/dicom\"; transfer-syntax=*"),
    HeaderValue::from_static("multipart/related; type=\"application/dicom\""),
    HeaderValue::from_static("application/dicom; transfer-syntax=*"),
];

impl UpstreamRequest {
    /// Creates a search whose rows the gateway parses.
    pub fn search(query: QidoQuery) -> Self {
        Self::new(ArchiveService::Search(query)).with_accept(DICOM_JSON)
    }

    /// Creates a retrieval. For metadata, `Accept` is DICOM JSON, which the gateway parses.
    pub fn retrieve(retrieval: Retrieval) -> Self {
        let request = Self::new(ArchiveService::Retrieve(retrieval));
        match request.class() {
            RequestClass::Metadata => request.with_accept(DICOM_JSON),
            _ => request,
        }
    }

    /// Creates a retrieval of one object by the URI service; `None` if the archive has no URI service.
    pub fn wado_uri(settings: &Settings, parameters: WadoUri) -> Option<Self> {
        settings.wado_uri_url.clone().map(|url| Self::new(ArchiveService::Uri(url, parameters)))
    }

    /// Creates a request to the change feed; `None` if the archive has none.
    pub(super) fn change_feed(settings: &Settings, request: FeedRequest) -> Option<Self> {
        settings.rest_url.clone().map(|url| Self::new(ArchiveService::ChangeFeed(url, request)))
    }

    /// Adds the [`FORWARDED_HEADERS`] of a caller's request.
    #[must_use]
    pub fn with_forwarded_headers(mut self, headers: &HeaderMap) -> Self {
        for name in FORWARDED_HEADERS {
            if let Some(value) = headers.get(&name) {
                self.headers.insert(name, value.clone());
            }
        }
        // The response to several ranges is multipart/byteranges, and many small ranges can be a denial-of-service attack
        // (RFC 9110 14.2, 17.15).
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

    /// Whether the request is for a range.
    pub fn has_range(&self) -> bool {
        self.headers.contains_key(header::RANGE)
    }

    /// Sets `Accept`.
    #[must_use]
    pub fn with_accept(mut self, media_types: HeaderValue) -> Self {
        self.headers.insert(header::ACCEPT, media_types);
        self
    }

    /// Returns the class of the request.
    pub fn class(&self) -> RequestClass {
        match &self.service {
            ArchiveService::Search(_) | ArchiveService::ChangeFeed(..) => RequestClass::Search,
            ArchiveService::Retrieve(retrieval) if retrieval.is_metadata() => RequestClass::Metadata,
            ArchiveService::Retrieve(_) | ArchiveService::Uri(..) => RequestClass::Retrieve,
        }
    }

    /// Whether the request is to the change feed.
    pub(super) fn is_to_change_feed(&self) -> bool {
        matches!(self.service, ArchiveService::ChangeFeed(..))
    }

    /// Whether the request may be sent again if the connection was closed before the response arrived. Rendering is expensive,
    /// and an archive that failed while rendering should not receive the same request again.
    pub(super) fn is_retryable(&self) -> bool {
        match &self.service {
            ArchiveService::Search(_) | ArchiveService::ChangeFeed(..) => true,
            ArchiveService::Retrieve(retrieval) => !retrieval.is_rendered(),
            ArchiveService::Uri(_, parameters) => !parameters.is_rendered(),
        }
    }

    /// Whether the request has a condition, so that the response may be 304 (RFC 9110 13.1.2, 13.1.3).
    pub(super) fn is_conditional(&self) -> bool {
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].iter().any(|name| self.headers.contains_key(name))
    }

    /// Whether the request is a search across studies. It has no parent resource that a 404 could refer to.
    pub(super) fn is_search_across_studies(&self) -> bool {
        let ArchiveService::Search(query) = &self.service else { return false };
        matches!(query.level(), SearchLevel::Studies | SearchLevel::AllSeries | SearchLevel::AllInstances)
    }

    /// Builds the URL from the root URL of the archive, path segments that are constants or typed values, and known query keys.
    pub(super) fn url(&self, settings: &Settings, include_style: IncludeStyle) -> Url {
        let (root, path, query) = match &self.service {
            ArchiveService::Search(search) => {
                let query = search.query_string(include_style);
                (&settings.qido_url, Some(search.level().path()), query)
            }
            ArchiveService::Retrieve(retrieval) => {
                (&settings.wado_url, Some(retrieval.path()), retrieval.query_string())
            }
            ArchiveService::Uri(url, parameters) => (url, None, parameters.query_string()),
            ArchiveService::ChangeFeed(url, request) => (url, Some(request.path()), request.query_string()),
        };
        let mut url = root.clone();
        if let Some(path) = path {
            url.set_path(&format!("{}/{path}", root.path().trim_end_matches('/')));
        }
        url.set_query((!query.is_empty()).then_some(&query));
        url
    }

    fn new(service: ArchiveService) -> Self {
        Self { service, headers: HeaderMap::new() }
    }
}

/// Whether `value` is one byte range: `bytes=0-99`, `bytes=100-` or `bytes=-100` (RFC 9110 14.1.2).
fn is_single_range(value: &HeaderValue) -> bool {
    // A number of at most 19 digits fits in 64 bits.
    let is_optional_integer = |text: &str| text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    range.is_some_and(|(first, last)| {
        is_optional_integer(first) && is_optional_integer(last) && !(first.is_empty() && last.is_empty())
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
        fn every_forwarded_range_is_one_byte_range(
            header_value in prop::collection::vec(any::<u8>(), 0..60),
            similar_to_range in "bytes=[0-9,-]{0,60}",
        ) {
            for range in [header_value.as_slice(), similar_to_range.as_bytes()] {
                if let Some(forwarded) = HeaderValue::from_bytes(range).ok().and_then(|range| forwarded_range(&range)) {
                    let text = forwarded.to_str().unwrap().strip_prefix("bytes=").unwrap();
                    prop_assert!(text.len() <= 39 && text.matches('-').count() == 1);
                    prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
                }
            }
        }
    }
}
