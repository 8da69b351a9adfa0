//! Validates `host[:port]` (RFC 3986 3.2) without user information, percent-encoding or characters that a URL parser could
//! interpret as the start of a path. This module does not resolve names.

use std::net::Ipv6Addr;

use url::Host;

/// Maximum length of a DNS name.
const MAX_NAME_LEN: usize = 253;

/// Whether `text` is a host with an optional port.
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
    is_name(host) && is_unchanged_in_url(host) && port.is_none_or(is_port)
}

/// Whether `text` is a port from 1 to 65535.
pub fn is_port(text: &str) -> bool {
    // `parse` accepts a leading plus sign.
    text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether `text` is a name or an IPv4 address. The underscore is not valid in DNS host names, but container networks
/// use it.
fn is_name(text: &str) -> bool {
    let mut previous = b'.';
    let mut is_valid = |byte: u8| {
        let valid = match byte {
            b'.' => previous != b'.',
            byte => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
        };
        previous = byte;
        valid
    };
    // A trailing dot is valid: it marks a fully qualified name.
    (1..=MAX_NAME_LEN).contains(&text.len()) && text.bytes().all(&mut is_valid)
}

/// Whether a URL parser (URL Standard, host parsing) reads `name` unchanged. It reads a name that ends in a number as
/// an IPv4 address or rejects it, and it decodes names that begin with `xn--`.
fn is_unchanged_in_url(name: &str) -> bool {
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
    fn hosts_are_accepted_and_similar_texts_are_rejected() {
        for valid in
            ["a", "pacs.example.org", "10.0.0.1:8080", "[::1]", "[2001:db8::1]:443", "my_pacs:80", "a.:1"]
        {
            assert!(is_host_and_port(valid), "{valid}");
        }
        for invalid in [
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
            assert!(!is_host_and_port(invalid), "{invalid}");
        }
    }

    proptest! {
        #[test]
        fn accepted_host_can_be_inserted_into_a_url(text in "\\PC{0,20}") {
            if is_host_and_port(&text) {
                let url = url::Url::parse(&format!("http://{text}/path")).unwrap();
                prop_assert_eq!(url.path(), "/path");
                prop_assert_eq!(url.username(), "");
                prop_assert!(url.query().is_none());
            }
        }
    }
}
