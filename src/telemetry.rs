//! What the people who run the gateway can see of it: logs and metrics. Neither ever holds a name, an identifier, a query
//! string or a UID above debug level; a failure here is nothing to a request.

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
