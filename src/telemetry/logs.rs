//! Logs to standard error: lines of text for people, or of JSON for programs.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

use super::log_queue::{LogGuard, LogQueue};

/// The format of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The reason why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// Logging was already started.
    #[error("logging was started twice")]
    Started(#[from] TryInitError),
    /// The operating system cannot start another thread.
    #[error("the thread that writes the log cannot be started")]
    Thread(#[from] io::Error),
}

/// Starts logging for the whole program, at level `info` or as set by `RUST_LOG`. Dropping the guard waits until all lines have
/// been written.
pub fn start_logs(format: LogFormat) -> Result<LogGuard, LogsError> {
    // The HTTP libraries write URLs with queries at debug level, so `RUST_LOG` cannot lower their level.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let http_libraries = ["reqwest", "hyper", "hyper_util", "h2", "rustls"];
    let filter = http_libraries
        .iter()
        .filter_map(|name| format!("{name}=warn").parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(filter);
    let lost_notice = match format {
        LogFormat::Text => {
            |count| format!("{count} log lines were lost, because the reader of the log is too slow\n")
        }
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
