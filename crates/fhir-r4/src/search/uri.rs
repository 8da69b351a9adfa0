//! URIs (R4 search#uri): exact, or by what lies above or below them in a hierarchy of addresses.

use super::alternatives::{self, unescape};

/// How two URIs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UriMatch {
    /// They are the same.
    Exact,
    /// The resource's lies below (`:below`), or is the same.
    Below,
    /// The resource's lies above (`:above`), or is the same.
    Above,
}

/// Reads the alternatives of a value.
pub(super) fn parse_all(value: &str) -> Result<Vec<String>, String> {
    alternatives::parse_each(value, |text| {
        let uri = unescape(text);
        if uri.contains(char::is_whitespace) { Err("a URI has no blanks".to_owned()) } else { Ok(uri) }
    })
}

impl UriMatch {
    pub(super) fn holds(self, wanted: &str, uri: &str) -> bool {
        match self {
            Self::Exact => wanted == uri,
            Self::Below => is_below(uri, wanted),
            Self::Above => is_below(wanted, uri),
        }
    }
}

/// Whether `uri` is `root` or goes on behind it with a segment of its own; only addresses have such an order.
fn is_below(uri: &str, root: &str) -> bool {
    let stem = root.strip_suffix('/').unwrap_or(root);
    uri == root || (root.contains("://") && uri.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lie_above_and_below_each_other_by_whole_segments() {
        for (wanted, uri, below) in [
            ("http://h/a", "http://h/a/b", true),
            ("http://h/a/", "http://h/a/b", true),
            ("http://h/a", "http://h/a", true),
            ("http://h/a", "http://h/ab", false),
            ("http://h/a/b", "http://h/a", false),
            ("urn:oid:1.2", "urn:oid:1.2.3", false),
        ] {
            assert_eq!(UriMatch::Below.holds(wanted, uri), below, "{wanted} {uri}");
            assert_eq!(UriMatch::Above.holds(uri, wanted), below, "{wanted} {uri}");
            assert_eq!(UriMatch::Exact.holds(wanted, uri), wanted == uri, "{wanted} {uri}");
        }
    }
}
