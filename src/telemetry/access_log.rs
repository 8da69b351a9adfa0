//! The access log: one line per request, which is written when the response has been sent or the client has disconnected. The
//! line of a request that failed because of the gateway or an archive (status 500 or above), or whose response may be without an
//! archive that failed, has the level WARN and the cause.

use std::borrow::Cow;
use std::time::Instant;

use super::RequestId;

/// The log entry of one request, from its headers to the last byte of the response. It is written when it is dropped.
#[derive(Debug)]
pub struct AccessLogEntry {
    started: Instant,
    request_id: RequestId,
    method: &'static str,
    route: &'static str,
    status: u16,
    bytes: u64,
    is_complete: bool,
    archive: Option<String>,
    error: Option<Cow<'static, str>>,
}

impl AccessLogEntry {
    /// Creates the entry of a request whose response headers are ready. The entry contains the route but neither the path, which
    /// contains UIDs, nor the query, which contains names.
    pub fn new(
        started: Instant,
        request_id: RequestId,
        method: &'static str,
        route: &'static str,
        status: u16,
    ) -> Self {
        Self {
            started,
            request_id,
            method,
            route,
            status,
            bytes: 0,
            is_complete: false,
            archive: None,
            error: None,
        }
    }

    /// Counts bytes of the body that are being sent.
    pub fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Records why the request failed, or why its response may be incomplete: the archive, if one is the cause, and the error, which contains no data of patients.
    pub fn set_failure(&mut self, archive: Option<String>, error: Cow<'static, str>) {
        self.archive = archive;
        self.error = Some(error);
    }

    /// Records that the whole body was sent.
    pub fn set_complete(&mut self) {
        self.is_complete = true;
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = if self.is_complete { "sent" } else { "aborted" };
        // The level of a `tracing` macro is a constant.
        macro_rules! write_entry {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    request_id = %self.request_id,
                    method = self.method,
                    route = self.route,
                    status = self.status,
                    bytes = self.bytes,
                    duration_ms,
                    outcome,
                    archive = self.archive.as_deref(),
                    error = self.error.as_deref(),
                    "request"
                )
            };
        }
        if self.status >= 500 || self.error.is_some() {
            write_entry!(tracing::Level::WARN);
        } else {
            write_entry!(tracing::Level::INFO);
        }
    }
}
