//! IP networks in CIDR notation (RFC 4632, RFC 4291 2.3).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An address and its prefix length. An IPv4 address is stored as IPv4-mapped IPv6 address, in which form dual-stack sockets
/// report IPv4 peers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    address: u128,
    prefix_length: u32,
}

/// The error for a text that is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network is an IP address, alone or with a prefix length: 10.0.0.0/8, 192.0.2.7, fd00::/8")]
pub struct NetworkError;

impl IpNetwork {
    /// Whether the network contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        to_bits(address) & mask(self.prefix_length) == self.address
    }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .to_bits()
}

fn mask(prefix_length: u32) -> u128 {
    u128::MAX.checked_shl(128 - prefix_length).unwrap_or(0)
}

impl FromStr for IpNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let (width, offset) = if address.is_ipv4() { (32, 96) } else { (128, 0) };
        let bits = match bits {
            None => width,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= width).ok_or(NetworkError)?
            }
            Some(_) => return Err(NetworkError),
        };
        let prefix_length = offset + bits;
        Ok(Self { address: to_bits(address) & mask(prefix_length), prefix_length })
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.address);
        match address.to_ipv4_mapped().filter(|_| self.prefix_length >= 96) {
            Some(address) => write!(formatter, "{address}/{}", self.prefix_length - 96),
            None => write!(formatter, "{address}/{}", self.prefix_length),
        }
    }
}

impl fmt::Debug for IpNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_contains_its_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::1", "::1", "::2"),
            ("192.0.2.0/24", "::ffff:192.0.2.9", "192.0.3.9"),
            ("::/0", "10.0.0.1", "::"),
        ] {
            let parsed: IpNetwork = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            if outside != "::" {
                assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
            }
        }
        for invalid in
            ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/+8", "localhost", "10.0.0.0/8/8"]
        {
            assert_eq!(invalid.parse::<IpNetwork>(), Err(NetworkError), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn a_network_parses_its_own_text(address: u32, bits in 0_u32..=32) {
            let network: IpNetwork = format!("{}/{bits}", std::net::Ipv4Addr::from_bits(address)).parse().unwrap();
            prop_assert!(network.contains(std::net::Ipv4Addr::from_bits(address).into()));
            prop_assert_eq!(network.to_string().parse::<IpNetwork>(), Ok(network));
        }
    }
}
