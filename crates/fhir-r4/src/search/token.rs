//! Parses and compares tokens (R4 search#token): `code`, `system|code`, `|code`, `system|`. This module does not know about code
//! systems.

use super::alternatives::{self, split_unescaped, unescape};
use super::value::{TokenValue, Value};

/// The system of a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum System {
    /// `code`: any system or none.
    Any,
    /// `|code`: no system.
    None,
    /// `system|code`.
    Uri(String),
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// The part before `|`.
    pub system: System,
    /// The part after `|`; `None` for `system|`, which matches any code of the system.
    pub code: Option<String>,
}

impl Token {
    /// Parses the alternatives of a value.
    pub(super) fn parse_all(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = split_unescaped(text, '|').into_iter().map(unescape).collect();
        // No FHIR value consists of whitespace only, and an archive would interpret such a value as universal matching.
        if parts.iter().any(|part| !part.is_empty() && part.trim().is_empty()) {
            return Err("expected a token that is not blank".to_owned());
        }
        match parts.as_slice() {
            [code] => Ok(Self { system: System::Any, code: Some(code.clone()) }),
            [system, code] if system.is_empty() && code.is_empty() => {
                Err("expected a token with a code or a system".to_owned())
            }
            [system, code] if system.is_empty() => {
                Ok(Self { system: System::None, code: Some(code.clone()) })
            }
            [system, code] => {
                let code = (!code.is_empty()).then(|| code.clone());
                Ok(Self { system: System::Uri(system.clone()), code })
            }
            _ => {
                Err("expected code, system|code, |code or system|; escape a bar in the value as \\|"
                    .to_owned())
            }
        }
    }

    /// Returns the codes, if each token has one.
    pub fn codes(tokens: &[Self]) -> Option<Vec<&str>> {
        tokens.iter().map(|token| token.code.as_deref()).collect()
    }

    /// Whether the token matches `value`.
    pub(super) fn matches_value(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Token(token) => self.matches(token.system, token.code),
            Value::Oid(uid) => {
                let is_in_system = match &self.system {
                    System::Any => true,
                    System::None => false,
                    System::Uri(system) => system == "urn:ietf:rfc:3986",
                };
                let is_uid = |code: &str| code.strip_prefix("urn:oid:") == Some(uid);
                is_in_system && self.code.as_deref().is_none_or(is_uid)
            }
            _ => false,
        }
    }

    /// Whether the token matches a system and a code of a resource exactly.
    pub fn matches(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let is_in_system = match &self.system {
            System::Any => true,
            System::None => system.is_none(),
            System::Uri(uri) => system == Some(uri),
        };
        is_in_system && self.code.as_deref().map_or(code.is_some(), |expected| code == Some(expected))
    }
}

/// An identifier and its type: `system|code|value` (R4 search#token, `:of-type`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypedIdentifier {
    system: String,
    code: String,
    /// The value of the identifier.
    pub value: String,
}

impl TypedIdentifier {
    /// Parses the alternatives of a value.
    pub(super) fn parse_all(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| {
            let parts: Vec<_> = split_unescaped(text, '|').into_iter().map(unescape).collect();
            match <[String; 3]>::try_from(parts) {
                Ok([system, code, value])
                    if [&system, &code, &value].iter().all(|part| !part.trim().is_empty()) =>
                {
                    Ok(Self { system, code, value })
                }
                _ => {
                    Err("expected system|code|value: system and code of the type, and the value of the identifier"
                        .to_owned())
                }
            }
        })
    }

    /// Whether `value` is this identifier and has this type.
    pub(super) fn matches(&self, value: &TokenValue<'_>) -> bool {
        let is_type = |coding: &crate::types::Coding| {
            coding.system.as_deref() == Some(&self.system) && coding.code.as_deref() == Some(&self.code)
        };
        value.code == Some(&self.value) && value.kind.is_some_and(|kind| kind.coding.iter().any(is_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(text).unwrap()
    }

    #[test]
    fn four_forms_of_tokens_are_distinguished() {
        assert!(token("CT").matches(Some("sys"), Some("CT")));
        assert!(token("CT").matches(None, Some("CT")));
        assert!(token("sys|CT").matches(Some("sys"), Some("CT")));
        assert!(!token("sys|CT").matches(None, Some("CT")));
        assert!(token("|CT").matches(None, Some("CT")));
        assert!(!token("|CT").matches(Some("sys"), Some("CT")));
        assert!(token("sys|").matches(Some("sys"), Some("anything")));
        assert!(!token("sys|").matches(Some("sys"), None));
        assert!(!token("CT").matches(Some("sys"), Some("ct")));
    }

    #[test]
    fn escaped_operators_are_literal() {
        assert!(token(r"a\|b\,c\\d\e").matches(None, Some(r"a|b,c\d\e")));
        assert!(Token::parse("a|b|c").is_err());
        assert!(Token::parse("|").is_err());
        assert_eq!(Token::parse_all(r"a\,b,c,").unwrap().len(), 2);
        assert_eq!(token(r"a\|b|c").system, System::Uri("a|b".to_owned()));
    }

    #[test]
    fn empty_code_means_any_code_of_the_system_and_whitespace_is_rejected() {
        assert_eq!(token("sys|").code, None);
        for invalid in [" ", "sys| ", " |", "\u{3000}"] {
            assert!(Token::parse(invalid).is_err(), "{invalid:?}");
        }
        assert!(token("a b").matches(None, Some("a b")));
    }

    #[test]
    fn prefixes_and_wildcards_are_part_of_the_code() {
        assert!(token("eqavailable").matches(None, Some("eqavailable")));
        assert!(!token("eqavailable").matches(None, Some("available")));
        assert!(token("AB*1?").matches(None, Some("AB*1?")));
        assert!(!token("AB*").matches(None, Some("ABC")));
    }
}
