//! `[server]`: the listeners, their limits, and the public URL of the gateway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::section::{Section, Setting};
use super::values::{count, duration, networks, origins, public_url, socket_address, text};
use crate::http::cors::Cors;
use crate::http::forwarded::PublicBase;
use crate::http::network::IpNetwork;

/// Loopback: the gateway is reachable from other machines only if that is configured deliberately.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Loopback: metrics and readiness are for the local machine, unless an orchestrator needs them.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// A large study on a slow network takes minutes. The grace period of an orchestrator must be longer.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);

/// Enough for a search over several slow archives, page by page; most reverse proxies time out after as long.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Each uses a file descriptor, and a second one towards an archive. 1,024 stay below the usual limit of a process.
const MAX_CONNECTIONS: usize = 1024;

/// The listeners, their limits, and the public URL of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Address of the public listener.
    pub listen: SocketAddr,
    /// Address of the listener for health checks and metrics.
    pub admin_listen: SocketAddr,
    /// Base URL of links in responses; if it is not set, it is taken from each request.
    pub public_url: Option<PublicBase>,
    /// Proxies whose `Forwarded` and `X-Forwarded-…` headers are trusted.
    pub trusted_proxies: Vec<IpNetwork>,
    /// How long to wait for in-flight requests on shutdown.
    pub drain_timeout: Duration,
    /// Deadline for sending response headers.
    pub request_timeout: Duration,
    /// Maximum concurrent client connections.
    pub max_connections: usize,
    /// Origins whose web pages may read responses.
    pub cors: Cors,
    /// The certificate of the public listener; without it, it serves plain HTTP.
    pub tls: Option<TlsConfig>,
}

impl ServerConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.or("listen", socket_address, LISTEN),
            admin_listen: section.or("admin_listen", socket_address, ADMIN_LISTEN),
            public_url: section.take("public_url", public_url).map(|set| set.value),
            trusted_proxies: section.or("trusted_proxies", networks, Vec::new()),
            drain_timeout: section.or("drain_timeout", duration, DRAIN_TIMEOUT),
            request_timeout: section.or("request_timeout", duration, REQUEST_TIMEOUT),
            max_connections: section.or("max_connections", count(1, 1_000_000), MAX_CONNECTIONS),
            cors: section.table("cors", |section| Some(read_cors(section))).unwrap_or_default(),
            tls: section.table("tls", read_tls),
        }
    }
}

fn read_cors(section: &mut Section<'_>) -> Cors {
    section.or("allowed_origins", origins, Cors::None)
}

/// A certificate with its private key, both PEM: the content of the files.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain.
    pub certificates: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

fn read_tls(section: &mut Section<'_>) -> Option<TlsConfig> {
    if !section.has("cert") && !section.has("key") {
        // Taken so that they count as known keys.
        let _ = (section.take("cert", text), section.take("key", text));
        return None;
    }
    let certificates =
        section.required("cert", text, "set the PEM file with the certificate chain that belongs to key");
    let key = section.required("key", text, "set the PEM file with the private key that belongs to cert");
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
