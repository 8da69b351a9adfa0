//! Parses URIs and compares them (R4 search#uri): equal, or above or below in the hierarchy of URL paths. This module does not
//! resolve URIs.

use super::alternatives::{self, unescape};

/// The comparison of URIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UriMatch {
    /// The URIs are equal.
    Exact,
    /// The URI of the resource is equal or below (`:below`).
    Below,
    /// The URI of the resource is equal or above (`:above`).
    Above,
}

/// Parses the alternatives of a value.
pub(super) fn parse_all(value: &str) -> Result<Vec<String>, String> {
    alternatives::parse_each(value, |text| {
        let uri = unescape(text);
        if uri.contains(char::is_whitespace) {
            Err("expected a URI without whitespace".to_owned())
        } else {
            Ok(uri)
        }
    })
}

impl UriMatch {
    pub(super) fn matches(self, expected: &str, uri: &str) -> bool {
        match self {
            Self::Exact => expected == uri,
            Self::Below => is_below(uri, expected),
            Self::Above => is_below(expected, uri),
        }
    }
}

/// Whether `uri` equals `root` or continues it with further path segments; only URLs have such a hierarchy.
fn is_below(uri: &str, root: &str) -> bool {
    let stem = root.strip_suffix('/').unwrap_or(root);
    uri == root || (root.contains("://") && uri.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_and_below_compare_whole_path_segments() {
        for (expected, uri, below) in [
            ("http://h/a", "http://h/a/b", true),
            ("http://h/a/", "http://h/a/b", true),
            ("http://h/a", "http://h/a", true),
            ("http://h/a", "http://h/ab", false),
            ("http://h/a/b", "http://h/a", false),
            ("urn:oid:1.2", "urn:oid:1.2.3", false),
        ] {
            assert_eq!(UriMatch::Below.matches(expected, uri), below, "{expected} {uri}");
            assert_eq!(UriMatch::Above.matches(uri, expected), below, "{expected} {uri}");
            assert_eq!(UriMatch::Exact.matches(expected, uri), expected == uri, "{expected} {uri}");
        }
    }
}
