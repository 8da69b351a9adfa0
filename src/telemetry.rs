//! What the people who run the gateway can see of it: logs and metrics. Neither ever holds a name, an identifier, a query
//! string or a UID above debug level; a failure here is nothing to a request.

mod logs;
mod metrics;

pub use logs::{LogFormat, start_logs};
pub use metrics::{Metrics, RequestLabels};
