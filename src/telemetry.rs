//! Logs and metrics for operators. They contain no names, identifiers or query strings, and UIDs only at debug level. A failure
//! of telemetry never affects a request.

mod access_log;
mod log_queue;
mod logs;
mod metrics;
mod panics;
mod request_id;

pub use access_log::AccessLogEntry;
pub use log_queue::LogGuard;
pub use logs::{LogFormat, LogsError, start_logs};
pub use metrics::{CacheOutcome, InFlight, Metrics, RouteMetrics};
pub use panics::log_panics;
pub use request_id::{REQUEST_ID, RequestId};
