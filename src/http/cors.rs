//! The CORS protocol (WHATWG Fetch 3.3), which allows web pages of other origins to read responses.
//!
//! A browser sends `Origin`, and passes a response to the page only if the response allows that origin. Error responses allow it
//! too, so that a viewer can distinguish a 401 from a 404. This module does not authenticate, because a preflight never has
//! credentials.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use http_messages::host::is_host_and_port;

/// Request headers that a page may send. They are listed because `*` does not include `Authorization`.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept, Accept-Language, Authorization, Cache-Control, Content-Type, If-Modified-Since, If-None-Match, If-Range, \
     Pragma, Prefer, Range, traceparent, X-Request-Id, X-Requested-With",
);

/// Response headers that a page may read in addition to the CORS-safelisted response headers.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "Allow, Content-Encoding, Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, \
     Retry-After, Warning, WWW-Authenticate, X-Request-Id",
);

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// The time for which browsers may cache a preflight: two hours, the maximum of browsers.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// An origin `scheme://host[:port]` in the form that browsers send (RFC 6454 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// The error for a text that is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is http:// or https://, a host in lower case, and a port unless it is the default one, without a path: \
     https://viewer.example.org"
)]
pub struct OriginError;

impl Origin {
    /// Parses an origin in the form that browsers send. Other forms are rejected, because they would never match.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text).map_err(|_| OriginError)?;
        // The URL parser accepts a wildcard as a host, but no origin would match it.
        let is_origin = matches!(url.scheme(), "http" | "https")
            && is_host_and_port(text.split("//").nth(1).unwrap_or_default())
            && url.origin().ascii_serialization() == text;
        let value = HeaderValue::from_str(text).map_err(|_| OriginError)?;
        if is_origin { Ok(Self(value)) } else { Err(OriginError) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.to_str().unwrap_or_default())
    }
}

/// The web pages that may read responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    /// Pages of the same origin as the gateway.
    #[default]
    None,
    /// Pages of any origin, without the credentials of the browser: no cookies, no client certificate.
    Any,
    /// Pages of these origins, with the credentials of the browser.
    Origins(Vec<Origin>),
}

impl Cors {
    /// Whether pages of any other origin may read responses.
    pub fn allows_any_page(&self) -> bool {
        match self {
            Self::None => false,
            Self::Any => true,
            Self::Origins(origins) => !origins.is_empty(),
        }
    }

    /// Whether the request is a CORS preflight.
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Allows the page that sent `request` to read `response`, if its origin is allowed.
    pub fn allow(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.allow_origin(request, response) {
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }

    /// Adds the allowed methods and headers to the response to a preflight, if the origin of the page is allowed.
    pub fn allow_preflight(&self, request: &HeaderMap, response: &mut HeaderMap) {
        if self.allow_origin(request, response) {
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            response.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }

    /// Adds the origin of the page to the response, if it is allowed; returns whether it is. Credentials are never combined with
    /// `*`.
    fn allow_origin(&self, request: &HeaderMap, response: &mut HeaderMap) -> bool {
        match (self, request.get(header::ORIGIN)) {
            (Self::Any, Some(_)) => {
                response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                true
            }
            (Self::Origins(origins), origin) => {
                // Caches must not serve the response for one origin to another.
                response.append(header::VARY, HeaderValue::from_static("Origin"));
                let Some(Origin(origin)) = origins.iter().find(|allowed| Some(&allowed.0) == origin) else {
                    return false;
                };
                response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                true
            }
            (Self::None | Self::Any, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_of(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
    }

    #[test]
    fn an_origin_is_parsed_only_as_browsers_send_it() {
        for valid in ["https://viewer.example.org", "http://127.0.0.1:3000", "http://[::1]:8080"] {
            assert_eq!(Origin::parse(valid).unwrap().to_string(), valid);
        }
        for invalid in [
            "",
            "null",
            "*",
            "viewer.example.org",
            "https://viewer.example.org/",
            "https://viewer.example.org:443",
            "https://Viewer.example.org",
            "https://*.example.org",
            "https://viewer.example.org/x",
            "https://u@viewer.example.org",
            "file:///x",
            "ftp://viewer.example.org",
        ] {
            assert_eq!(Origin::parse(invalid), Err(OriginError), "{invalid}");
        }
    }

    #[test]
    fn only_the_exact_origin_is_allowed() {
        let cors = Cors::Origins(vec![Origin::parse("https://viewer.example.org").unwrap()]);
        for other in [
            "null",
            "https://viewer.example.org.evil.example",
            "https://evil-viewer.example.org",
            "http://viewer.example.org",
            "https://viewer.example.org:8443",
            "https://VIEWER.example.org",
            "*",
        ] {
            let mut response = HeaderMap::new();
            cors.allow(&headers_of(other), &mut response);
            assert_eq!(response.len(), 1, "{other}: {response:?}");
            assert_eq!(response[header::VARY], "Origin");
        }
        let mut response = HeaderMap::new();
        cors.allow(&headers_of("https://viewer.example.org"), &mut response);
        assert_eq!(response[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://viewer.example.org");
        assert_eq!(response[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }

    #[test]
    fn a_wildcard_excludes_credentials_and_without_an_origin_no_header_is_added() {
        let mut response = HeaderMap::new();
        Cors::Any.allow(&headers_of("https://any.example"), &mut response);
        assert_eq!(response[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!response.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        for cors in [Cors::None, Cors::Any] {
            let mut response = HeaderMap::new();
            cors.allow(&HeaderMap::new(), &mut response);
            assert!(response.is_empty());
        }
    }
}
