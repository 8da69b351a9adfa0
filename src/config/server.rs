//! `[server]`: the listeners, their limits, and the public URL of the gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::section::{Section, Setting};
use super::values::{count, duration, host_names, networks, origins, public_url, socket_address, text};
use crate::http::accepted_hosts::HostName;
use crate::http::cors::Cors;
use crate::http::forwarded::PublicBase;
use crate::http::network::IpNetwork;

/// The default of `listen`, a loopback address, so that other machines can reach the gateway only if it is configured.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The default of `admin_listen`, a loopback address, because metrics and readiness are for the local machine unless an
/// orchestrator needs them.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// The default of `drain_timeout`. A large study on a slow network takes minutes. The grace period of an orchestrator must be
/// longer.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);

/// The default of `request_timeout`: enough for a search in several slow archives with many pages, and the timeout of most
/// reverse proxies.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// The default of `max_connections`. Each connection uses a file descriptor, and during a retrieval another one for the connection
/// to an archive, so the limit of the process must be above twice this number.
const MAX_CONNECTIONS: usize = 1024;

/// The listeners, their limits, and the public URL of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The address of the public listener.
    pub listen: SocketAddr,
    /// The address of the listener for health checks and metrics.
    pub admin_listen: SocketAddr,
    /// The base URL of links in responses; if it is not set, it is determined from each request.
    pub public_url: Option<PublicBase>,
    /// The names under which the gateway responds, besides the host of `public_url`, `localhost` and IP addresses.
    pub hosts: Vec<HostName>,
    /// The proxies whose `Forwarded` and `X-Forwarded-…` headers are trusted.
    pub trusted_proxies: Vec<IpNetwork>,
    /// The maximum time for requests in flight at shutdown.
    pub drain_timeout: Duration,
    /// The deadline for the response headers.
    pub request_timeout: Duration,
    /// Maximum number of concurrent client connections.
    pub max_connections: usize,
    /// The origins whose web pages may read responses.
    pub cors: Cors,
    /// The certificate of the public listener; without it, the listener serves HTTP without TLS.
    pub tls: Option<TlsConfig>,
}

impl ServerConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.take_or("listen", socket_address, LISTEN),
            admin_listen: section.take_or("admin_listen", socket_address, ADMIN_LISTEN),
            public_url: section.take("public_url", public_url).map(|set| set.value),
            hosts: section.take_or("hosts", host_names, Vec::new()),
            trusted_proxies: section.take_or("trusted_proxies", networks, Vec::new()),
            drain_timeout: section.take_or("drain_timeout", duration, DRAIN_TIMEOUT),
            request_timeout: section.take_or("request_timeout", duration, REQUEST_TIMEOUT),
            max_connections: section.take_or("max_connections", count(1, 1_000_000), MAX_CONNECTIONS),
            cors: section.read_table("cors", |section| Some(read_cors(section))).unwrap_or_default(),
            tls: section.read_table("tls", read_tls),
        }
    }
}

fn read_cors(section: &mut Section<'_>) -> Cors {
    section.take_or("allowed_origins", origins, Cors::None)
}

/// A certificate chain and its private key, as the content of the PEM files.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain.
    pub certificates: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

fn read_tls(section: &mut Section<'_>) -> Option<TlsConfig> {
    if !section.is_set("cert") && !section.is_set("key") {
        // The keys are taken so that they count as known keys.
        let _ = (section.take("cert", text), section.take("key", text));
        return None;
    }
    let certificates = section.take_required(
        "cert",
        text,
        "set the PEM file with the certificate chain that belongs to key",
    );
    let key =
        section.take_required("key", text, "set the PEM file with the private key that belongs to cert");
    let mut read = |key: &'static str, Setting { value, location }: Setting<String>| {
        let path = section.resolve_path(Path::new(&value));
        let content = std::fs::read(&path);
        content
            .map_err(|error| {
                section.error(location, key, format!("{} cannot be read: {error}", path.display()));
            })
            .ok()
    };
    let certificates = certificates.and_then(|set| read("cert", set));
    let key = key.and_then(|set| read("key", set));
    Some(TlsConfig { certificates: certificates?, key: key? })
}
