//! The hosts under which the gateway responds. A web page of another site can make its own name resolve to the address of the
//! gateway (DNS rebinding) and could then read responses as if they came from its own origin. Such requests have an unknown host
//! and get 421 (RFC 9110 15.5.20). This module does not validate the syntax of hosts.

use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, Uri, header};

use super::forwarded::PublicUrl;

/// The host names that the gateway accepts in addition to `localhost` and IP addresses, which a page of another site cannot have
/// as its host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedHosts {
    names: Vec<HostName>,
}

/// The name of a host without a port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The error for a text that is not the name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a host without a port")]
pub struct HostNameError;

impl std::str::FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let is_name = http_messages::host::is_host_and_port(text) && !text.contains(':');
        is_name.then(|| Self(without_root_dot(text).to_ascii_lowercase())).ok_or(HostNameError)
    }
}

impl AcceptedHosts {
    /// Accepts the configured `names` and the host of the configured public URL.
    pub fn new(names: &[HostName], public_url: &PublicUrl) -> Self {
        let public =
            public_url.fixed.as_ref().and_then(|base| without_port(base.host_and_port()).parse().ok());
        Self { names: names.iter().cloned().chain(public).collect() }
    }

    /// Whether the gateway accepts the host of a request from `peer`. Trusted proxies check the host themselves.
    pub fn is_accepted(&self, public_url: &PublicUrl, uri: &Uri, headers: &HeaderMap, peer: IpAddr) -> bool {
        let host = uri.authority().map(http::uri::Authority::as_str);
        // HTTP/1.0 permits requests without a host, which browsers do not send.
        let Some(host) = host.or_else(|| headers.get(header::HOST)?.to_str().ok()) else { return true };
        self.contains(without_port(host)) || public_url.is_trusted(peer)
    }

    /// Does the same for the head of a request.
    pub fn is_head_accepted(&self, public_url: &PublicUrl, head: &Parts, peer: IpAddr) -> bool {
        self.is_accepted(public_url, &head.uri, &head.headers, peer)
    }

    fn contains(&self, name: &str) -> bool {
        let name = without_root_dot(name);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.names.iter().any(|accepted| accepted.0.eq_ignore_ascii_case(name))
    }
}

/// Returns the host of `host[:port]`.
fn without_port(host_and_port: &str) -> &str {
    let colon = host_and_port.rfind(':').filter(|colon| !host_and_port[*colon..].contains(']'));
    colon.map_or(host_and_port, |colon| &host_and_port[..colon])
}

/// Removes the dot of the root of the DNS from the end of an absolute name.
fn without_root_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::forwarded::PublicBase;

    fn is_accepted(host: &str, peer: &str) -> bool {
        let public_url = PublicUrl {
            fixed: Some(PublicBase::parse("https://Imaging.example:8443/gateway").unwrap()),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            is_secure: false,
        };
        let hosts = AcceptedHosts::new(&["gateway.internal".parse().unwrap()], &public_url);
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        hosts.is_accepted(&public_url, &Uri::from_static("/fhir/metadata"), &headers, peer.parse().unwrap())
    }

    #[test]
    fn configured_names_localhost_and_addresses_are_accepted_with_any_port() {
        for host in [
            "imaging.example",
            "IMAGING.EXAMPLE:8443",
            "imaging.example.:1",
            "gateway.internal:80",
            "localhost",
            "localhost:8080",
            "127.0.0.1:8080",
            "192.0.2.7",
            "[::1]",
            "[2001:db8::1]:8080",
        ] {
            assert!(is_accepted(host, "192.0.2.1"), "{host}");
        }
    }

    #[test]
    fn other_names_are_accepted_only_from_trusted_proxies() {
        for host in [
            "attacker.example",
            "imaging.example.attacker.example",
            "localhost.attacker.example",
            "127.0.0.1.nip.io",
        ] {
            assert!(!is_accepted(host, "192.0.2.1"), "{host}");
            assert!(is_accepted(host, "10.1.2.3"), "{host}");
        }
    }

    #[test]
    fn a_host_name_with_a_port_or_scheme_is_rejected() {
        for invalid in ["", "https://gateway.internal", "gateway.internal:8080", "gateway/internal", "*"] {
            assert!(invalid.parse::<HostName>().is_err(), "{invalid}");
        }
    }
}
