//! What can go wrong between the gateway and one archive: what happened, and what it means for the archive. No variant holds a
//! URL, a query or a byte of a body, because the texts appear in responses and logs.
//!
//! Nothing here knows the status or the `Retry-After` that a client of the gateway gets; `crate::error` decides them.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::ArchiveId;
use dicom_model::json::reader::RowError;

/// Upper bound of a Retry-After taken from an archive, in seconds.
const MAX_RETRY_AFTER: u32 = 300;

/// Why an archive did not return what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("archive {archive} {kind}")]
pub struct ArchiveError {
    /// Which archive.
    pub archive: ArchiveId,
    /// What happened.
    pub kind: ArchiveErrorKind,
}

/// What happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveErrorKind {
    /// No connection could be made.
    #[error("cannot be reached: {0}")]
    Unreachable(ConnectFailure),
    /// Its host name resolves only to addresses that the gateway never calls.
    #[error(
        "cannot be reached: its host name resolves only to link-local or reserved addresses, which are blocked; \
         if that is intended, set allow_link_local = true"
    )]
    ForbiddenAddress,
    /// The connection broke before the head of the response was complete.
    #[error("closed the connection without a response; if it speaks TLS, its URL must begin with https://")]
    Disconnected,
    /// No response, or no further byte of one, in time.
    #[error("did not respond within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Too many requests to this archive are in flight already.
    #[error("already has as many requests in flight as it may have; try again later")]
    Busy,
    /// The circuit breaker is open: the archive failed several times in a row and is not called for this long.
    #[error("failed several times in a row; it will be tried again in {} s", whole_seconds(*.0))]
    CircuitOpen(Duration),
    /// The archive does not accept the gateway's credentials.
    #[error("rejected the gateway's credentials (status {0}); check [archive.auth]")]
    Unauthorized(StatusCode),
    /// The archive has no such resource.
    #[error("has no such resource")]
    NotFound,
    /// The archive is overloaded or under maintenance.
    #[error("is temporarily unavailable (status {status}); try again later")]
    Unavailable {
        /// 429 or 503.
        status: StatusCode,
        /// Its `Retry-After` in seconds, as read by [`retry_after`].
        retry_after: Option<u32>,
    },
    /// Any other status that is not a success.
    #[error("rejected the request (status {0})")]
    Refused(StatusCode),
    /// The archive redirects to another URL, which the gateway never follows.
    #[error("redirected the request to another URL, which the gateway does not follow; check its url")]
    Redirected,
    /// The body is not the DICOM JSON that was asked for.
    #[error("sent a response that cannot be read: {0}")]
    Malformed(#[from] RowError),
    /// The body is of another kind than the one asked for.
    #[error("sent a response that cannot be read: {0}")]
    Unreadable(&'static str),
    /// The body is longer than any legitimate response.
    #[error("sent a response of more than {0} bytes")]
    TooLarge(u64),
    /// The list changed during every attempt to read it.
    #[error("changed its list each time that the gateway read it; try again later")]
    ListChanged,
    /// The archive truncates its list and ignores the paging parameters.
    #[error("truncates its list and cannot be asked for the rest")]
    Unpageable,
    /// The connection broke in the middle of the body.
    #[error("closed the connection in the middle of its response")]
    Truncated,
}

/// Why no connection could be made. The texts name no host, because clients see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    /// The resolver has no address for the host name.
    #[error("name lookup failed")]
    NameLookup,
    /// Nothing listens on the port.
    #[error("connection refused")]
    Refused,
    /// The network has no route to the host.
    #[error("no route to the host")]
    NoRoute,
    /// Neither a connection nor a TLS handshake was complete in time.
    #[error("connect timed out after {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// No trusted authority signed the certificate.
    #[error("TLS: certificate is not trusted (set archive.tls.ca to the authority that signed it)")]
    UntrustedCertificate,
    /// The certificate names other hosts than the one in the URL.
    #[error("TLS: certificate is for another name")]
    WrongName,
    /// The certificate is expired, or not valid yet.
    #[error("TLS: certificate is expired or not valid yet")]
    CertificateExpired,
    /// The server does not speak TLS: usually plain HTTP at an https:// URL.
    #[error("TLS: the server does not speak TLS (is it plain HTTP? then its URL begins with http://)")]
    NotTls,
    /// TLS failed in another way: no common version, or the server ended the handshake.
    #[error("TLS: the handshake failed")]
    Handshake,
    /// Anything else.
    #[error("the connection could not be made")]
    Other,
}

/// What an error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// It cannot answer now, and may later.
    Unavailable,
    /// It took too long.
    TimedOut,
    /// The connection broke; the same request may succeed.
    Disconnected,
    /// It does not have the resource.
    NotFound,
    /// It cannot list as much as was asked for; a narrower request may succeed.
    TooCostly,
    /// What it sent is no valid response, or it does not work with the gateway's configuration.
    BadResponse,
}

/// `Retry-After` of an archive's response in seconds, between 1 and 300. Dates are not parsed: archives send seconds.
pub fn retry_after(headers: &HeaderMap) -> Option<u32> {
    let seconds: u32 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.clamp(1, MAX_RETRY_AFTER))
}

/// `wait` in seconds, rounded up: a client that retries earlier is only asked to wait again.
pub fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl ArchiveError {
    /// What the error means for the caller.
    pub fn class(&self) -> ErrorClass {
        use ArchiveErrorKind as Kind;
        match self.kind {
            Kind::Unreachable(_)
            | Kind::Busy
            | Kind::CircuitOpen(_)
            | Kind::Unavailable { .. }
            | Kind::ListChanged => ErrorClass::Unavailable,
            Kind::Timeout(_) => ErrorClass::TimedOut,
            Kind::Disconnected | Kind::Truncated => ErrorClass::Disconnected,
            Kind::NotFound => ErrorClass::NotFound,
            Kind::Unpageable => ErrorClass::TooCostly,
            Kind::ForbiddenAddress
            | Kind::Unauthorized(_)
            | Kind::Refused(_)
            | Kind::Redirected
            | Kind::Malformed(_)
            | Kind::Unreadable(_)
            | Kind::TooLarge(_) => ErrorClass::BadResponse,
        }
    }

    /// Whether another form of the same request might succeed: the archive responded, but rejected this one.
    pub fn is_about_this_request(&self) -> bool {
        use ArchiveErrorKind as Kind;
        matches!(
            self.kind,
            Kind::NotFound
                | Kind::Refused(_)
                | Kind::Redirected
                | Kind::Malformed(_)
                | Kind::Unreadable(_)
                | Kind::TooLarge(_)
                | Kind::Disconnected
        )
    }

    /// Whether the error shows that the archive is unhealthy, whatever was asked.
    pub(super) fn is_about_the_archive(&self) -> bool {
        use ArchiveErrorKind as Kind;
        matches!(self.kind, Kind::Unreachable(_) | Kind::Disconnected | Kind::Timeout(_))
    }

    /// Whether the archive reported that the resource does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::NotFound)
    }

    /// Whether the archive ignores the paging parameters of a list that it truncates.
    pub fn is_unpageable(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Unpageable)
    }

    /// Whether the archive rejected the request because the response would be too large (PS3.18 table 10.6.3-1: 413, which
    /// dcm4chee sends).
    pub fn is_too_much_to_answer(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Refused(StatusCode::PAYLOAD_TOO_LARGE))
    }

    /// The label of the error in metrics.
    pub fn label(&self) -> &'static str {
        use ArchiveErrorKind as Kind;
        match self.kind {
            Kind::Unreachable(_) => "unreachable",
            Kind::ForbiddenAddress => "off_limits",
            Kind::Disconnected => "disconnected",
            Kind::Timeout(_) => "timeout",
            Kind::Busy => "busy",
            Kind::CircuitOpen(_) => "resting",
            Kind::Unauthorized(_) => "unauthorized",
            Kind::NotFound => "not_found",
            Kind::Unavailable { .. } => "unavailable",
            Kind::Refused(_) => "refused",
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
    fn retry_after_of_an_archive_is_clamped() {
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
