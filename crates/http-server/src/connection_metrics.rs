//! Reports opened and closed connections of a listener to a counter of the caller. This module does not know about metric names.

use std::sync::Arc;

/// A counter of the open connections of a listener.
pub trait ConnectionMetrics: Send + Sync {
    /// Counts an opened connection.
    fn connection_opened(&self);

    /// Counts a closed connection.
    fn connection_closed(&self);
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
