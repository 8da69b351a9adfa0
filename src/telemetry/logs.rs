//! Logs go to standard error: a line of text for people, or of JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

/// Starts logging for the whole program, at level `info` or as `RUST_LOG` says. An error says that logging was started
/// before.
pub fn start_logs(format: LogFormat) -> Result<(), TryInitError> {
    // The HTTP libraries put addresses, with their queries, into debug lines: they stay quiet whatever is asked for.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet = ["reqwest", "hyper", "hyper_util", "h2", "rustls"];
    let filter = quiet
        .iter()
        .filter_map(|name| format!("{name}=warn").parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry
                .with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_target(false))
                .try_init()
        }
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_target(false))
            .try_init(),
    }
}
