//! The preferences of a client (RFC 7240): the values of `Prefer`.

use http::HeaderMap;

/// The handling of what the server cannot do exactly (RFC 7240 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreferredHandling {
    /// The request fails.
    Strict,
    /// The server does what it can, and says what is missing.
    Lenient,
}

impl PreferredHandling {
    /// Returns the handling that the client prefers, if any. `strict` takes precedence.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        if has_preference(headers, "handling=strict") {
            Some(Self::Strict)
        } else {
            has_preference(headers, "handling=lenient").then_some(Self::Lenient)
        }
    }
}

/// Whether `Prefer` contains `preference`, which is in lower case. Values may be quoted and have spaces around `=` (RFC 7240 2).
pub fn has_preference(headers: &HeaderMap, preference: &str) -> bool {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split([',', ';']))
        .any(|other| other.replace(['"', ' ', '\t'], "").eq_ignore_ascii_case(preference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handling_is_found_in_every_form_of_prefer() {
        let handling = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| ("prefer".parse().unwrap(), line.parse().unwrap()));
            PreferredHandling::from_headers(&lines.collect::<HeaderMap>())
        };
        assert_eq!(handling(&[]), None);
        assert_eq!(handling(&["return=minimal"]), None);
        assert_eq!(handling(&["handling=lenient"]), Some(PreferredHandling::Lenient));
        assert_eq!(
            handling(&["return=minimal; x, Handling = \"Lenient\""]),
            Some(PreferredHandling::Lenient)
        );
        assert_eq!(handling(&["wait=5", "handling=STRICT"]), Some(PreferredHandling::Strict));
    }
}
