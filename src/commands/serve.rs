//! `serve`: runs the gateway, from binding the listeners to draining them.

mod file_descriptors;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_messages::body::Body;
use http_server::{Admin, AdminState, ConnectionLimits, RequestBody, Tls};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use self::file_descriptors::{DescriptorDemand, MAX_ADMIN_CONNECTIONS, raise_limit};
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
        AuthMode::Open => super::warn_about_open_access(),
    }
    let running = BoundGateway::start(config, "choose another address in server.listen").await?;
    running.serve_until_stopped(config).await;
    Ok(ExitCode::SUCCESS)
}

/// A gateway whose listeners are bound.
pub(super) struct BoundGateway {
    public: TcpListener,
    admin: TcpListener,
    tls: Option<Tls>,
    app: Arc<App>,
    max_connections: usize,
    stop: BoxFuture<'static, ()>,
}

impl BoundGateway {
    /// Builds the gateway and binds its listeners, without calling an archive. `listen_remedy` is the advice for
    /// the user if the address of the public listener cannot be used.
    pub(super) async fn start(config: &Config, listen_remedy: &str) -> anyhow::Result<Self> {
        let max_connections = raise_limit(DescriptorDemand::of(config));
        let app = Arc::new(App::new(config, Arc::new(SystemClock::default()), Metrics::default()).await?);
        let public = bind(config.server.listen, listen_remedy).await?;
        let admin_remedy = "choose another address in server.admin_listen";
        let admin = bind(config.server.admin_listen, admin_remedy).await?;
        // Signals are handled before the log reports that the gateway is listening.
        let stop = stop_signal().boxed();
        app.start_background_work();
        tracing::info!(address = %public.local_addr()?, admin = %admin.local_addr()?, archives = config.archives.len(), "listening");
        Ok(Self { public, admin, tls: config.server.tls.clone(), app, max_connections, stop })
    }

    /// Returns the address of the public listener.
    #[cfg(feature = "demo")]
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.local_addr()
    }

    /// Returns the address of the admin listener.
    #[cfg(feature = "demo")]
    pub(super) fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.admin.local_addr()
    }

    /// Serves requests until a signal arrives; then reports that the gateway is not ready, and waits for requests in flight. The
    /// admin listener is closed last.
    pub(super) async fn serve_until_stopped(self, config: &Config) {
        let limits = ConnectionLimits {
            max_connections: self.max_connections,
            max_connections_per_peer: config.server.max_connections_per_peer,
            drain: config.server.drain_timeout,
            ..ConnectionLimits::default()
        };
        let is_draining = Arc::new(AtomicBool::new(false));
        let admin = Admin(Readiness { app: Arc::clone(&self.app), is_draining: Arc::clone(&is_draining) });
        let (stop_admin, admin_stop) = oneshot::channel::<()>();
        let admin_limits = ConnectionLimits {
            max_connections: MAX_ADMIN_CONNECTIONS,
            drain: ADMIN_DRAIN_TIMEOUT,
            ..ConnectionLimits::default()
        };
        let admin = http_server::serve(self.admin, admin_limits, admin, async { drop(admin_stop.await) });
        let admin = tokio::spawn(admin);

        let drain_timeout = config.server.drain_timeout;
        let stop = async {
            self.stop.await;
            is_draining.store(true, Ordering::Relaxed);
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
        tracing::info!(aborted_connections = drained.aborted, "stopped");
    }
}

async fn bind(address: SocketAddr, remedy: &str) -> anyhow::Result<TcpListener> {
    let failed = |error| anyhow::anyhow!("cannot listen on {address}: {error}; {remedy}");
    TcpListener::bind(address).await.map_err(failed)
}

/// The state that the admin listener reports.
struct Readiness {
    app: Arc<App>,
    is_draining: Arc<AtomicBool>,
}

impl AdminState for Readiness {
    // The state of archives is not part of readiness: an archive that is down affects all replicas equally.
    fn ready(&self) -> Result<(), String> {
        if self.is_draining.load(Ordering::Relaxed) { Err("stopping".to_owned()) } else { Ok(()) }
    }

    async fn metrics(&self) -> String {
        self.app.metrics()
    }

    fn has_action(&self, path: &str) -> bool {
        self.app.service().has_admin_action(path)
    }

    async fn post(&self, request: Request<RequestBody>) -> Option<Response<Body>> {
        self.app.service().respond_to_admin(request).await
    }
}

/// Waits for Ctrl-C, the signal of an orchestrator, or the end of the terminal. Signals are handled from the call of this function
/// on, even before the future is polled.
#[cfg(unix)]
pub(super) fn stop_signal() -> impl Future<Output = ()> + Send {
    use std::task::Poll;
    use tokio::signal::unix::{SignalKind, signal};
    let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
    if !ignores_hangup() {
        kinds.push(SignalKind::hangup());
    }
    let mut signals: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    std::future::poll_fn(move |context| {
        let is_received = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if is_received { Poll::Ready(()) } else { Poll::Pending }
    })
}

/// Whether the program was started with SIGHUP ignored, as nohup does. Only Linux provides this information.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored_signals = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is signal 1, SIGHUP.
    ignored_signals
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(super) async fn stop_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
