//! The command line: arguments → configuration → telemetry → gateway → server → drain. Exit code 64 says that arguments or
//! configuration are wrong (`EX_USAGE` of sysexits.h), 1 that a command failed.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use dicomweb_gateway::app::App;
use dicomweb_gateway::archive::Archive;
use dicomweb_gateway::build_info;
use dicomweb_gateway::clock::SystemClock;
use dicomweb_gateway::config::{AuthMode, Config, ConfigErrors};
use dicomweb_gateway::demo::{self, Content, Tour};
use dicomweb_gateway::server::{self, Admin, ConnectionLimits, Insight, Tls};
use dicomweb_gateway::telemetry::{self, LogFormat, LogGuard, Metrics};
use dicomweb_gateway::{check, demo::archive::Progress};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use url::Url;

/// Studies are written in many small allocations: this one is half as fast again as the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WRONG_USAGE: u8 = 64;

/// A FHIR R4 and DICOMweb gateway in front of one or many PACS.
#[derive(Debug, Parser)]
#[command(version = build_info::DESCRIPTION, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Try the gateway without a PACS: with an archive of its own that holds sample studies, or the files of a folder.
    Demo {
        /// A folder of DICOM files; sample studies without it.
        dir: Option<PathBuf>,
        /// Where the gateway listens.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Serve a folder of DICOM files as a read-only DICOMweb archive, without a gateway.
    Archive {
        /// The folder.
        dir: PathBuf,
        /// Where the archive listens.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8042")]
        listen: SocketAddr,
    },
    /// Validate the configuration, ask every archive what it can do, and print a table.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Succeed when the gateway on this machine is ready.
    Healthcheck {
        #[command(flatten)]
        config: ConfigFile,
        /// The address of its admin listener, like http://127.0.0.1:9090; without it, as configured.
        #[arg(long)]
        url: Option<Url>,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration. Environment variables like GATEWAY_SERVER__LISTEN override what stands in it.
    #[arg(long, value_name = "FILE", env = "GATEWAY_CONFIG", default_value = "config/gateway.toml")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, ConfigErrors> {
        // A variable that is no text is none of ours.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Config::load(&self.config, variables)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Nothing can be done when nobody reads it.
            let _ = usage.print();
            return if usage.use_stderr() { WRONG_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(arguments.command) {
        Ok(exit) => exit,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "dicomweb-gateway: {error:#}");
            if error.is::<ConfigErrors>() { WRONG_USAGE.into() } else { ExitCode::FAILURE }
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { config } => serve(&config.load()?).await,
        Command::Demo { dir, listen } => run_demo(dir, listen).await,
        Command::Archive { dir, listen } => run_archive(dir, listen).await,
        Command::Check { config } => run_check(&config.load()?).await,
        Command::Healthcheck { config, url } => run_healthcheck(&config, url).await,
    }
}

async fn serve(config: &Config) -> anyhow::Result<ExitCode> {
    let _log = start_telemetry(config.telemetry.log)?;
    tracing::info!(version = build_info::DESCRIPTION, "starting");
    match config.auth.mode {
        AuthMode::Open => {
            tracing::warn!("auth.mode is open: everybody who can reach the listener sees every patient");
        }
    }
    let running = Running::start(config).await?;
    running.until_stopped(config).await;
    Ok(ExitCode::SUCCESS)
}

async fn run_demo(dir: Option<PathBuf>, listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let _log = start_telemetry(LogFormat::Text)?;
    let content = dir.map_or(Content::Samples, Content::Folder);
    let free_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let archive = demo::start_archive(content, free_port, Progress::Bar).await?;
    // The gateway is configured as any other, and calls the archive over HTTP.
    let text = format!(
        "[server]\nlisten = \"{listen}\"\nadmin_listen = \"{free_port}\"\n[auth]\nmode = \"open\"\n\
         [[archive]]\nid = \"demo\"\nname = \"Embedded archive\"\nurl = \"{}\"\n",
        archive.url()
    );
    let config = Config::parse(&text, Path::new("demo"), [])?;
    let running = Running::start(&config).await?;
    let gateway = format!("http://{}", running.address);
    let tour = Tour { gateway: &gateway, archive: "demo", index: archive.index() };
    say(format_args!("{}\n\nThe gateway is ready. Try:\n\n{tour}\nStop it with Ctrl-C.", archive.report()))?;
    running.until_stopped(&config).await;
    archive.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn run_archive(dir: PathBuf, listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let _log = start_telemetry(LogFormat::Text)?;
    let archive = demo::start_archive(Content::Folder(dir), listen, Progress::Bar).await?;
    say(format_args!("{}\nThe archive is at {}", archive.report(), archive.url()))?;
    stop_signal().await;
    archive.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn run_check(config: &Config) -> anyhow::Result<ExitCode> {
    tls_of(config)?;
    let archives =
        config.archives.iter().map(|archive| Archive::new(archive.settings.clone(), Metrics::default()));
    let checks = check::check(archives.collect::<Result<Vec<_>, _>>()?).await;
    say(format_args!("The configuration is valid.\n\n{checks}"))?;
    Ok(if checks.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_healthcheck(config: &ConfigFile, url: Option<Url>) -> anyhow::Result<ExitCode> {
    let admin = match url {
        Some(url) => *url.socket_addrs(|| None)?.first().context("the URL's host has no address")?,
        None => config.load()?.server.admin_listen,
    };
    server::ask_whether_ready(admin).await?;
    Ok(ExitCode::SUCCESS)
}

fn start_telemetry(format: LogFormat) -> anyhow::Result<LogGuard> {
    let log = telemetry::start_logs(format)?;
    telemetry::log_panics();
    Ok(log)
}

fn say(text: std::fmt::Arguments<'_>) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

fn tls_of(config: &Config) -> anyhow::Result<Option<Tls>> {
    let tls = config.server.tls.as_ref().map(|tls| Tls::from_pem(&tls.certificates, &tls.key));
    tls.transpose().context("server.tls")
}

/// A gateway whose listeners are bound.
struct Running {
    address: SocketAddr,
    public: TcpListener,
    admin: TcpListener,
    tls: Option<Tls>,
    app: Arc<App>,
}

impl Running {
    async fn start(config: &Config) -> anyhow::Result<Self> {
        let app = Arc::new(App::new(config, Arc::new(SystemClock::default()), Metrics::default())?);
        let tls = tls_of(config)?;
        let public = bind("server.listen", config.server.listen).await?;
        let admin = bind("server.admin_listen", config.server.admin_listen).await?;
        let address = public.local_addr()?;
        tracing::info!(%address, admin = %admin.local_addr()?, archives = config.archives.len(), "listening");
        Ok(Self { address, public, admin, tls, app })
    }

    /// Answers until the order to stop; then says that it is not ready, and finishes what is under way. The admin
    /// listener stays to the end.
    async fn until_stopped(self, config: &Config) {
        let limits = ConnectionLimits {
            max_connections: config.server.max_connections,
            drain: config.server.drain_timeout,
            ..ConnectionLimits::default()
        };
        let draining = Arc::new(AtomicBool::new(false));
        let admin = Admin(Inside { app: Arc::clone(&self.app), draining: Arc::clone(&draining) });
        let (all_done, until_all_done) = oneshot::channel::<()>();
        let admin_limits = ConnectionLimits { drain: ADMIN_DRAIN, ..ConnectionLimits::default() };
        let admin = server::serve(self.admin, admin_limits, admin, async { drop(until_all_done.await) });
        let admin = tokio::spawn(admin);

        let order = async {
            stop_signal().await;
            draining.store(true, Ordering::Relaxed);
            tracing::info!(connections = "finishing", "stopping; a second signal stops at once");
            tokio::spawn(async {
                stop_signal().await;
                std::process::exit(1);
            });
        };
        let service = self.app.service();
        let drained = server::serve_with_tls(self.public, self.tls, limits, service, order).await;
        self.app.close().await;
        drop(all_done);
        // Its only task is the listener that was just told to end.
        let _ = admin.await;
        tracing::info!(cut = drained.cut, "stopped");
    }
}

/// Probes and scrapes are over in no time.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({key})"))
}

/// What the admin listener sees.
struct Inside {
    app: Arc<App>,
    draining: Arc<AtomicBool>,
}

impl Insight for Inside {
    // An archive that is down makes no replica better than another, so it does not count here.
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) { Err("stopping".to_owned()) } else { Ok(()) }
    }

    async fn metrics(&self) -> String {
        self.app.metrics()
    }
}

/// Ctrl-C, or what an orchestrator sends.
#[cfg(unix)]
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
