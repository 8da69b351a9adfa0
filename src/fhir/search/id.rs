//! Ids (R4 datatypes#id) as values of `_id` (R4 search#id): exact, case-sensitive, without a system.

use super::token::{System, Token};

/// An id is a code without a system.
pub(super) fn check(token: &Token) -> Result<(), String> {
    let legal = matches!(token.system, System::Any) && token.code.as_deref().is_some_and(is_id);
    legal.then_some(()).ok_or_else(|| "an id is 1 to 64 letters, digits, hyphens and dots".to_owned())
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
        let check = |text: &str| Token::parse_all(text).and_then(|tokens| tokens.iter().try_for_each(check));
        assert!(check("1.2.840,pat-1").is_ok());
        let longest = "a".repeat(64);
        assert!(is_id(&longest) && !is_id(&format!("{longest}a")));
        for bad in ["a b", "a_b", "a*", "é", "Patient/1", "sys|1", ","] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
