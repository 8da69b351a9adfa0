//! `serve`: runs the gateway, from binding the listeners to draining them.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use http_server::{Admin, AdminState, ConnectionLimits, Tls};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::start_telemetry;
use crate::app::App;
use crate::build_info;
use crate::clock::SystemClock;
use crate::config::{AuthMode, Config};
use crate::telemetry::Metrics;

/// The drain timeout of the admin listener, whose requests are short.
const ADMIN_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let _log = start_telemetry(config.telemetry.log)?;
    tracing::info!(version = build_info::DESCRIPTION, "starting");
    for warning in &config.warnings {
        tracing::warn!("configuration: {warning}");
    }
    match config.auth.mode {
        AuthMode::Open => {
            tracing::warn!(
                "auth.mode is open: anyone who can reach the listener can read every patient's data"
            );
        }
    }
    let running = Running::start(config).await?;
    running.serve_until_stopped(config).await;
    Ok(ExitCode::SUCCESS)
}

/// A gateway whose listeners are bound.
pub(super) struct Running {
    public: TcpListener,
    admin: TcpListener,
    tls: Option<Tls>,
    app: Arc<App>,
    stop: BoxFuture<'static, ()>,
}

impl Running {
    /// Builds the gateway and binds its listeners, without calling an archive.
    pub(super) async fn start(config: &Config) -> anyhow::Result<Self> {
        let app = Arc::new(App::new(config, Arc::new(SystemClock::default()), Metrics::default())?);
        let tls = read_tls(config)?;
        let public = bind("server.listen", config.server.listen).await?;
        let admin = bind("server.admin_listen", config.server.admin_listen).await?;
        // Signals are handled before the log reports that the gateway is listening.
        let stop = stop_signal().boxed();
        tracing::info!(address = %public.local_addr()?, admin = %admin.local_addr()?, archives = config.archives.len(), "listening");
        Ok(Self { public, admin, tls, app, stop })
    }

    /// Returns the address of the public listener.
    #[cfg(feature = "demo")]
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Serves requests until a signal arrives; then reports that the gateway is not ready, and waits for requests in flight. The
    /// admin listener is closed last.
    pub(super) async fn serve_until_stopped(self, config: &Config) {
        let limits = ConnectionLimits {
            max_connections: config.server.max_connections,
            drain: config.server.drain_timeout,
            ..ConnectionLimits::default()
        };
        let draining = Arc::new(AtomicBool::new(false));
        let admin = Admin(Readiness { app: Arc::clone(&self.app), draining: Arc::clone(&draining) });
        let (stop_admin, admin_stop) = oneshot::channel::<()>();
        let admin_limits = ConnectionLimits { drain: ADMIN_DRAIN_TIMEOUT, ..ConnectionLimits::default() };
        let admin = http_server::serve(self.admin, admin_limits, admin, async { drop(admin_stop.await) });
        let admin = tokio::spawn(admin);

        let drain_timeout = config.server.drain_timeout;
        let stop = async {
            self.stop.await;
            draining.store(true, Ordering::Relaxed);
            tracing::info!(
                "shutting down: waiting up to {drain_timeout:?} for in-flight requests (a second signal exits immediately)"
            );
            let second_signal = stop_signal();
            tokio::spawn(async {
                second_signal.await;
                std::process::exit(1);
            });
        };
        let service = self.app.service();
        let drained = http_server::serve_with_tls(self.public, self.tls, limits, service, stop).await;
        self.app.close().await;
        drop(stop_admin);
        // The task of the admin listener ends now.
        let _ = admin.await;
        tracing::info!(cut = drained.aborted, "stopped");
    }
}

/// Reads the certificate and key of the public listener, if they are configured.
pub(super) fn read_tls(config: &Config) -> anyhow::Result<Option<Tls>> {
    let tls = config.server.tls.as_ref().map(|tls| Tls::from_pem(&tls.certificates, &tls.key));
    tls.transpose().context("server.tls")
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({key})"))
}

/// The state that the admin listener reports.
struct Readiness {
    app: Arc<App>,
    draining: Arc<AtomicBool>,
}

impl AdminState for Readiness {
    // The state of archives is not part of readiness: an archive that is down affects all replicas equally.
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) { Err("stopping".to_owned()) } else { Ok(()) }
    }

    async fn metrics(&self) -> String {
        self.app.metrics()
    }
}

/// Waits for Ctrl-C or the signal of an orchestrator. Signals are handled from the call of this function on, even before the
/// future is polled.
#[cfg(unix)]
pub(super) fn stop_signal() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{Signal, SignalKind, signal};
    async fn receive(signals: std::io::Result<Signal>) {
        match signals {
            Ok(mut signals) => drop(signals.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async {
        tokio::select! {
            () = receive(interrupt) => {}
            () = receive(terminate) => {}
        }
    }
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(super) async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
