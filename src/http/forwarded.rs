//! Determines the public base URL of the gateway: the configured URL, else the URL that the proxies in front of the gateway
//! report (RFC 7239, or the older `X-Forwarded-…` fields), else the URL of the request.
//!
//! Any client can send these fields. They are used only if the connection comes from a trusted proxy. Of a list, only the
//! entry of the outermost trusted proxy is used: the right-most entry whose sender is not trusted. Each part must match a strict
//! grammar, because it becomes part of links; other parts are ignored.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{FORWARDED, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::network::IpNetwork;
use http_messages::host::{is_host_and_port, is_port};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Maximum number of proxies in a chain. Only the last entries of a list are read.
const MAX_PROXIES: usize = 16;

/// Maximum length of a path prefix in bytes. Prefixes in use are shorter.
const MAX_PREFIX_LEN: usize = 256;

/// The URL `scheme://host[:port][/prefix]`, without a trailing slash, that every link begins with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicBase {
    text: Arc<str>,
    /// The offset of the prefix in bytes; the length of the text if there is no prefix.
    prefix_offset: usize,
}

/// The error for a text that is not a public base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public URL is an http:// or https:// URL without credentials, query, fragment or trailing slash: \
     https://imaging.example.org/gateway"
)]
pub struct PublicBaseError;

impl PublicBase {
    /// Parses a configured base URL.
    pub fn parse(text: &str) -> Result<Self, PublicBaseError> {
        let (scheme, rest) = text.split_once("://").ok_or(PublicBaseError)?;
        let scheme = parse_scheme(scheme).ok_or(PublicBaseError)?;
        let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !is_host_and_port(host) || !(prefix.is_empty() || is_prefix(prefix)) {
            return Err(PublicBaseError);
        }
        Ok(Self::assemble(scheme, host, prefix))
    }

    fn assemble(scheme: &str, host: &str, prefix: &str) -> Self {
        let mut text = [scheme, "://", host].concat();
        text.make_ascii_lowercase();
        let prefix_offset = text.len();
        text.push_str(prefix);
        Self { prefix_offset, text: text.into() }
    }

    /// Returns the base URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `host[:port]`.
    pub fn host_and_port(&self) -> &str {
        let start = self.text.find("://").map_or(0, |colon| colon + 3);
        &self.text[start..self.prefix_offset]
    }

    /// Returns the path prefix of every route; empty if there is none.
    pub fn prefix(&self) -> &str {
        &self.text[self.prefix_offset..]
    }
}

impl fmt::Display for PublicBase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for PublicBase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The configuration of the public base URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicUrl {
    /// The configured URL, which is used for every request.
    pub fixed: Option<PublicBase>,
    /// The proxies whose `Forwarded` and `X-Forwarded-…` fields are trusted.
    pub trusted_proxies: Vec<IpNetwork>,
    /// Whether the listener uses TLS.
    pub is_secure: bool,
}

impl PublicUrl {
    /// Determines the base URL of links in the response to a request from `peer`; `None` if the request has no valid host.
    pub fn base_of(&self, request: &Parts, peer: IpAddr) -> Option<PublicBase> {
        if let Some(fixed) = &self.fixed {
            return Some(fixed.clone());
        }
        let reported =
            if self.is_trusted(peer) { self.reported_url(&request.headers) } else { ReportedUrl::default() };
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        let request_host = authority
            .or_else(|| request.headers.get(HOST)?.to_str().ok())
            .filter(|host| is_host_and_port(host));
        let host = reported.host.as_deref().or(request_host)?;
        let scheme = reported.scheme.unwrap_or(if self.is_secure { "https" } else { "http" });
        let host = match &reported.port {
            Some(port) => with_port(host, port, scheme),
            None => host.to_owned(),
        };
        Some(PublicBase::assemble(scheme, &host, reported.prefix.as_deref().unwrap_or_default()))
    }

    /// Whether `address` is that of a proxy whose headers are trusted.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// Whether the request from `peer` has fields of a proxy, which are not used because the proxy is not trusted.
    pub fn ignores_forwarding(&self, headers: &HeaderMap, peer: IpAddr) -> bool {
        let fields = [FORWARDED, FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED_PORT];
        !self.is_trusted(peer) && fields.iter().any(|field| headers.contains_key(field))
    }

    fn reported_url(&self, headers: &HeaderMap) -> ReportedUrl {
        let is_trusted_sender = |sender| self.is_trusted(sender);
        if headers.contains_key(FORWARDED) {
            let elements = forwarded_elements(headers);
            let element = find_client_entry(&elements, |element| element.sender, is_trusted_sender);
            return ReportedUrl {
                scheme: element.and_then(|element| element.scheme),
                host: element.and_then(|element| element.host.clone()),
                port: None,
                prefix: reported_prefix(headers),
            };
        }
        // The entry of the outermost trusted proxy, counted from the right. Proxies that replace the list write one entry.
        let senders = list_entries(headers, &FORWARDED_FOR);
        let depth = 1 + senders
            .iter()
            .rev()
            .take_while(|sender| node_address(sender).is_some_and(is_trusted_sender))
            .count();
        let entry = |name: &HeaderName| {
            let entries = list_entries(headers, name);
            let index = entries.len().saturating_sub(depth.min(senders.len().max(1)));
            entries.get(index).map(|entry| (*entry).to_owned())
        };
        ReportedUrl {
            scheme: entry(&FORWARDED_PROTO).as_deref().and_then(parse_scheme),
            host: entry(&FORWARDED_HOST).filter(|host| is_host_and_port(host)),
            port: entry(&FORWARDED_PORT).filter(|port| is_port(port)),
            prefix: reported_prefix(headers),
        }
    }
}

/// The URL that the caller used, as reported by the proxies.
#[derive(Debug, Default)]
struct ReportedUrl {
    scheme: Option<&'static str>,
    host: Option<String>,
    port: Option<String>,
    prefix: Option<String>,
}

/// One element of `Forwarded`, with the parameters that are used.
#[derive(Debug, Default)]
struct ForwardedElement {
    sender: Option<IpAddr>,
    scheme: Option<&'static str>,
    host: Option<String>,
}

/// Returns the right-most entry whose sender is not trusted, or the left-most entry if all senders are trusted. An entry
/// contains the sender from which the proxy received the request, so a sender that is not a trusted proxy is the client.
fn find_client_entry<T>(
    entries: &[T],
    sender: impl Fn(&T) -> Option<IpAddr>,
    is_trusted_sender: impl Fn(IpAddr) -> bool,
) -> Option<&T> {
    entries
        .iter()
        .rev()
        .find(|entry| !sender(entry).is_some_and(&is_trusted_sender))
        .or_else(|| entries.first())
}

/// Parses the elements of `Forwarded` (RFC 7239 4). An element that violates the grammar is empty.
fn forwarded_elements(headers: &HeaderMap) -> Vec<ForwardedElement> {
    list_entries(headers, &FORWARDED).into_iter().map(parse_element).collect()
}

fn parse_element(text: &str) -> ForwardedElement {
    let mut element = ForwardedElement::default();
    for pair in text.split(';') {
        let Some((name, value)) = pair.trim().split_once('=') else { continue };
        // A quoted value with an escape is neither a host nor an address.
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match name.to_ascii_lowercase().as_str() {
            "for" => element.sender = node_address(value),
            "proto" => element.scheme = parse_scheme(value),
            "host" => element.host = is_host_and_port(value).then(|| value.to_owned()),
            _ => {}
        }
    }
    element
}

/// Returns the last [`MAX_PROXIES`] comma-separated entries of all fields `name`.
fn list_entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let fields = headers.get_all(name).iter();
    let mut entries: Vec<_> =
        fields.flat_map(|field| field.to_str().unwrap_or_default().split(',')).map(str::trim).collect();
    entries.drain(..entries.len().saturating_sub(MAX_PROXIES));
    entries
}

/// Parses an address with or without a port; an IPv6 address with a port is in brackets (RFC 7239 6).
fn node_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok(),
        None => text.split_once(':')?.0.parse().ok(),
    }
}

fn parse_scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// Returns the prefix, if all entries are equal. A single slash is not a prefix.
fn reported_prefix(headers: &HeaderMap) -> Option<String> {
    let entries = list_entries(headers, &FORWARDED_PREFIX);
    let (first, rest) = entries.split_first()?;
    let prefix = first.strip_suffix('/').unwrap_or(first);
    (rest.iter().all(|entry| entry == first) && is_prefix(prefix)).then(|| prefix.to_owned())
}

/// Whether `text` is a path `/segment…` of letters, digits, `-`, `_`, `.` and `~`, without escapes and dot segments.
fn is_prefix(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let is_segment = |segment: &str| {
        !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(is_legal)
    };
    text.len() <= MAX_PREFIX_LEN && text.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

/// Replaces the port in `host` by `port`; omits the default port of the scheme.
fn with_port(host: &str, port: &str, scheme: &str) -> String {
    let name_end = match host.rfind(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let name = &host[..name_end];
    match (scheme, port) {
        ("http", "80") | ("https", "443") => name.to_owned(),
        _ => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests;
