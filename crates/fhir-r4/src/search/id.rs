//! Validates ids (R4 datatypes#id) as values of `_id` (R4 search#id): exact, case-sensitive, without a system. This module does not
//! know which resources exist.

use super::ParseContext;
use super::token::{System, Token};
use crate::id::is_id;

/// Rejects a token that is not an id without a system.
pub(super) fn validate(token: &Token, _: &ParseContext<'_>) -> Result<Option<&'static str>, String> {
    let is_valid = matches!(token.system, System::Any) && token.code.as_deref().is_some_and(is_id);
    is_valid
        .then_some(None)
        .ok_or_else(|| "expected an id of 1 to 64 letters, digits, hyphens and dots".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Handling;

    #[test]
    fn only_ids_that_r4_allows_are_accepted() {
        let context = ParseContext {
            base: "http://h/fhir",
            handling: Handling::Strict,
            default_count: 0,
            max_count: 0,
            is_uid: |_| false,
            is_other_uid: |_| false,
        };
        let check_all =
            |tokens: Vec<Token>| tokens.iter().try_for_each(|token| validate(token, &context).map(drop));
        let check = |text: &str| Token::parse_all(text).and_then(check_all);
        assert!(check("1.2.840,pat-1").is_ok());
        for invalid in ["a b", "a_b", "a*", "é", "Patient/1", "sys|1", ","] {
            assert!(check(invalid).is_err(), "{invalid}");
        }
    }
}
