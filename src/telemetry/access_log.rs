//! The one line that the log has of each request, written when its answer has left, or when nobody wants it any more.

use std::time::Instant;

use super::RequestId;

/// One request, from its head to the last byte of its answer. Logged when it is dropped.
#[derive(Debug)]
pub struct AccessLogEntry {
    begun: Instant,
    request_id: RequestId,
    method: &'static str,
    route: &'static str,
    status: u16,
    bytes: u64,
    is_whole: bool,
}

impl AccessLogEntry {
    /// Of a request whose answer's head is ready. It holds nothing of the request but its kind: a path has UIDs in it,
    /// and a query has names.
    pub fn new(
        begun: Instant,
        request_id: RequestId,
        method: &'static str,
        route: &'static str,
        status: u16,
    ) -> Self {
        Self { begun, request_id, method, route, status, bytes: 0, is_whole: false }
    }

    /// So many more bytes of the body have been handed over to be sent.
    pub fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// There are no more.
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
            duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = if self.is_whole { "sent" } else { "broken off" },
            "request"
        );
    }
}
