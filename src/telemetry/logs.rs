//! Logs to standard error: lines of text for people, or of JSON for programs.

use std::env::VarError;
use std::io::{self, IsTerminal};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
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

/// The level without `RUST_LOG`.
const DEFAULT_LEVEL: &str = "info";

/// The HTTP and TLS libraries, which write URLs with queries, headers and host names of archives below the level `warn`.
const HTTP_LIBRARIES: [&str; 9] = [
    "h2",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "reqwest",
    "rustls",
    "rustls_platform_verifier",
    "tokio_rustls",
    "tower",
];

/// Starts logging for the whole program, at level `info` or as set by `RUST_LOG`. Dropping the guard waits until all lines have
/// been written.
pub fn start_logs(format: LogFormat) -> Result<LogGuard, LogsError> {
    let (directives, invalid) = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) => match EnvFilter::try_new(text) {
            Ok(directives) => (directives, None),
            Err(error) => (EnvFilter::new(DEFAULT_LEVEL), Some(error.to_string())),
        },
        Err(VarError::NotPresent) => (EnvFilter::new(DEFAULT_LEVEL), None),
        Err(error) => (EnvFilter::new(DEFAULT_LEVEL), Some(error.to_string())),
    };
    let registry = tracing_subscriber::registry().with(level_filter(directives));
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
    if let Some(error) = invalid {
        tracing::warn!(error, "RUST_LOG is invalid and is ignored; the level is {DEFAULT_LEVEL}");
    }
    Ok(guard)
}

/// Returns the filter for `directives`, none of which can lower the level of an HTTP library: in `EnvFilter`, a directive for a longer
/// target, such as `hyper::proto=trace`, would override one for `hyper`.
fn level_filter<S: Subscriber>(directives: EnvFilter) -> impl Layer<S> {
    directives.and_then(filter_fn(is_without_secrets))
}

/// Whether an event or span with `metadata` can be logged: it is at least a warning, or is not from an HTTP library.
fn is_without_secrets(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::WARN || !HTTP_LIBRARIES.contains(&crate_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directive_logs_urls_of_the_http_libraries() {
        for directives in [
            "trace",
            "hyper::proto=trace,reqwest::connect=debug,h2::codec=trace,hyper_util::client::legacy=trace,\
             hyper_rustls::connector=debug,rustls::client::hs=trace",
            "trace,hyper::proto::h1::conn[span]=trace,[span{field=1}]=trace",
        ] {
            let filter = level_filter(EnvFilter::new(directives));
            let subscriber =
                tracing_subscriber::registry().with(filter).with(fmt::layer().with_writer(io::sink));
            tracing::subscriber::with_default(subscriber, || {
                assert!(!tracing::enabled!(target: "hyper::proto::h1::conn", Level::TRACE), "{directives}");
                assert!(!tracing::enabled!(target: "hyper", Level::INFO), "{directives}");
                assert!(!tracing::enabled!(target: "reqwest::connect", Level::DEBUG), "{directives}");
                assert!(!tracing::enabled!(target: "h2::codec::framed_read", Level::TRACE), "{directives}");
                assert!(
                    !tracing::enabled!(target: "hyper_util::client::legacy::pool", Level::TRACE),
                    "{directives}"
                );
                assert!(!tracing::enabled!(target: "hyper_rustls::connector", Level::DEBUG), "{directives}");
                assert!(!tracing::enabled!(target: "rustls::client::hs", Level::TRACE), "{directives}");
            });
        }
    }

    #[test]
    fn directives_select_the_level_of_other_crates_and_of_warnings() {
        let filter = level_filter(EnvFilter::new("hyper=warn,http_server=debug,hyperspace=trace"));
        let subscriber = tracing_subscriber::registry().with(filter);
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::enabled!(target: "hyper::proto", Level::WARN));
            assert!(tracing::enabled!(target: "http_server::connection", Level::DEBUG));
            assert!(tracing::enabled!(target: "hyperspace", Level::TRACE));
            assert!(!tracing::enabled!(target: "dicomweb_gateway", Level::INFO));
        });
    }
}
