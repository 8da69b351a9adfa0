//! A gateway with all its modules, as the command `serve` starts it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dicomweb_gateway::app::App;
use dicomweb_gateway::auth::Authenticator;
use dicomweb_gateway::clock::{SharedClock, SystemClock};
use dicomweb_gateway::config::Config;
use dicomweb_gateway::telemetry::Metrics;
use dicomweb_gateway::upstream::{Archive, Profile};
use http_server::ConnectionLimits;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client::{self, ReceivedResponse};
use super::samples::{self, SampleArchive};

/// The value of the timeouts that a test does not set. It is longer than any test, even on a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_hours(1);

/// Connection limits that no test reaches.
pub const CONNECTION_LIMITS: ConnectionLimits = ConnectionLimits {
    first_byte: LONG_TIMEOUT,
    head: LONG_TIMEOUT,
    idle: LONG_TIMEOUT,
    stall: LONG_TIMEOUT,
    drain: LONG_TIMEOUT,
    max_connections: 4096,
    max_connections_per_peer: 4096,
};

/// Sets the profile `generic` of archives whose profile the test does not set, because the searches of a probe are requests that other tests
/// do not expect.
fn set_generic_profiles(config: &mut Config, lines: &str) {
    if lines.contains("profile = \"auto\"") {
        return;
    }
    for archive in config.archives.iter_mut().filter(|archive| archive.settings.profile.is_probed) {
        let Profile { detail, synthesized, .. } = archive.settings.profile;
        let generic = Profile::find("generic").unwrap();
        archive.settings.profile = Profile { detail, synthesized, ..generic };
    }
}

/// Extends every timeout that the configuration of the test, `lines`, does not set.
fn extend_timeouts(config: &mut Config, lines: &str, fresh_for: Option<Duration>) {
    let has_key = |key: &str| lines.lines().any(|line| line.trim_start().starts_with(&format!("{key} =")));
    if !has_key("request_timeout") {
        config.server.request_timeout = LONG_TIMEOUT;
    }
    if let Some(fresh_for) = fresh_for
        && !has_key("fresh_for")
    {
        config.cache.fresh_for = fresh_for;
    }
    if !has_key("connect_timeout") {
        (config.store.timeout, config.store.connect_timeout) = (LONG_TIMEOUT, LONG_TIMEOUT);
    }
    if !has_key("timeout") {
        for archive in &mut config.archives {
            archive.settings.timeout = LONG_TIMEOUT;
        }
    }
    if !has_key("min_rate") {
        for archive in &mut config.archives {
            archive.settings.min_rate = 0;
        }
    }
    if !has_key("queue_timeout") {
        for archive in &mut config.archives {
            archive.settings.queue_timeout = LONG_TIMEOUT;
        }
    }
}

/// A gateway that runs until this value is dropped.
#[derive(Debug)]
pub struct RunningGateway {
    base_url: String,
    metrics: Metrics,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    archives: Vec<Archive>,
    /// The embedded archive, if the gateway uses it. It must run as long as the gateway.
    archive: Option<Arc<SampleArchive>>,
}

impl RunningGateway {
    /// Starts a gateway in front of the embedded archive with the sample studies.
    pub async fn start_with_samples() -> Self {
        Self::start_with_samples_and_config("").await
    }

    /// Starts a gateway like [`start_with_samples`](Self::start_with_samples), with `lines` added to its configuration.
    pub async fn start_with_samples_and_config(lines: &str) -> Self {
        // Creating the samples blocks the thread.
        let archive = tokio::task::spawn_blocking(samples::shared).await.unwrap();
        let mut gateway = Self::start(&archive.url, lines).await;
        gateway.archive = Some(archive);
        gateway
    }

    /// Starts a gateway in front of the archive at `url`, with `lines` added to its configuration.
    pub async fn start(url: &str, lines: &str) -> Self {
        Self::start_with_limits(CONNECTION_LIMITS, url, lines).await
    }

    /// Starts a gateway like [`start`](Self::start), with `limits` of its connections.
    pub async fn start_with_limits(limits: ConnectionLimits, url: &str, lines: &str) -> Self {
        Self::launch(Arc::new(SystemClock::default()), url, lines, None, Some(LONG_TIMEOUT), limits).await
    }

    /// Starts a gateway like [`start`](Self::start), with `clock`, which the test advances.
    pub async fn start_with_clock(clock: SharedClock, url: &str, lines: &str) -> Self {
        Self::launch(clock, url, lines, None, None, CONNECTION_LIMITS).await
    }

    /// Starts a gateway in front of the archive at `url`, with `authenticator`.
    pub async fn start_with_authenticator(authenticator: Arc<dyn Authenticator>, url: &str) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self::launch(clock, url, "", Some(authenticator), None, CONNECTION_LIMITS).await
    }

    async fn launch(
        clock: SharedClock,
        url: &str,
        lines: &str,
        authenticator: Option<Arc<dyn Authenticator>>,
        fresh_for: Option<Duration>,
        limits: ConnectionLimits,
    ) -> Self {
        let text = format!(
            "[auth]\nmode = \"open\"\n[[archive]]\nid = \"main\"\nname = \"Main archive\"\nurl = \"{url}\"\n{lines}"
        );
        let mut config =
            Config::parse(&text, Path::new("test.toml"), []).unwrap_or_else(|errors| panic!("{errors}"));
        set_generic_profiles(&mut config, lines);
        extend_timeouts(&mut config, lines, fresh_for);
        let metrics = Metrics::default();
        let app = match authenticator {
            None => App::new(&config, clock, metrics.clone()).await,
            Some(authenticator) => {
                App::with_authenticator(&config, clock, metrics.clone(), authenticator).await
            }
        };
        let app = app.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = config.server.tls.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let base_url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (service, archives) = (app.service(), app.archives());
        app.start_background_work();
        let (shutdown, shutdown_requested) = oneshot::channel();
        let task = tokio::spawn(async move {
            let stop = async { drop(shutdown_requested.await) };
            http_server::serve_with_tls(listener, tls, limits, service, stop).await;
            app.close().await;
        });
        Self { base_url, metrics, shutdown: Some(shutdown), task, archives, archive: None }
    }

    /// Shuts the gateway down gracefully, and waits until it has ended.
    pub async fn stop(mut self) {
        drop(self.shutdown.take());
        (&mut self.task).await.unwrap();
    }

    /// Waits until each archive with the profile `auto` has been probed `count` times, successfully or not.
    pub async fn wait_for_probes(&self, count: u64) {
        for archive in &self.archives {
            archive.wait_for_probes(count).await;
        }
    }

    /// Returns the client of the first archive.
    pub fn archive(&self) -> &Archive {
        &self.archives[0]
    }

    /// Returns the URL of the listener, without a trailing slash.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Returns the metrics, for an admin listener.
    pub fn shared_metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Returns the metrics in the Prometheus text format.
    pub fn metrics(&self) -> String {
        self.metrics.to_text()
    }

    /// Returns the number of upstream requests of `class` until now, with any outcome.
    pub fn upstream_request_count(&self, class: &str) -> u64 {
        let label = format!("class=\"{class}\"");
        let lines = self.metrics().lines().map(str::to_owned).collect::<Vec<_>>();
        let counts = lines
            .iter()
            .filter(|line| line.starts_with("gateway_upstream_requests_total{") && line.contains(&label));
        counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Sends GET for a path.
    pub async fn get(&self, path: &str) -> ReceivedResponse {
        client::get(&format!("{}{path}", self.base_url)).await
    }

    /// Sends GET for a path with headers.
    pub async fn get_with_headers(&self, path: &str, headers: &[(&str, &str)]) -> ReceivedResponse {
        client::get_with_headers(&format!("{}{path}", self.base_url), headers).await
    }

    /// Gets the JSON resource at a path; panics unless the status is 200.
    pub async fn get_json(&self, path: &str) -> Value {
        let received = self.get(path).await;
        assert_eq!(received.status, 200, "{path}: {}", received.text());
        received.json()
    }

    /// Gets all pages of a search. Returns the matches of all pages, and the first page.
    pub async fn search(&self, path: &str) -> (Vec<Value>, Value) {
        let first_page = self.get_json(path).await;
        let (mut matches, mut page) = (Vec::new(), first_page.clone());
        loop {
            matches.extend(resources_with_mode(&page, "match"));
            let Some(next) = link_url(&page, "next") else { return (matches, first_page) };
            let path = next.strip_prefix(&self.base_url).expect("the link is not to the gateway").to_owned();
            page = self.get_json(&path).await;
        }
    }

    /// Gets all pages of a search. Returns the ids of the matches.
    pub async fn search_ids(&self, path: &str) -> Vec<String> {
        let (matches, _) = self.search(path).await;
        matches.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for RunningGateway {
    fn drop(&mut self) {
        self.task.abort();
        drop(self.archive.take());
    }
}

/// Returns the resources of a Bundle whose entries have the `search.mode` `mode`.
pub fn resources_with_mode(bundle: &Value, mode: &str) -> Vec<Value> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries
        .into_iter()
        .filter(|entry| entry["search"]["mode"] == mode)
        .map(|entry| entry["resource"].clone())
        .collect()
}

/// Returns the URL of a link of a Bundle.
pub fn link_url(bundle: &Value, relation: &str) -> Option<String> {
    let links = bundle["link"].as_array()?;
    Some(links.iter().find(|link| link["relation"] == relation)?["url"].as_str()?.to_owned())
}
