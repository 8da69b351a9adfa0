//! Reports opened, closed and failed connections of a listener to the metrics of the caller. This module does not know about metric
//! names.

use std::sync::Arc;

/// Why a connection failed before it had received a request. A connection that the client closes between requests, or before its
/// first byte, has not failed; and if it fails during a request, the service can report that request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// The request head, or a frame of HTTP/2, was malformed.
    Malformed,
    /// The request head was too large or had too many headers (HTTP/1).
    HeadTooLarge,
    /// The request head or the TLS handshake was not complete in time.
    Timeout,
    /// The client disconnected in the request head.
    Disconnected,
    /// The TLS handshake failed, or the client disconnected in it.
    Tls,
}

impl ConnectionFailure {
    /// All values.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::HeadTooLarge, Self::Timeout, Self::Disconnected, Self::Tls];

    /// Returns a short name, for labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Tls => "tls",
        }
    }
}

/// The metrics of the connections of a listener.
pub trait ConnectionMetrics: Send + Sync {
    /// Counts an opened connection.
    fn connection_opened(&self);

    /// Counts a closed connection.
    fn connection_closed(&self);

    /// Counts a connection that failed before it had received a request.
    fn connection_failed(&self, failure: ConnectionFailure);
}

/// An open connection, which is counted until it is dropped, even if its task panics or is canceled.
pub(super) struct OpenConnection(Option<Arc<dyn ConnectionMetrics>>);

impl OpenConnection {
    pub(super) fn new(metrics: Option<Arc<dyn ConnectionMetrics>>) -> Self {
        if let Some(metrics) = &metrics {
            metrics.connection_opened();
        }
        Self(metrics)
    }

    /// Counts the failure of the connection.
    pub(super) fn record_failure(&self, failure: ConnectionFailure) {
        if let Some(metrics) = &self.0 {
            metrics.connection_failed(failure);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.connection_closed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl ConnectionMetrics for Count {
        fn connection_opened(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn connection_closed(&self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }

        fn connection_failed(&self, _: ConnectionFailure) {}
    }

    #[test]
    fn connection_is_counted_until_it_is_dropped() {
        let count = Arc::new(Count::default());
        let metrics = || Some(Arc::clone(&count) as Arc<dyn ConnectionMetrics>);
        let (first, second) = (OpenConnection::new(metrics()), OpenConnection::new(metrics()));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
        drop(first);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        drop(second);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }
}
