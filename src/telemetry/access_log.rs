//! One log line per request, written when its response has been sent or the client has disconnected.

use std::time::Instant;

use super::RequestId;

/// One request, from its headers to the last byte of its response. Logged when it is dropped.
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
    /// The entry of a request whose response headers are ready. Of the request it contains only the route: a path contains
    /// UIDs, and a query names.
    pub fn new(
        started: Instant,
        request_id: RequestId,
        method: &'static str,
        route: &'static str,
        status: u16,
    ) -> Self {
        Self { started, request_id, method, route, status, bytes: 0, is_whole: false }
    }

    /// Counts bytes of the body that were handed over for sending.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The body is complete.
    pub fn ended(&mut self) {
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
