//! Validates request heads before routing: rejects heads that are too large, unsupported methods, and requests whose target is
//! ambiguous (RFC 9112 3.2, RFC 9113 8.3.1). This module does not know about routes.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body::Body;

/// Maximum length of the request target in bytes, enough for a search by 500 UIDs of full length with their systems. RFC 9110 4.1 recommends at
/// least 8,000.
pub(super) const MAX_TARGET_LEN: usize = 48 * 1024;

/// Maximum number of header fields. A browser behind two proxies sends about 30.
const MAX_FIELDS: usize = 64;

/// Maximum size of the header fields in bytes. A bearer token with many claims has 4 KiB; browsers and proxies add 2
/// KiB.
pub(super) const MAX_HEAD_SIZE: usize = 16 * 1024;

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// CONNECT, TRACE, or an unknown method.
    #[error("the request method is not supported by this server")]
    Method,
    /// No `Host`, more than one, or an invalid one.
    #[error("the request must have one Host header with a valid host")]
    Host,
    /// The target and `Host` have different hosts.
    #[error("the request target and the Host header have different hosts; send the same host in both")]
    DifferentHosts,
    /// The target is not a path.
    #[error("the request target must be a path that begins with /")]
    Target,
    /// The target is too long.
    #[error(
        "the URL is longer than 48 KiB; send fewer or shorter parameters, those of a FHIR search in a POST to _search, and split a long list of UIDs over several DICOMweb requests"
    )]
    TargetTooLong,
    /// There are too many header fields, or they are too large.
    #[error("the request has more than 64 header fields, or more than 16 KiB of them; send fewer")]
    HeadTooLarge,
    /// A GET or HEAD with a body.
    #[error("a GET or HEAD request must not have a body")]
    Body,
}

impl InvalidRequest {
    /// Returns the status of the response.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::NOT_IMPLEMENTED,
            Self::Host | Self::DifferentHosts | Self::Target | Self::Body => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// Whether the connection must be closed, because the next bytes on it may not be the start of a request.
    pub(super) fn requires_close(self) -> bool {
        !matches!(self, Self::TargetTooLong | Self::HeadTooLarge)
    }
}

/// Validates a request head.
pub(super) fn validate<B: Body>(request: &Request<B>) -> Result<(), InvalidRequest> {
    validate_method(request.method())?;
    validate_size(request.uri(), request.headers())?;
    validate_host(request)?;
    if !request.uri().path().starts_with('/') {
        return Err(InvalidRequest::Target);
    }
    let must_be_empty = matches!(*request.method(), Method::GET | Method::HEAD);
    if must_be_empty && !request.body().is_end_stream() {
        return Err(InvalidRequest::Body);
    }
    Ok(())
}

/// Accepts the methods to which a service can respond, possibly with 405.
fn validate_method(method: &Method) -> Result<(), InvalidRequest> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        _ => Err(InvalidRequest::Method),
    }
}

fn validate_size(uri: &Uri, headers: &HeaderMap) -> Result<(), InvalidRequest> {
    if uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_TARGET_LEN) {
        return Err(InvalidRequest::TargetTooLong);
    }
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_FIELDS || size > MAX_HEAD_SIZE {
        return Err(InvalidRequest::HeadTooLarge);
    }
    Ok(())
}

/// Checks that `Host` and the authority of the target (absolute form, or `:authority`) are valid and equal, if present.
fn validate_host<B>(request: &Request<B>) -> Result<(), InvalidRequest> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, further) = (hosts.next(), hosts.next());
    if further.is_some() {
        return Err(InvalidRequest::Host);
    }
    let host = match host {
        Some(host) => Some(host.to_str().ok().filter(|host| is_host(host)).ok_or(InvalidRequest::Host)?),
        None => None,
    };
    let authority = request.uri().authority().map(Authority::as_str);
    if authority.is_some_and(|authority| !is_host(authority)) {
        return Err(InvalidRequest::Host);
    }
    match (host, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            Err(InvalidRequest::DifferentHosts)
        }
        (None, None) if request.version() > Version::HTTP_10 => Err(InvalidRequest::Host),
        // Host is required with an absolute target too (RFC 9112 3.2).
        (None, Some(_)) if request.version() == Version::HTTP_11 => Err(InvalidRequest::Host),
        _ => Ok(()),
    }
}

/// Whether `text` is `host[:port]` (RFC 3986) without user information.
fn is_host(text: &str) -> bool {
    http_messages::host::is_host_and_port(text)
}
