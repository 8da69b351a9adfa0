//! What can go wrong between the gateway and one archive. No variant holds an address, a query or a byte of a body: they
//! end up in answers and logs.

use std::time::Duration;

use http::StatusCode;

use super::ArchiveId;
use crate::dicom::json::RowError;

/// Why an archive did not give what it was asked for.
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
    /// No connection: nobody listens, the name does not resolve, TLS fails.
    #[error("cannot be reached; is it running, and is its address right?")]
    Unreachable,
    /// Its name has only addresses that are never called.
    #[error(
        "is said to be at a link-local address, where no archive is looked for; allow_link_local = true lifts that"
    )]
    OffLimits,
    /// The connection broke before the answer's head was complete.
    #[error("closed the connection without an answer")]
    Disconnected,
    /// No answer, or no further byte of one, in time.
    #[error("did not answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// Too many requests to this archive are under way already.
    #[error("is busy with other requests")]
    Busy,
    /// The archive failed several times in a row and is left alone for so long.
    #[error("failed several times in a row and is not asked for the next {} s", .0.as_secs() + 1)]
    Resting(Duration),
    /// The archive does not accept the gateway's credentials.
    #[error("refused the gateway's credentials (status {0})")]
    Unauthorized(StatusCode),
    /// The archive knows no such thing.
    #[error("knows no such resource")]
    NotFound,
    /// The archive is overloaded or being looked after.
    #[error("is not ready to answer (status {status})")]
    Unavailable {
        /// 429 or 503.
        status: StatusCode,
        /// What its `Retry-After` said, in seconds.
        retry_after: Option<u32>,
    },
    /// Any other status that is no success.
    #[error("refused the request (status {0})")]
    Refused(StatusCode),
    /// The archive wants the request to be made elsewhere. It never is.
    #[error("redirected the request elsewhere, which is never followed")]
    Redirected,
    /// The body is not what was asked for.
    #[error("gave an answer that cannot be read: {0}")]
    Malformed(#[from] RowError),
    /// The body is not what was asked for, and is not even close.
    #[error("gave an answer that cannot be read: {0}")]
    Unreadable(&'static str),
    /// The body is longer than any real answer.
    #[error("gave an answer of more than {0} bytes")]
    TooLarge(u64),
    /// Each time that a list was read, it changed meanwhile.
    #[error("changed its list each time that it was read")]
    ListChanged,
    /// Its lists end early, and it gives the first part however it is asked for the rest.
    #[error("cuts its list short and cannot be asked for the rest")]
    Unpageable,
    /// The connection broke in the middle of the body.
    #[error("broke off in the middle of its answer")]
    BrokenOff,
}

impl ArchiveError {
    /// Whether asking the same archive in another way might succeed: it did answer, but not with this.
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

    /// Whether it says that the archive is unwell, whatever it was asked.
    pub(super) fn is_about_the_archive(&self) -> bool {
        use ArchiveErrorKind as Kind;
        matches!(self.kind, Kind::Unreachable | Kind::Disconnected | Kind::Timeout(_))
    }

    /// Whether the archive said that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::NotFound)
    }

    /// Whether the archive cannot be asked for the rest of a list.
    pub fn is_unpageable(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Unpageable)
    }

    /// Whether the archive refused because the answer would be too large (PS3.18 table 10.6.3-1: 413, as dcm4chee says).
    pub fn is_too_much_to_answer(&self) -> bool {
        matches!(self.kind, ArchiveErrorKind::Refused(StatusCode::PAYLOAD_TOO_LARGE))
    }

    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        use ArchiveErrorKind as Kind;
        match self.kind {
            Kind::Unreachable => "unreachable",
            Kind::OffLimits => "off_limits",
            Kind::Disconnected => "disconnected",
            Kind::Timeout(_) => "timeout",
            Kind::Busy => "busy",
            Kind::Resting(_) => "resting",
            Kind::Unauthorized(_) => "unauthorized",
            Kind::NotFound => "not_found",
            Kind::Unavailable { .. } => "unavailable",
            Kind::Refused(_) => "refused",
            Kind::Redirected => "redirected",
            Kind::Malformed(_) | Kind::Unreadable(_) => "unreadable",
            Kind::TooLarge(_) => "too_large",
            Kind::ListChanged => "list_changed",
            Kind::Unpageable => "unpageable",
            Kind::BrokenOff => "broken_off",
        }
    }
}
