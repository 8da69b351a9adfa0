//! Resolves host names and blocks addresses that no archive can have. Addresses are checked after the lookup, and the name is
//! not looked up again after the check.
//!
//! No PACS has a link-local address (RFC 3927, RFC 4291 2.5.6), but cloud metadata services, which return credentials, do.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec::IntoIter;

use hyper_util::client::legacy::connect::dns::Name;
use reqwest::dns::{Addrs, Resolve, Resolving};
use tower_service::Service;

use super::BoxError;

/// Addresses of cloud metadata services outside the link-local ranges.
const METADATA_SERVICES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// Whether no archive can have `address`, because it is link-local, multicast, broadcast, unspecified, or the address of a
/// cloud metadata service.
pub fn is_forbidden_address(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_not_a_host = match address {
        IpAddr::V4(address) => {
            address.is_link_local() || address.is_broadcast() || address.octets().first() == Some(&0)
        }
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_unspecified(),
    };
    is_not_a_host || address.is_multicast() || METADATA_SERVICES.contains(&address)
}

/// The error for a host name whose addresses are all blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("every address of the host name is link-local or otherwise blocked")]
pub(super) struct ForbiddenAddress;

/// The error for a host name without an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host name has no address")]
pub(super) struct NameLookupFailed;

/// Looks up the addresses of a host name; may block.
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The resolver of both clients.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Arc<Lookup>,
    allow_link_local: bool,
}

impl Resolver {
    /// Creates a resolver that uses the operating system.
    pub(super) fn system(allow_link_local: bool) -> Self {
        let lookup = |name: &str| {
            let addresses = std::net::ToSocketAddrs::to_socket_addrs(&(name, 0))?;
            Ok(addresses.map(|address| address.ip()).collect())
        };
        Self { lookup: Arc::new(lookup), allow_link_local }
    }

    #[cfg(test)]
    pub(super) fn with_lookup(
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Arc::new(lookup), allow_link_local: false }
    }

    async fn resolve(self, name: String) -> Result<IntoIter<SocketAddr>, BoxError> {
        let lookup = Arc::clone(&self.lookup);
        let addresses =
            tokio::task::spawn_blocking(move || lookup(&name)).await?.map_err(|_| NameLookupFailed)?;
        let allowed: Vec<_> = addresses
            .into_iter()
            .filter(|address| self.allow_link_local || !is_forbidden_address(*address))
            // The port comes from the URL.
            .map(|address| SocketAddr::new(address, 0))
            .collect();
        if allowed.is_empty() { Err(ForbiddenAddress.into()) } else { Ok(allowed.into_iter()) }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Resolver")
            .field("allow_link_local", &self.allow_link_local)
            .finish_non_exhaustive()
    }
}

impl Service<Name> for Resolver {
    type Response = IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name.as_str().to_owned()))
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolving = Self::resolve(self.clone(), name.as_str().to_owned());
        Box::pin(async { Ok(Box::new(resolving.await?) as Addrs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_blocked() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert!(is_forbidden_address(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "203.0.113.7",
            "::1",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_forbidden_address(address.parse().unwrap()), "{address}");
        }
    }
}
