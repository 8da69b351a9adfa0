//! Which pages of other origins may read the answers (WHATWG Fetch 3.3, the CORS protocol).
//!
//! A browser asks with an `Origin`, and shows an answer to the page only when the answer names that origin; errors too,
//! so that a viewer can tell "log in again" from "not there". Nothing is decided here about who is asking: a preflight
//! comes without credentials by design.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, header};
use url::Url;

use http_messages::host::is_host_and_port;

/// What a page may send. `Authorization` is covered by no `*`, so all of them are named.
const SENT: HeaderValue = HeaderValue::from_static(
    "Accept, Accept-Language, Authorization, Cache-Control, Content-Type, If-Modified-Since, If-None-Match, If-Range, \
     Pragma, Prefer, Range, traceparent, X-Request-Id, X-Requested-With",
);

/// What a page may read beside what it always may.
const READ: HeaderValue = HeaderValue::from_static(
    "Allow, Content-Encoding, Content-Length, Content-Location, Content-Range, ETag, Last-Modified, Location, \
     Retry-After, Warning, WWW-Authenticate, X-Request-Id",
);

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");

/// Two hours, the longest for which browsers remember a preflight.
const REMEMBERED_FOR: HeaderValue = HeaderValue::from_static("7200");

/// `scheme://host[:port]` as browsers write it (RFC 6454 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is http:// or https://, a host in lower case, and a port where it is not the usual one, with nothing \
     behind: https://viewer.example.org"
)]
pub struct OriginError;

impl Origin {
    /// Reads an origin as a browser would send it: any other spelling would never match.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text).map_err(|_| OriginError)?;
        // A wildcard is a host to that parser, and would match nothing.
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

/// The pages that may read the answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    /// Those of the gateway's own origin only.
    #[default]
    None,
    /// Those of any origin, but without what their browser knows: no cookies, no client certificate.
    Any,
    /// Those of these origins, with the browser's credentials too.
    Of(Vec<Origin>),
}

impl Cors {
    /// Whether `request` is a browser that asks beforehand whether a page may ask.
    pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
        *method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Lets the page that asked with `request` read `answer`, if it may.
    pub fn allow(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.name_origin(request, answer) {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
        }
    }

    /// Says in the answer to a preflight what the page may ask for, if it may ask at all.
    pub fn allow_beforehand(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.name_origin(request, answer) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
            answer.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_FOR);
        }
    }

    /// Names the page's origin in the answer; whether it is an allowed one. Credentials never go with `*`.
    fn name_origin(&self, request: &HeaderMap, answer: &mut HeaderMap) -> bool {
        match (self, request.get(header::ORIGIN)) {
            (Self::Any, Some(_)) => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
                true
            }
            (Self::Of(origins), origin) => {
                // Caches must not give the answer for one origin, or for none, to another.
                answer.append(header::VARY, HeaderValue::from_static("Origin"));
                let Some(Origin(origin)) = origins.iter().find(|allowed| Some(&allowed.0) == origin) else {
                    return false;
                };
                answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                true
            }
            (Self::None | Self::Any, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_by(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))])
    }

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in ["https://viewer.example.org", "http://127.0.0.1:3000", "http://[::1]:8080"] {
            assert_eq!(Origin::parse(good).unwrap().to_string(), good);
        }
        for bad in [
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
            assert_eq!(Origin::parse(bad), Err(OriginError), "{bad}");
        }
    }

    #[test]
    fn only_the_very_origin_is_named() {
        let cors = Cors::Of(vec![Origin::parse("https://viewer.example.org").unwrap()]);
        for stranger in [
            "null",
            "https://viewer.example.org.evil.example",
            "https://evil-viewer.example.org",
            "http://viewer.example.org",
            "https://viewer.example.org:8443",
            "https://VIEWER.example.org",
            "*",
        ] {
            let mut answer = HeaderMap::new();
            cors.allow(&asked_by(stranger), &mut answer);
            assert_eq!(answer.len(), 1, "{stranger}: {answer:?}");
            assert_eq!(answer[header::VARY], "Origin");
        }
        let mut answer = HeaderMap::new();
        cors.allow(&asked_by("https://viewer.example.org"), &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://viewer.example.org");
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }

    #[test]
    fn a_star_goes_without_credentials_and_nothing_goes_without_an_origin() {
        let mut answer = HeaderMap::new();
        Cors::Any.allow(&asked_by("https://any.example"), &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!answer.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        for cors in [Cors::None, Cors::Any] {
            let mut answer = HeaderMap::new();
            cors.allow(&HeaderMap::new(), &mut answer);
            assert!(answer.is_empty());
        }
    }
}
