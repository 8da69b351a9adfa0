//! The command line. Each subcommand is a module; this module parses the arguments, runs the command and converts its result to
//! an exit code: 0 for success, 64 for invalid arguments or configuration (`EX_USAGE` of sysexits.h), 1 for a command that
//! failed.

#[cfg(feature = "demo")]
mod archive;
pub mod check;
#[cfg(feature = "demo")]
mod demo;
mod healthcheck;
mod serve;

use std::io::{self, Write};
#[cfg(feature = "demo")]
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use url::Url;

use crate::build_info;
#[cfg(feature = "demo")]
use crate::config::EXPECTED_LISTEN_ADDRESS;
use crate::config::{Config, ConfigErrors};
use crate::telemetry::{self, LogFormat, LogGuard};

const EX_USAGE: u8 = 64;

/// A FHIR R4 and DICOMweb gateway in front of one or many PACS.
#[derive(Debug, Parser)]
#[command(version = build_info::DESCRIPTION, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// A subcommand with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway.
    Serve {
        /// The configuration.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Try the gateway without a PACS: runs it in front of an embedded archive with sample studies or your own DICOM files.
    #[cfg(feature = "demo")]
    Demo {
        /// Directory of DICOM files, which is read once, at the start. Default: sample studies.
        dir: Option<PathBuf>,
        /// Address the gateway listens on.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = listen_address)]
        listen: SocketAddr,
    },
    /// Serve a directory of DICOM files as a read-only DICOMweb archive, without a gateway.
    #[cfg(feature = "demo")]
    Archive {
        /// Directory of DICOM files, which is read once, at the start.
        dir: PathBuf,
        /// Address the archive listens on.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8042", value_parser = listen_address)]
        listen: SocketAddr,
    },
    /// Validate the configuration, call every archive, and print what each can do.
    Check {
        /// The configuration.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Exit with 0 if the gateway on this machine is ready. Its admin listener is that of the configuration, or --url.
    Healthcheck {
        /// The configuration.
        #[command(flatten)]
        config: ConfigFile,
        /// URL of the admin listener, such as http://127.0.0.1:9090. The configuration is not read then. Default: server.admin_listen.
        #[arg(long, value_parser = admin_url)]
        url: Option<Url>,
    },
}

#[cfg(feature = "demo")]
fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| EXPECTED_LISTEN_ADDRESS)
}

/// Parses the URL of an admin listener, which does not use TLS.
fn admin_url(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "http" && url.has_host());
    url.ok_or("expected an http:// URL, such as http://127.0.0.1:9090")
}

/// The location of the configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// Configuration file. Environment variables such as GATEWAY_SERVER__LISTEN override it.
    #[arg(long, value_name = "FILE", env = "GATEWAY_CONFIG", default_value = "config/gateway.toml")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, ConfigErrors> {
        // Bytes that are not UTF-8 become U+FFFD, which `Config::load` rejects in the value of a setting.
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Config::load(&self.config, variables)
    }
}

/// Arguments without a command to run: they are invalid, or request the help or the version.
#[derive(Debug)]
pub struct UsageError(clap::Error);

impl UsageError {
    /// Prints the help, the version or the error, and returns the exit code.
    pub fn print(&self) -> ExitCode {
        // A failed write to the terminal cannot be reported.
        let _ = self.0.print();
        if self.0.use_stderr() { EX_USAGE.into() } else { ExitCode::SUCCESS }
    }
}

/// Parses the arguments of the process.
pub fn parse() -> Result<Command, UsageError> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // The parser interprets every argument of `help` as the name of a command.
    if arguments.get(1).is_some_and(|command| command == "help") {
        arguments.retain(|argument| argument != "--help" && argument != "-h");
    }
    Arguments::try_parse_from(arguments).map(|arguments| arguments.command).map_err(UsageError)
}

/// Runs a command, prints an error to standard error, and returns the exit code.
pub fn run(command: Command) -> ExitCode {
    match dispatch(command) {
        Ok(exit) => exit,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "dicomweb-gateway: {error:#}");
            if error.is::<ConfigErrors>() { EX_USAGE.into() } else { ExitCode::FAILURE }
        }
    }
}

#[tokio::main]
async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { config } => serve::run(&config.load()?).await,
        #[cfg(feature = "demo")]
        Command::Demo { dir, listen } => demo::run(dir, listen).await,
        #[cfg(feature = "demo")]
        Command::Archive { dir, listen } => archive::run(dir, listen).await,
        Command::Check { config } => check::run(&config.load()?).await,
        Command::Healthcheck { config, url } => healthcheck::run(&config, url).await,
    }
}

/// Whether the process that reads the output has closed it, as in `check | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn start_telemetry(format: LogFormat) -> anyhow::Result<LogGuard> {
    let log = telemetry::start_logs(format)?;
    telemetry::log_panics();
    Ok(log)
}

/// Warns that clients are not authenticated.
fn warn_about_open_access() {
    tracing::warn!("auth.mode is open: anyone who can reach the listener can read every patient's data");
}

/// Returns the URL of a listener at `address` for a client on this machine: the unspecified address (0.0.0.0 or ::) is not that of a host.
#[cfg(feature = "demo")]
fn local_url(address: SocketAddr) -> String {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, address.port()))
}

/// Prints the result of a command.
fn print(text: std::fmt::Arguments<'_>) -> io::Result<()> {
    // In one piece, because each line of formatted text is written by itself and log lines could come between them.
    io::stdout().write_all(format!("{text}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppError;
    use crate::store::StoreError;

    fn assert_printed_once(cause: &str, error: &anyhow::Error) {
        assert_eq!(format!("{error:#}").matches(cause).count(), 1, "{error:#}");
    }

    #[test]
    fn a_printed_error_contains_each_cause_once() {
        let store = StoreError::Malformed("the record is short");
        assert_printed_once("the record is short", &AppError::ChangeLog(store).into());
        let threads = io::Error::other("too many threads");
        assert_printed_once("too many threads", &telemetry::LogsError::Thread(threads).into());
    }

    #[cfg(feature = "demo")]
    #[tokio::test]
    async fn a_failed_task_of_the_archive_is_printed_once() {
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        let failure = task.await.unwrap_err();
        let cause = failure.to_string();
        assert_printed_once(&cause, &dicomweb_archive::StartError::Prepare(failure).into());
    }
}
