//! Logs go to standard error: a line of text for people, or of JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use super::log_queue::{LogGuard, LogQueue};

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// It was started before.
    #[error("logging was started twice")]
    Started(#[from] TryInitError),
    /// The system gives no further thread.
    #[error("the thread that writes the log cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Starts logging for the whole program, at level `info` or as `RUST_LOG` says. What was logged is written by the time
/// the guard is dropped.
pub fn start_logs(format: LogFormat) -> Result<LogGuard, LogsError> {
    // The HTTP libraries put addresses, with their queries, into debug lines: they stay quiet whatever is asked for.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet = ["reqwest", "hyper", "hyper_util", "h2", "rustls"];
    let filter = quiet
        .iter()
        .filter_map(|name| format!("{name}=warn").parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(filter);
    let lost_notice = match format {
        LogFormat::Text => |count| format!("{count} log lines were lost: nobody reads them fast enough\n"),
        LogFormat::Json => {
            |count| format!("{{\"level\":\"WARN\",\"message\":\"log lines were lost\",\"count\":{count}}}\n")
        }
    };
    let (queue, guard) = LogQueue::start(io::stderr(), lost_notice)?;
    let writer = move || queue.clone();
    match format {
        LogFormat::Text => {
            let ansi = io::stderr().is_terminal();
            registry.with(fmt::layer().with_writer(writer).with_ansi(ansi).with_target(false)).try_init()?;
        }
        LogFormat::Json => {
            let layer = fmt::layer().json().flatten_event(true);
            registry.with(layer.with_writer(writer).with_target(false)).try_init()?;
        }
    }
    Ok(guard)
}
