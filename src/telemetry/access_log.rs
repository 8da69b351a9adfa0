//! The access log: one line per request, which is written when the response has been sent or the client has disconnected.

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
    is_whole: bool,
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
        Self { started, request_id, method, route, status, bytes: 0, is_whole: false }
    }

    /// Counts bytes of the body that are being sent.
    pub fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Records that the whole body was sent.
    pub fn set_complete(&mut self) {
        self.is_whole = true;
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        tracing::info!(
            request_id = %self.request_id,
            method = self.method,
            route = self.route,
            status = self.status,
            bytes = self.bytes,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = if self.is_whole { "sent" } else { "aborted" },
            "request"
        );
    }
}
