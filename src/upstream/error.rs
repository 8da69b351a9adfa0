//! The errors between the gateway and one archive, and whether the archive or the request caused them. No variant contains a
//! URL, a query or a part of a body, because the texts appear in responses and logs.
//!
//! `crate::error` decides the status and the `Retry-After` that a client of the gateway receives.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::ArchiveId;
use dicom_model::json::reader::RowError;

/// Maximum Retry-After that is accepted from an archive, in seconds.
const MAX_RETRY_AFTER: u32 = 300;

/// The reason why an archive did not return what was requested.
#[derive(Debug, Clone, thiserror::Error)]
#[error("archive {archive} {kind}")]
pub struct ArchiveError {
    /// The archive.
    pub archive: ArchiveId,
    /// The kind of the error.
    pub kind: ArchiveErrorKind,
}

/// The kind of an [`ArchiveError`]. The texts continue a sentence whose subject is the archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveErrorKind {
    /// No connection could be made.
    #[error("cannot be reached: {0}")]
    Unreachable(ConnectFailure),
    /// The host name of the archive resolves only to blocked addresses.
    #[error(
        "cannot be reached: its host name resolves only to link-local or reserved addresses, which are blocked; \
         if that is intended, set allow_link_local = true"
    )]
    ForbiddenAddress,
    /// The connection was closed before the head of the response was complete.
    #[error("closed the connection without a response; if it speaks TLS, its URL must begin with https://")]
    Disconnected,
    /// No response, or no further part of its body, arrived in time.
    #[error("did not respond within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The body arrives too slowly.
    #[error("sent less than {0} bytes per second")]
    TooSlow(usize),
    /// The maximum number of requests already waits for this archive, or the request has waited for the maximum time.
    #[error("already has as many requests in flight as it may have; try again later")]
    Busy,
    /// Another large object of the archive was in memory until the request had waited as long as it may.
    #[error("sent a large object, and other large objects of it are being read; try again later")]
    LargeObjectBusy,
    /// No client waits for the result any more, and other requests wait for this archive.
    #[error("was not called, because no client waits for the result any more")]
    Abandoned,
    /// The circuit breaker is open, because the archive failed several times in a row.
    #[error(
        "failed several times in a row (last failure: {last_failure}); it will be tried again in {} s",
        whole_seconds(*wait)
    )]
    CircuitOpen {
        /// How long the archive is not called.
        wait: Duration,
        /// The cause of the last failure; a text like those of this type.
        last_failure: Arc<str>,
    },
    /// The archive does not accept the gateway's credentials.
    #[error("rejected the gateway's credentials (status {0}); check [archive.auth]")]
    Unauthorized(StatusCode),
    /// The archive requires credentials, and none are configured.
    #[error("asks for credentials (status {}), and none are configured: set [archive.auth]", .0.as_u16())]
    NoCredentials(StatusCode),
    /// A proxy between the gateway and the archive requires credentials, which the gateway cannot send (RFC 9110 15.5.8).
    #[error(
        "is behind a proxy that asks for credentials (status 407), which the gateway cannot send; let the gateway call the archive \
         without this proxy"
    )]
    ProxyCredentials,
    /// The archive has no such resource.
    #[error("has no such resource")]
    NotFound,
    /// The archive responded to a search that has no parent resource as if the service did not exist. A search without matches has
    /// another status (PS3.18 10.6.3.1).
    #[error("has no such search at its url (status {0}); check the url")]
    NoSearchService(StatusCode),
    /// The archive is overloaded or under maintenance.
    #[error("is temporarily unavailable (status {status}); try again later")]
    Unavailable {
        /// The status 429 or 503.
        status: StatusCode,
        /// The `Retry-After` in seconds, as read by [`retry_after`].
        retry_after: Option<u32>,
    },
    /// The archive returned another status that is not successful.
    #[error("{meaning} (status {0})", meaning = rejection(*.0))]
    Rejected(StatusCode),
    /// The archive redirected to another URL, which the gateway never calls.
    #[error("redirected the request to another URL, which the gateway does not follow; check its url")]
    Redirected,
    /// The body is not valid DICOM JSON.
    #[error("sent a response that cannot be read: {0}")]
    Malformed(#[from] RowError),
    /// The body is not what was requested; the noun phrase describes its content.
    #[error("sent a response that cannot be read: {0}")]
    Unreadable(&'static str),
    /// The body is longer than the limit, in bytes.
    #[error("sent a response of more than {0} bytes")]
    TooLarge(u64),
    /// The list changed during every attempt to read it.
    #[error("changed its list each time that the gateway read it; try again later")]
    ListChanged,
    /// The archive truncates its list and ignores the paging parameters.
    #[error("truncates its list and cannot be asked for the rest")]
    Unpageable,
    /// The connection was closed before the body was complete.
    #[error("closed the connection in the middle of its response")]
    Truncated,
}

/// Describes a response with status 206 to a request for the whole (RFC 9110 15.3.7).
pub const UNREQUESTED_PART: &str = "only a part of what was requested (status 206)";

/// The reason why no connection could be made. The texts contain no host, because they are sent to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// The resolver has no address for the host name.
    #[error("name lookup failed")]
    NameLookup,
    /// The host refused the connection, because no server listens on the port.
    #[error("connection refused")]
    Refused,
    /// The network has no route to the host.
    #[error("no route to the host")]
    NoRoute,
    /// The connection or the TLS handshake was not complete in time.
    #[error("connect timed out after {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// No trusted CA issued the certificate.
    #[error("TLS: certificate is not trusted (set archive.tls.ca to the authority that signed it)")]
    UntrustedCertificate,
    /// The certificate is that of a CA, which is not valid for a server (RFC 5280 4.2.1.9), even if it is configured as trusted.
    #[error(
        "TLS: the certificate of the server is that of an authority (basicConstraints CA:TRUE); give the server one with \
         CA:FALSE, which may be signed by this one or by itself"
    )]
    AuthorityCertificate,
    /// The certificate is not valid for the host in the URL.
    #[error("TLS: certificate is for another name")]
    WrongName,
    /// The certificate is expired, or not valid yet.
    #[error("TLS: certificate is expired or not valid yet")]
    CertificateExpired,
    /// The server does not use TLS: usually an https:// URL was configured for a server without TLS.
    #[error("TLS: the server does not speak TLS (is it plain HTTP? then its URL begins with http://)")]
    NotTls,
    /// The TLS handshake failed for another reason: no common version, or the server ended it.
    #[error("TLS: the handshake failed")]
    Handshake,
    /// Another error.
    #[error("the connection could not be made")]
    Other,
}

/// The class of an error, by its meaning for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The archive cannot respond now; the same request may succeed later.
    Unavailable,
    /// The archive did not respond in time.
    TimedOut,
    /// The connection was closed; the same request may succeed.
    Disconnected,
    /// The archive does not have the resource.
    NotFound,
    /// The archive cannot return the whole list; a narrower request may succeed.
    TooCostly,
    /// The response is not valid, or the archive does not work with the configuration of the gateway.
    BadResponse,
}

/// Reads the `Retry-After` of an archive's response in seconds, limited to 1 to 300. Dates are not parsed, because archives
/// send seconds.
pub fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let seconds: u32 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.clamp(1, MAX_RETRY_AFTER))
}

/// Rounds `wait` up to whole seconds, at least 1, because a client that retries earlier would have to wait again.
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Says what a status means that has no kind of its own: a server error is no judgment of the request.
fn rejection(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_IMPLEMENTED => "does not support the request",
        status if status.is_server_error() => "failed",
        _ => "rejected the request",
    }
}

impl ArchiveErrorKind {
    /// Returns the kind of error for a status that does not mean that the body is the whole response.
    pub(super) fn from_status(status: StatusCode, headers: &HeaderMap, has_credentials: bool) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if has_credentials => Self::Unauthorized(status),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Self::NoCredentials(status),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Self::ProxyCredentials,
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::NotFound,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Self::Unavailable { status, retry_after: retry_after(headers) }
            }
            StatusCode::PARTIAL_CONTENT => Self::Unreadable(UNREQUESTED_PART),
            status if status.is_success() => Self::Unreadable("a success with an unexpected status"),
            status => Self::Rejected(status),
        }
    }
}

impl ArchiveError {
    /// Returns the class of the error.
    pub fn class(&self) -> ErrorClass {
        use ArchiveErrorKind as Kind;
        match self.kind {
            Kind::Unreachable(_)
            | Kind::Busy
            | Kind::LargeObjectBusy
            | Kind::Abandoned
            | Kind::CircuitOpen { .. }
            | Kind::Unavailable { .. }
            | Kind::ListChanged => ErrorClass::Unavailable,
            Kind::Timeout(_) | Kind::TooSlow(_) => ErrorClass::TimedOut,
            Kind::Disconnected | Kind::Truncated => ErrorClass::Disconnected,
            Kind::NotFound => ErrorClass::NotFound,
            Kind::Unpageable => ErrorClass::TooCostly,
            Kind::ForbiddenAddress
            | Kind::Unauthorized(_)
            | Kind::NoCredentials(_)
            | Kind::ProxyCredentials
            | Kind::NoSearchService(_)
            | Kind::Rejected(_)
            | Kind::Redirected
            | Kind::Malformed(_)
            | Kind::Unreadable(_)
            | Kind::TooLarge(_) => ErrorClass::BadResponse,
        }
    }

    /// Whether another request for the same resource may succeed, for example with another `Accept` or at another level, because the
    /// error does not concern the archive as a whole.
    pub fn is_specific_to_request(&self) -> bool {
        use ArchiveErrorKind as Kind;
        matches!(
            self.kind,
            Kind::NotFound
                | Kind::Rejected(_)
                | Kind::Redirected
                | Kind::Malformed(_)
                | Kind::Unreadable(_)
                | Kind::TooLarge(_)
                | Kind::TooSlow(_)
                | Kind::Disconnected
                | Kind::Truncated
        )
    }

    /// Whether the gateway did not complete the call, because it limits its calls to the archive.
    pub fn is_overload(&self) -> bool {
        use ArchiveErrorKind as Kind;
        matches!(self.kind, Kind::Busy | Kind::LargeObjectBusy | Kind::Abandoned)
    }

    /// Whether the error shows that the archive is unhealthy, independently of the request.
    pub(super) fn is_archive_failure(&self) -> bool {
        use ArchiveErrorKind as Kind;
        matches!(self.kind, Kind::Unreachable(_) | Kind::Disconnected | Kind::Timeout(_))
    }

    /// Whether the archive responded with a server error.
    pub fn is_server_error(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Rejected(status) if status.is_server_error())
    }

    /// Whether the archive reported that the resource does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::NotFound)
    }

    /// Whether the archive ignores the paging parameters of a list that it truncates.
    pub fn is_unpageable(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Unpageable)
    }

    /// Whether the archive rejected the request because the response would be too large (413 in PS3.18 table 10.6.3-1, which
    /// dcm4chee sends).
    pub fn is_content_too_large(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Rejected(StatusCode::PAYLOAD_TOO_LARGE))
    }

    /// Returns the value of the label `outcome` in metrics. The values are stable, so some differ from the names of the variants.
    pub fn label(&self) -> &'static str {
        use ArchiveErrorKind as Kind;
        match self.kind {
            Kind::Unreachable(_) => "unreachable",
            Kind::ForbiddenAddress => "off_limits",
            Kind::Disconnected => "disconnected",
            Kind::Timeout(_) => "timeout",
            Kind::TooSlow(_) => "too_slow",
            Kind::Busy | Kind::LargeObjectBusy => "busy",
            Kind::Abandoned => "abandoned",
            Kind::CircuitOpen { .. } => "resting",
            Kind::Unauthorized(_) | Kind::NoCredentials(_) | Kind::ProxyCredentials => "unauthorized",
            Kind::NotFound | Kind::NoSearchService(_) => "not_found",
            Kind::Unavailable { .. } => "unavailable",
            Kind::Rejected(_) => "refused",
            Kind::Redirected => "redirected",
            Kind::Malformed(_) | Kind::Unreadable(_) => "unreadable",
            Kind::TooLarge(_) => "too_large",
            Kind::ListChanged => "list_changed",
            Kind::Unpageable => "unpageable",
            Kind::Truncated => "broken_off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_of_an_archive_is_limited_to_five_minutes() {
        let read =
            |text: &str| retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]));
        assert_eq!(read("7"), Some(7));
        assert_eq!(read("0"), Some(1), "zero is raised to one second");
        assert_eq!(read("86400"), Some(300));
        assert_eq!(read("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        assert_eq!(whole_seconds(Duration::from_millis(2001)), 3);
        assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
        assert_eq!(whole_seconds(Duration::ZERO), 1);
    }
}
