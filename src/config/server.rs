//! `[server]`: where the gateway listens and how it is known.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use super::section::{Section, Set};
use super::values::{count, duration, networks, origins, public_url, socket_address, text};
use crate::http::cors::Cors;
use crate::http::forwarded::PublicBase;
use crate::http::network::IpNetwork;

/// Loopback: the gateway is reachable from other machines only if that is configured deliberately.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Loopback: metrics and readiness are for the local machine, unless an orchestrator needs them.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// A large study on a slow line takes minutes. An orchestrator must be told to wait as long.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(5);

/// A search over several slow archives, page by page; proxies in front usually give up after as long.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Each holds a file descriptor; 1,024 stay below what a process may have by default, with as many for the archives.
const MAX_CONNECTIONS: usize = 1024;

/// Where the gateway listens and how it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// The public listener.
    pub listen: SocketAddr,
    /// The listener for health checks and metrics.
    pub admin_listen: SocketAddr,
    /// What links begin with; found out from each request when it is not set.
    pub public_url: Option<PublicBase>,
    /// Whose `Forwarded` and `X-Forwarded-…` are believed.
    pub trusted_proxies: Vec<IpNetwork>,
    /// From the order to stop to the end of what is under way.
    pub drain_timeout: Duration,
    /// From a request to the head of its answer.
    pub request_timeout: Duration,
    /// How many connections there may be.
    pub max_connections: usize,
    /// Whose pages may read the answers.
    pub cors: Cors,
    /// The certificate of the public listener; it speaks no TLS without.
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

/// A certificate with its key, both PEM, as the files hold them.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, and those that vouch for it.
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
        // Asked for, so that they are known.
        let _ = (section.take("cert", text), section.take("key", text));
        return None;
    }
    let certificates = section.required("cert", text, "the certificate that belongs to key, a PEM file");
    let key = section.required("key", text, "the private key that belongs to cert, a PEM file");
    let mut read = |key: &'static str, Set { value, place }: Set<String>| {
        let path = section.beside_the_file(Path::new(&value));
        let content = std::fs::read(&path);
        content
            .map_err(|error| section.error(place, key, format!("{} cannot be read: {error}", path.display())))
            .ok()
    };
    let certificates = certificates.and_then(|set| read("cert", set));
    let key = key.and_then(|set| read("key", set));
    Some(TlsConfig { certificates: certificates?, key: key? })
}
