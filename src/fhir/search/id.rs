//! Ids (R4 datatypes#id) as values of `_id` (R4 search#id): exact, case-sensitive, without a system.

use super::alternatives::{self, unescape};

/// Reads the alternatives of a value.
pub(super) fn parse_all(value: &str) -> Result<Vec<String>, String> {
    alternatives::parse_each(value, |text| {
        let id = unescape(text);
        let legal = is_id(&id);
        legal.then_some(id).ok_or_else(|| "an id is 1 to 64 letters, digits, hyphens and dots".to_owned())
    })
}

/// Whether `text` is a legal id.
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_r4_allows_is_an_id() {
        assert_eq!(parse_all("1.2.840,pat-1").unwrap(), ["1.2.840", "pat-1"]);
        let longest = "a".repeat(64);
        assert!(is_id(&longest) && !is_id(&format!("{longest}a")));
        for bad in ["a b", "a_b", "a*", "é", "Patient/1", "sys|1", ","] {
            assert!(parse_all(bad).is_err(), "{bad}");
        }
    }
}
