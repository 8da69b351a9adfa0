//! `host[:port]` (RFC 3986 §3.2), narrowed to what names a host on a network: no user information, no percent-escapes,
//! nothing that could be taken for the beginning of a path.

use std::net::Ipv6Addr;

use url::Host;

/// The longest name that DNS can hold.
const MAX_NAME_LEN: usize = 253;

/// Whether `text` is a host, alone or with a port.
pub fn is_host_and_port(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            return address.parse::<Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => match text.bytes().position(|byte| byte == b':') {
            Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
            None => (text, None),
        },
    };
    is_name(host) && is_read_as_written(host) && port.is_none_or(is_port)
}

/// Whether `text` is a port that can be connected to.
pub fn is_port(text: &str) -> bool {
    // A number may begin with a plus, a port may not.
    text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// A name or an IPv4 address. The underscore is no letter of DNS, but of container networks.
fn is_name(text: &str) -> bool {
    let mut previous = b'.';
    let mut legal = |byte: u8| {
        let legal = match byte {
            b'.' => previous != b'.',
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        previous = byte;
        legal
    };
    // One dot may close a name: it says that the name is complete.
    (1..=MAX_NAME_LEN).contains(&text.len()) && text.bytes().all(&mut legal)
}

/// A name that ends in a number is an IPv4 address in every address that it is set into, or none at all (URL Standard, host
/// parsing); so is `xn--` the beginning of a name in other letters.
fn is_read_as_written(name: &str) -> bool {
    match Host::parse(name) {
        Ok(Host::Domain(_)) => true,
        Ok(Host::Ipv4(address)) => address.to_string() == name,
        Ok(Host::Ipv6(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_and_what_only_looks_like_one() {
        for good in
            ["a", "pacs.example.org", "10.0.0.1:8080", "[::1]", "[2001:db8::1]:443", "my_pacs:80", "a.:1"]
        {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "good@evil",
            "a/../b",
            "a b",
            "[::1",
            "::1",
            "[1]",
            "a..b",
            ".",
            "a\\b",
            "ä",
            "a%20b",
            "[::1]x",
            "a,b",
            "a\"",
            "http://a",
            "a.0",
            "1.2",
            "0x7f.1",
            "10.0.0.1.",
            "10.0.0.256",
            "xn--a",
        ] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_host_can_be_set_into_an_address(text in "\\PC{0,20}") {
            if is_host_and_port(&text) {
                let address = url::Url::parse(&format!("http://{text}/path")).unwrap();
                prop_assert_eq!(address.path(), "/path");
                prop_assert_eq!(address.username(), "");
                prop_assert!(address.query().is_none());
            }
        }
    }
}
