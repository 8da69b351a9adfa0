//! Metrics in the OpenMetrics text format. The labels route, method, status, archive and reason have a limited number of values.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use http_server::{ConnectionFailure, ConnectionMetrics};

/// Upper bounds of the histogram buckets in seconds, from a cached read to a slow archive.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];

/// The labels of a request: the label of the route; GET, HEAD, POST or `other`; the status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    archive: String,
    class: &'static str,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamClass {
    archive: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ArchiveLabels {
    archive: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    reason: &'static str,
}

/// The result of a cache lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheOutcome {
    /// The entry was present and fresh.
    Hit,
    /// The entry was present, and an archive confirmed it.
    Revalidated,
    /// The archive was queried.
    Miss,
}

/// The counters of the lookups in one cache, which exist from the start, so that every outcome is exported as 0.
struct CacheLookups {
    hits: Counter,
    revalidations: Counter,
    misses: Counter,
}

impl CacheLookups {
    fn in_family(family: &Family<CacheLabels, Counter>) -> Self {
        let outcome = |outcome| family.get_or_create_owned(&CacheLabels { outcome });
        Self { hits: outcome("hit"), revalidations: outcome("revalidated"), misses: outcome("miss") }
    }

    fn count(&self, outcome: CacheOutcome) {
        let counter = match outcome {
            CacheOutcome::Hit => &self.hits,
            CacheOutcome::Revalidated => &self.revalidations,
            CacheOutcome::Miss => &self.misses,
        };
        counter.inc();
    }
}

/// The metrics of one route, looked up once instead of for each request. Successful GETs have a separate field, because
/// most requests are of this kind.
#[derive(Debug)]
pub struct RouteMetrics {
    route: &'static str,
    seconds: Histogram,
    successful_gets: Counter,
}

impl RouteMetrics {
    /// Returns the label of the route.
    pub fn route(&self) -> &'static str {
        self.route
    }
}

/// The metrics of one gateway. Clones share them. Each gateway has a separate registry, so that two gateways in one process are
/// counted separately.
#[derive(Clone)]
pub struct Metrics(Arc<MetricFamilies>);

struct MetricFamilies {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram>,
    in_flight: Gauge,
    connections: Gauge,
    connection_failures: Family<FailureLabels, Counter>,
    upstream_requests: Family<UpstreamLabels, Counter>,
    upstream_seconds: Family<UpstreamClass, Histogram>,
    upstream_in_flight: Family<UpstreamClass, Gauge>,
    study_lookups: CacheLookups,
    response_lookups: CacheLookups,
    cache_bytes: Gauge<u64, AtomicU64>,
    cache_entries: Gauge<u64, AtomicU64>,
    change_log_failures: Counter,
    omitted_rows: Family<ArchiveLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS);
        let cache = Family::<CacheLabels, Counter>::default();
        let response_cache = Family::<CacheLabels, Counter>::default();
        let mut inner = MetricFamilies {
            registry: Registry::with_prefix("gateway"),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            connection_failures: Family::default(),
            upstream_requests: Family::default(),
            upstream_seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            upstream_in_flight: Family::default(),
            study_lookups: CacheLookups::in_family(&cache),
            response_lookups: CacheLookups::in_family(&response_cache),
            cache_bytes: Gauge::default(),
            cache_entries: Gauge::default(),
            change_log_failures: Counter::default(),
            omitted_rows: Family::default(),
        };
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        let registry = &mut inner.registry;
        registry.register("build", "Version of the running gateway", build);
        registry.register("requests", "Requests answered", inner.requests.clone());
        let help = "Time from receiving the request headers to sending the response headers";
        registry.register_with_unit("request", help, Unit::Seconds, inner.request_seconds.clone());
        registry.register(
            "requests_in_flight",
            "Requests in flight, until the response body is sent",
            inner.in_flight.clone(),
        );
        registry.register("connections", "Open connections", inner.connections.clone());
        registry.register(
            "connection_failures",
            "Connections that failed before they had received a request, by reason",
            inner.connection_failures.clone(),
        );
        registry.register(
            "upstream_requests",
            "Requests sent to archives, by outcome",
            inner.upstream_requests.clone(),
        );
        registry.register(
            "upstream_requests_in_flight",
            "Requests to archives in flight, until the response body is read",
            inner.upstream_in_flight.clone(),
        );
        let help = "Time from sending a request to an archive to receiving the response headers";
        registry.register_with_unit("upstream", help, Unit::Seconds, inner.upstream_seconds.clone());
        registry.register("cache_lookups", "Studies looked up in the cache, by outcome", cache);
        registry.register(
            "answer_cache_lookups",
            "Metadata and thumbnails looked up in the cache, by outcome",
            response_cache,
        );
        registry.register_with_unit(
            "cache",
            "Size of the memory cache",
            Unit::Bytes,
            inner.cache_bytes.clone(),
        );
        registry.register("cache_entries", "Entries in the memory cache", inner.cache_entries.clone());
        registry.register(
            "change_log_failures",
            "Failures of the change log, after each of which it continued in memory",
            inner.change_log_failures.clone(),
        );
        registry.register(
            "upstream_rows_omitted",
            "Rows that archives returned although they do not match the search, and that were omitted",
            inner.omitted_rows.clone(),
        );
        for failure in ConnectionFailure::ALL {
            drop(inner.connection_failures.get_or_create(&FailureLabels { reason: failure.name() }));
        }
        Self(Arc::new(inner))
    }
}

impl ConnectionMetrics for Metrics {
    fn connection_opened(&self) {
        self.0.connections.inc();
    }

    fn connection_closed(&self) {
        self.0.connections.dec();
    }

    fn connection_failed(&self, failure: ConnectionFailure) {
        self.0.connection_failures.get_or_create(&FailureLabels { reason: failure.name() }).inc();
    }
}

impl Metrics {
    /// Returns the metrics of requests for `route`.
    pub fn route(&self, route: &'static str) -> RouteMetrics {
        RouteMetrics {
            route,
            seconds: self.0.request_seconds.get_or_create_owned(&RouteLabels { route }),
            successful_gets: self.0.requests.get_or_create_owned(&RequestLabels {
                route,
                method: "GET",
                status: 200,
            }),
        }
    }

    /// Counts a response. `duration` is the time until its headers.
    pub fn request_finished(
        &self,
        route: &RouteMetrics,
        method: &'static str,
        status: u16,
        duration: Duration,
    ) {
        route.seconds.observe(duration.as_secs_f64());
        if (method, status) == ("GET", 200) {
            route.successful_gets.inc();
        } else {
            self.0.requests.get_or_create(&RequestLabels { route: route.route, method, status }).inc();
        }
    }

    /// Counts a request as in flight until the returned value is dropped.
    pub fn request_started(&self) -> InFlight {
        InFlight::new(&self.0.in_flight)
    }

    /// Counts a request to an archive as in flight until the returned value is dropped.
    pub fn upstream_request_started(&self, archive: &str, class: &'static str) -> InFlight {
        let labels = UpstreamClass { archive: archive.to_owned(), class };
        InFlight::new(&self.0.upstream_in_flight.get_or_create_owned(&labels))
    }

    /// Counts a response or failure of an archive. `duration` is the time until the response headers.
    pub fn upstream_request_finished(
        &self,
        archive: &str,
        class: &'static str,
        outcome: &str,
        duration: Duration,
    ) {
        let labels = UpstreamLabels { archive: archive.to_owned(), class, outcome: outcome.to_owned() };
        self.0.upstream_requests.get_or_create(&labels).inc();
        let labels = UpstreamClass { archive: archive.to_owned(), class };
        self.0.upstream_seconds.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    /// Creates the counters of an archive whose labels are known at the start, so that they are exported as 0.
    pub fn archive_added(&self, archive: &str) {
        self.rows_omitted(archive, 0);
    }

    /// Counts rows of an archive that do not match the search and are omitted.
    pub fn rows_omitted(&self, archive: &str, count: u64) {
        self.0.omitted_rows.get_or_create(&ArchiveLabels { archive: archive.to_owned() }).inc_by(count);
    }

    /// Counts a cache lookup of a study.
    pub fn study_cache_looked_up(&self, outcome: CacheOutcome) {
        self.0.study_lookups.count(outcome);
    }

    /// Counts a cache lookup of metadata or a thumbnail.
    pub fn response_cache_looked_up(&self, outcome: CacheOutcome) {
        self.0.response_lookups.count(outcome);
    }

    /// Sets the size of the cache.
    pub fn set_cache_size(&self, entries: u64, bytes: u64) {
        self.0.cache_entries.set(entries);
        self.0.cache_bytes.set(bytes);
    }

    /// Counts a failure of the change log.
    pub fn change_log_failed(&self) {
        self.0.change_log_failures.inc();
    }

    /// Returns all metrics as OpenMetrics text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.0.registry);
        text
    }
}

/// Counts a request as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl InFlight {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_contains_every_counter() {
        let metrics = Metrics::default();
        let in_flight = metrics.request_started();
        let route = metrics.route("fhir.capabilities");
        metrics.request_finished(&route, "GET", 200, Duration::from_millis(2));
        metrics.request_finished(&route, "POST", 405, Duration::from_millis(2));
        metrics.upstream_request_finished("main", "search", "200", Duration::from_millis(20));
        metrics.study_cache_looked_up(CacheOutcome::Hit);
        metrics.set_cache_size(3, 4096);
        let page = metrics.to_text();
        for line in [
            "gateway_requests_total{route=\"fhir.capabilities\",method=\"GET\",status=\"200\"} 1",
            "gateway_requests_total{route=\"fhir.capabilities\",method=\"POST\",status=\"405\"} 1",
            "gateway_request_seconds_count{route=\"fhir.capabilities\"} 2",
            "gateway_requests_in_flight 1",
            "gateway_upstream_requests_total{archive=\"main\",class=\"search\",outcome=\"200\"} 1",
            "gateway_cache_lookups_total{outcome=\"hit\"} 1",
            "gateway_cache_bytes 4096",
            "gateway_cache_entries 3",
            "# EOF",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
        drop(in_flight);
        assert!(metrics.to_text().contains("gateway_requests_in_flight 0"));
    }

    #[test]
    fn counters_whose_labels_are_known_are_zero_before_the_first_event() {
        let metrics = Metrics::default();
        metrics.archive_added("main");
        let page = metrics.to_text();
        for outcome in ["hit", "revalidated", "miss"] {
            for name in ["cache_lookups", "answer_cache_lookups"] {
                let line = format!("gateway_{name}_total{{outcome=\"{outcome}\"}} 0\n");
                assert!(page.contains(&line), "{line} is missing in\n{page}");
            }
        }
        assert!(page.contains("gateway_upstream_rows_omitted_total{archive=\"main\"} 0\n"), "{page}");
    }

    #[test]
    fn two_gateways_in_one_process_are_counted_separately() {
        let (first, second) = (Metrics::default(), Metrics::default());
        first.study_cache_looked_up(CacheOutcome::Hit);
        let hits = |metrics: &Metrics, count| {
            metrics.to_text().contains(&format!("gateway_cache_lookups_total{{outcome=\"hit\"}} {count}\n"))
        };
        assert!(hits(&first, 1) && hits(&second, 0));
    }
}
