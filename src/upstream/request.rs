//! The only way to call an archive: a request built from typed parts. It cannot hold a raw path, query or header of a caller.

use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use super::qido::{QidoQuery, SearchLevel};
use super::settings::Settings;
use super::wado::retrieve::Retrieval;
use super::wado::uri::WadoUri;

/// A request to an archive.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    pub(super) what: What,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
}

/// Which of the archive's services is called.
#[derive(Debug, Clone)]
pub(super) enum What {
    Search(QidoQuery),
    Retrieve(Retrieval),
    /// The URI service at that URL.
    Uri(Url, WadoUri),
}

/// The kind of work that a request is for the archive, for permits and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// QIDO-RS.
    Search,
    /// WADO-RS metadata.
    Metadata,
    /// Everything else of WADO-RS, and WADO-URI.
    Retrieve,
}

impl Class {
    /// The label of the class in metrics.
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

/// What the gateway accepts where it reads the rows itself.
const ROWS: HeaderValue = HeaderValue::from_static("application/dicom+json, application/json;q=0.9");

impl UpstreamRequest {
    /// A search whose rows the gateway reads.
    pub fn search(query: QidoQuery) -> Self {
        Self::get(What::Search(query)).accepting(ROWS)
    }

    /// A retrieval. The gateway reads the response of a [`Retrieval::metadata`]; other responses are forwarded.
    pub fn retrieve(retrieval: Retrieval) -> Self {
        let request = Self::get(What::Retrieve(retrieval));
        match request.class() {
            Class::Metadata => request.accepting(ROWS),
            _ => request,
        }
    }

    /// A retrieval of one object by the URI service; `None` if the archive has no URI service.
    pub fn wado_uri(settings: &Settings, object: WadoUri) -> Option<Self> {
        settings.wado_uri_url.clone().map(|service| Self::get(What::Uri(service, object)))
    }

    /// Uses `HEAD` instead of `GET`.
    #[must_use]
    pub fn head_only(mut self) -> Self {
        self.method = Method::HEAD;
        self
    }

    /// Adds the [`FORWARDED_HEADERS`] of a caller's request.
    #[must_use]
    pub fn forwarding_headers(mut self, headers: &HeaderMap) -> Self {
        for name in FORWARDED_HEADERS {
            if let Some(value) = headers.get(&name) {
                self.headers.insert(name, value.clone());
            }
        }
        // Several ranges are answered as multipart/byteranges, and many small ones are an attack (RFC 9110 14.2, 17.15).
        if self.headers.get(header::RANGE).is_some_and(|range| !is_one_range(range)) {
            return self.without_range();
        }
        self
    }

    /// Removes the range, so that the whole representation is returned.
    #[must_use]
    pub fn without_range(mut self) -> Self {
        self.headers.remove(header::RANGE);
        self.headers.remove(header::IF_RANGE);
        self
    }

    /// Sets the gateway's own `Accept`.
    #[must_use]
    pub fn accepting(mut self, media_types: HeaderValue) -> Self {
        self.headers.insert(header::ACCEPT, media_types);
        self
    }

    /// The class of the request.
    pub fn class(&self) -> Class {
        match &self.what {
            What::Search(_) => Class::Search,
            What::Retrieve(retrieval) if retrieval.is_metadata() => Class::Metadata,
            What::Retrieve(_) | What::Uri(..) => Class::Retrieve,
        }
    }

    /// Whether the request may be sent again if the connection broke before the response. Rendering is expensive: an archive
    /// that broke the connection over one should not get it twice.
    pub(super) fn is_repeatable(&self) -> bool {
        match &self.what {
            What::Search(_) => true,
            What::Retrieve(retrieval) => !retrieval.is_rendered(),
            What::Uri(_, object) => !object.is_rendered(),
        }
    }

    /// Whether the request has a condition that 304 can answer (RFC 9110 13.1.2, 13.1.3).
    pub(super) fn is_conditional(&self) -> bool {
        [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].iter().any(|name| self.headers.contains_key(name))
    }

    /// Whether the request searches for studies, so that "not found" can only mean a wrong URL.
    pub(super) fn is_study_search(&self) -> bool {
        matches!(&self.what, What::Search(query) if *query.level() == SearchLevel::Studies)
    }

    /// The URL at the archive: its root, fixed and typed segments, known query keys.
    pub(super) fn url(&self, settings: &Settings) -> Url {
        let (root, path, query) = match &self.what {
            What::Search(search) => {
                let query = search.query_string(settings.profile.include_style);
                (&settings.qido_url, Some(search.level().path()), query)
            }
            What::Retrieve(retrieval) => {
                (&settings.wado_url, Some(retrieval.path()), retrieval.query_string())
            }
            What::Uri(service, object) => (service, None, object.query_string()),
        };
        let mut url = root.clone();
        if let Some(path) = path {
            url.set_path(&format!("{}/{path}", root.path().trim_end_matches('/')));
        }
        url.set_query((!query.is_empty()).then_some(&query));
        url
    }

    fn get(what: What) -> Self {
        Self { what, method: Method::GET, headers: HeaderMap::new() }
    }
}

/// `bytes=0-99`, `bytes=100-` or `bytes=-100` (RFC 9110 14.1.2).
fn is_one_range(value: &HeaderValue) -> bool {
    let position = |text: &str| text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    let range = value.to_str().ok().and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    range.is_some_and(|(first, last)| {
        position(first) && position(last) && !(first.is_empty() && last.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forwarded(range: &HeaderValue) -> Option<HeaderValue> {
        let headers = [(header::RANGE, range.clone()), (header::IF_RANGE, HeaderValue::from_static("\"a\""))];
        let query = QidoQuery::new(SearchLevel::Studies);
        let request = UpstreamRequest::search(query).forwarding_headers(&HeaderMap::from_iter(headers));
        assert_eq!(
            request.headers.contains_key(header::RANGE),
            request.headers.contains_key(header::IF_RANGE)
        );
        request.headers.get(header::RANGE).cloned()
    }

    #[test]
    fn only_a_single_byte_range_is_forwarded() {
        for range in ["bytes=0-0", "bytes=100-", "bytes=-5", "bytes=5-1"] {
            assert_eq!(forwarded(&HeaderValue::from_static(range)).unwrap(), range);
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
            assert_eq!(forwarded(&HeaderValue::from_static(range)), None, "{range}");
        }
    }

    proptest! {
        #[test]
        fn a_forwarded_range_always_matches_the_grammar(range in prop::collection::vec(any::<u8>(), 0..60), digits in "bytes=[0-9,-]{0,60}") {
            for range in [range.as_slice(), digits.as_bytes()] {
                if let Some(forwarded) = HeaderValue::from_bytes(range).ok().and_then(|range| forwarded(&range)) {
                    let text = forwarded.to_str().unwrap().strip_prefix("bytes=").unwrap();
                    prop_assert!(text.len() <= 39 && text.matches('-').count() == 1);
                    prop_assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'));
                }
            }
        }
    }
}
