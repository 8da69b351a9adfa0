//! `[server]`: the listeners, their limits, and the public URL of the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_server::{Tls, TlsError};
use secrecy::{ExposeSecret, SecretString};

use super::error::ConfigLocation;
use super::secret::Secret;
use super::section::{Section, Setting};
use super::values::{count, duration, host_names, networks, origins, public_url, socket_address, text};
use crate::http::accepted_hosts::HostName;
use crate::http::cors::Cors;
use crate::http::forwarded::PublicBase;
use crate::http::network::IpNetwork;

/// The default of `listen`, a loopback address, so that other machines can reach the gateway only if another
/// address is configured.
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

/// The default of `max_connections_per_peer`: half of all connections, so that one client cannot exclude the others. A reverse
/// proxy that is not configured as trusted needs fewer.
const MAX_CONNECTIONS_PER_PEER: usize = 512;

/// The default of `max_connections`. Each connection uses a file descriptor and up to 128 KiB of buffers. `serve` raises the limit of
/// open files to what they and the archives need.
const MAX_CONNECTIONS: usize = 1024;

/// The length in bytes below which a warning reports that an admin token could be guessed.
const MIN_ADMIN_TOKEN_LEN: usize = 16;

/// The listeners, their limits, and the public URL of the gateway.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The address of the public listener.
    pub listen: SocketAddr,
    /// The address of the listener for health checks and metrics.
    pub admin_listen: SocketAddr,
    /// The token of requests to the admin listener that change the state of the gateway; without it, the listener has no such
    /// requests.
    pub admin_token: Option<SecretString>,
    /// The base URL of links in responses; if it is not set, it is determined from each request.
    pub public_url: Option<PublicBase>,
    /// The host names that the gateway accepts, in addition to the host of `public_url`, `localhost` and IP addresses.
    pub hosts: Vec<HostName>,
    /// The proxies whose `Forwarded` and `X-Forwarded-…` headers are trusted.
    pub trusted_proxies: Vec<IpNetwork>,
    /// The maximum time for requests in flight at shutdown.
    pub drain_timeout: Duration,
    /// The deadline for the response headers.
    pub request_timeout: Duration,
    /// Maximum number of concurrent client connections.
    pub max_connections: usize,
    /// Maximum number of concurrent connections of one client that is not a trusted proxy.
    pub max_connections_per_peer: usize,
    /// The origins whose web pages may read responses.
    pub cors: Cors,
    /// The certificate of the public listener; without it, the listener serves HTTP without TLS.
    pub tls: Option<Tls>,
}

impl ServerConfig {
    /// Reads the section. The second value is the address of the public listener, with its location if it is set.
    pub(super) fn read(section: &mut Section<'_>) -> (Self, ListenAddress) {
        let has_listen = section.is_set("listen");
        let has_admin_listen = section.is_set("admin_listen");
        let listen = section.take("listen", socket_address);
        let admin_listen = section.take("admin_listen", socket_address);
        let addresses = (
            listen.as_ref().map_or(LISTEN, |setting| setting.value),
            admin_listen.as_ref().map_or(ADMIN_LISTEN, |setting| setting.value),
        );
        // An invalid value is reported; the default that replaces it is not compared.
        if has_listen == listen.is_some() && has_admin_listen == admin_listen.is_some() {
            let location = admin_listen.as_ref().or(listen.as_ref()).map(|setting| setting.location.clone());
            check_listeners(section, addresses, location);
        }
        let listen = ListenAddress { address: addresses.0, location: listen.map(|setting| setting.location) };
        let config = Self {
            listen: addresses.0,
            admin_listen: addresses.1,
            admin_token: read_admin_token(section),
            public_url: section.take("public_url", public_url).map(|setting| setting.value),
            hosts: section.take_or("hosts", host_names, Vec::new()),
            trusted_proxies: section.take_or("trusted_proxies", networks, Vec::new()),
            drain_timeout: section.take_or("drain_timeout", duration, DRAIN_TIMEOUT),
            request_timeout: section.take_or("request_timeout", duration, REQUEST_TIMEOUT),
            max_connections: section.take_or("max_connections", count(1, 1_000_000), MAX_CONNECTIONS),
            max_connections_per_peer: section.take_or(
                "max_connections_per_peer",
                count(1, 1_000_000),
                MAX_CONNECTIONS_PER_PEER,
            ),
            cors: section.read_table("cors", |section| Some(read_cors(section))).unwrap_or_default(),
            tls: section.read_table("tls", read_tls),
        };
        (config, listen)
    }
}

/// The address of the public listener.
#[derive(Debug)]
pub(super) struct ListenAddress {
    pub(super) address: SocketAddr,
    /// The location of the setting; `None` if the address is the default.
    pub(super) location: Option<ConfigLocation>,
}

/// Reads the token of the admin listener. Anyone who guesses it can make the gateway read everything again.
fn read_admin_token(section: &mut Section<'_>) -> Option<SecretString> {
    let token = Secret::take(section, "admin_token", "admin_token_file");
    let location = token.location().cloned();
    let secret = token.into_optional()?;
    if let Some(location) = location.filter(|_| secret.expose_secret().len() < MIN_ADMIN_TOKEN_LEN) {
        let message = format!(
            "has fewer than {MIN_ADMIN_TOKEN_LEN} bytes and could be guessed; make one with: openssl rand -hex 32"
        );
        section.warn(location, "admin_token", message);
    }
    Some(secret)
}

fn read_cors(section: &mut Section<'_>) -> Cors {
    section.take_or("allowed_origins", origins, Cors::None)
}

/// Reads the certificate chain and the private key. An error names the file that is wrong.
fn read_tls(section: &mut Section<'_>) -> Option<Tls> {
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
    let certificates = certificates.and_then(|setting| PemFile::read(section, "cert", setting));
    let key = key.and_then(|setting| PemFile::read(section, "key", setting));
    let (certificates, key) = (certificates?, key?);
    match Tls::from_pem(&certificates.content, &key.content) {
        Ok(tls) => Some(tls),
        Err(error @ TlsError::Certificate) => {
            section.report_error(
                certificates.location,
                "cert",
                format!("{} {error}", certificates.path.display()),
            );
            None
        }
        Err(error @ TlsError::Key) => {
            section.report_error(key.location, "key", format!("{} {error}", key.path.display()));
            None
        }
        Err(error @ TlsError::Mismatch) => {
            let (key_file, certificate_file) = (key.path.display(), certificates.path.display());
            section.report_error(key.location, "key", format!("{error} ({key_file}, {certificate_file})"));
            None
        }
    }
}

/// A file that was read, and the location of the setting that names it.
struct PemFile {
    path: PathBuf,
    content: Vec<u8>,
    location: ConfigLocation,
}

impl PemFile {
    fn read(
        section: &mut Section<'_>,
        key: &'static str,
        Setting { value, location }: Setting<String>,
    ) -> Option<Self> {
        let path = section.resolve_path(Path::new(&value));
        match std::fs::read(&path) {
            Ok(content) => Some(Self { path, content, location }),
            Err(error) => {
                section.report_error(location, key, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }
}

/// Reports that the listeners cannot have both addresses. With port 0 each of them gets a free port.
fn check_listeners(
    section: &mut Section<'_>,
    (listen, admin_listen): (SocketAddr, SocketAddr),
    location: Option<ConfigLocation>,
) {
    if listen.port() == admin_listen.port()
        && listen.port() != 0
        && have_common_address(listen.ip(), admin_listen.ip())
        && let Some(location) = location
    {
        let relation = if listen == admin_listen {
            "is also server.listen".to_owned()
        } else {
            format!("and server.listen, {listen}, have an address in common")
        };
        let message = format!("{admin_listen} {relation}; the two listeners need different ports");
        section.report_error(location, "admin_listen", message);
    }
}

/// Whether listeners on both addresses accept connections to the same address: `0.0.0.0` is every IPv4 address, and `::` every address.
fn have_common_address(one: IpAddr, other: IpAddr) -> bool {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    let includes =
        |all: IpAddr, address: IpAddr| all.is_unspecified() && (all.is_ipv6() || address.is_ipv4());
    one == other || includes(one, other) || includes(other, one)
}
