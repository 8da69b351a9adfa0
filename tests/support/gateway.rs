//! The whole gateway, as `serve` runs it, in front of one archive.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::app::App;
use dicomweb_gateway::auth::Authenticator;
use dicomweb_gateway::clock::{SharedClock, SystemClock};
use dicomweb_gateway::config::Config;
use dicomweb_gateway::telemetry::Metrics;
use http_server;
use http_server::{ConnectionLimits, Tls};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{self, Received};
use super::samples::{self, SampleArchive};

/// Longer than any test takes: a deadline that a test does not set itself is no part of it, and a busy machine must not reach it.
const LONG: Duration = Duration::from_hours(1);

/// A client may take as long as it likes.
const UNHURRIED: ConnectionLimits = ConnectionLimits {
    first_byte: LONG,
    head: LONG,
    idle: LONG,
    stall: LONG,
    drain: LONG,
    max_connections: 4096,
};

/// Sets every time that `told`, the test's own lines, does not name.
fn wait_longer(config: &mut Config, told: &str, fresh_for: Option<Duration>) {
    let names = |key: &str| told.lines().any(|line| line.trim_start().starts_with(&format!("{key} =")));
    if !names("request_timeout") {
        config.server.request_timeout = LONG;
    }
    if let Some(fresh_for) = fresh_for
        && !names("fresh_for")
    {
        config.cache.fresh_for = fresh_for;
    }
    if !names("timeout") {
        for archive in &mut config.archives {
            archive.settings.timeout = LONG;
        }
    }
}

/// A gateway that runs until it is dropped, and its archive, if that is an embedded one.
#[derive(Debug)]
pub struct RunningGateway {
    address: String,
    metrics: Metrics,
    order_to_stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    /// Runs as long as this does.
    archive: Option<Arc<SampleArchive>>,
}

impl RunningGateway {
    /// In front of the embedded archive with the sample studies.
    pub async fn over_samples() -> Self {
        Self::over_samples_with("").await
    }

    /// The same, with more lines of configuration.
    pub async fn over_samples_with(more: &str) -> Self {
        // Filling an archive blocks.
        let archive = tokio::task::spawn_blocking(samples::shared).await.unwrap();
        let mut gateway = Self::over(&archive.url, more).await;
        gateway.archive = Some(archive);
        gateway
    }

    /// In front of the archive at `url`.
    pub async fn over(url: &str, more: &str) -> Self {
        Self::start(Arc::new(SystemClock::default()), url, more, None, Some(LONG)).await
    }

    /// In front of the archive at `url`, by `clock`, which the test moves.
    pub async fn over_by(clock: SharedClock, url: &str, more: &str) -> Self {
        Self::start(clock, url, more, None, None).await
    }

    /// In front of the archive at `url`, for those whom `authenticator` lets in.
    pub async fn guarded(authenticator: Arc<dyn Authenticator>, url: &str) -> Self {
        Self::start(Arc::new(SystemClock::default()), url, "", Some(authenticator), None).await
    }

    async fn start(
        clock: SharedClock,
        url: &str,
        more: &str,
        authenticator: Option<Arc<dyn Authenticator>>,
        fresh_for: Option<Duration>,
    ) -> Self {
        let text = format!(
            "[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nname = \"Main archive\"\nurl = \"{url}\"\n{more}"
        );
        let mut config =
            Config::parse(&text, Path::new("test.toml"), []).unwrap_or_else(|errors| panic!("{errors}"));
        wait_longer(&mut config, more, fresh_for);
        let metrics = Metrics::default();
        let app = match authenticator {
            None => App::new(&config, clock, metrics.clone()),
            Some(authenticator) => App::with_authenticator(&config, clock, metrics.clone(), authenticator),
        };
        let app = app.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = config.server.tls.as_ref().map(|tls| Tls::from_pem(&tls.certificates, &tls.key).unwrap());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let service = app.service();
        let (order_to_stop, ordered) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stop = async { drop(ordered.await) };
            http_server::serve_with_tls(listener, tls, UNHURRIED, service, stop).await;
            app.close().await;
        });
        Self { address, metrics, order_to_stop: Some(order_to_stop), task, archive: None }
    }

    /// Stops it as an orchestrator does; what it has open is closed then.
    pub async fn stop(mut self) {
        drop(self.order_to_stop.take());
        (&mut self.task).await.unwrap();
    }

    /// Where it listens, without a slash at its end.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its metrics as text.
    pub fn metrics(&self) -> String {
        self.metrics.to_text()
    }

    /// How many requests of a class went to the archive so far, whatever came of them.
    pub fn asked(&self, class: &str) -> u64 {
        let label = format!("class=\"{class}\"");
        let lines = self.metrics().lines().map(str::to_owned).collect::<Vec<_>>();
        let counts = lines
            .iter()
            .filter(|line| line.starts_with("gateway_upstream_requests_total{") && line.contains(&label));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// GET of a path.
    pub async fn get(&self, path: &str) -> Received {
        client::get(&format!("{}{path}", self.address)).await
    }

    /// GET of a path with headers.
    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Received {
        client::get_with(&format!("{}{path}", self.address), headers).await
    }

    /// The JSON at a path, which must be there.
    pub async fn json(&self, path: &str) -> Value {
        let received = self.get(path).await;
        assert_eq!(received.status, 200, "{path}: {}", received.text());
        received.json()
    }

    /// Every match of a search, over all its pages, and the first page.
    pub async fn matches(&self, path: &str) -> (Vec<Value>, Value) {
        let first = self.json(path).await;
        let (mut matches, mut page) = (Vec::new(), first.clone());
        loop {
            matches.extend(entries(&page, "match"));
            let Some(next) = link(&page, "next") else { return (matches, first) };
            let path = next.strip_prefix(&self.address).expect("a link of our own").to_owned();
            page = self.json(&path).await;
        }
    }

    /// The ids of every match of a search.
    pub async fn ids(&self, path: &str) -> Vec<String> {
        let (matches, _) = self.matches(path).await;
        matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.task.abort();
        drop(self.archive.take());
    }
}

/// The resources of a Bundle that stand in it for this reason.
pub fn entries(bundle: &Value, mode: &str) -> Vec<Value> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| entry["search"]["mode"] == mode)
        .map(|entry| entry["resource"].clone())
        .collect()
}

/// The address of a link of a Bundle.
pub fn link(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array()?;
    Some(links.iter().find(|link| link["relation"] == relation)?["url"].as_str()?.to_owned())
}
