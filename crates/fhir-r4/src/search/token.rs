//! Tokens (R4 search#token): `code`, `system|code`, `|code`, `system|`.

use super::alternatives::{self, split_unescaped, unescape};
use super::value::{TokenValue, Value};

/// What a token says of the system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum System {
    /// Nothing: any system or none.
    Any,
    /// `|code`: there is none.
    None,
    /// `system|code`.
    Uri(String),
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    /// Before the bar.
    pub system: System,
    /// Behind it; `None` for `system|`, any code of the system.
    pub code: Option<String>,
}

impl Token {
    /// Reads the alternatives of a value.
    pub(super) fn parse_all(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, Self::parse)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = split_unescaped(text, '|').into_iter().map(unescape).collect();
        // FHIR has no value of nothing but blanks, and an archive would read one as a key left open.
        if parts.iter().any(|part| !part.is_empty() && part.trim().is_empty()) {
            return Err("a token has more than blanks".to_owned());
        }
        match parts.as_slice() {
            [code] => Ok(Self { system: System::Any, code: Some(code.clone()) }),
            [system, code] if system.is_empty() && code.is_empty() => {
                Err("a token has a code or a system".to_owned())
            }
            [system, code] if system.is_empty() => {
                Ok(Self { system: System::None, code: Some(code.clone()) })
            }
            [system, code] => {
                let code = (!code.is_empty()).then(|| code.clone());
                Ok(Self { system: System::Uri(system.clone()), code })
            }
            _ => {
                Err("a token is code, system|code, |code or system|; a bar that is part of it is written \\|"
                    .to_owned())
            }
        }
    }

    /// Whether a resource has what the token says.
    pub(super) fn is(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Token(token) => self.matches(token.system, token.code),
            Value::Oid(uid) => {
                let system_fits = match &self.system {
                    System::Any => true,
                    System::None => false,
                    System::Uri(system) => system == "urn:ietf:rfc:3986",
                };
                let is_uid = |code: &str| code.strip_prefix("urn:oid:") == Some(uid);
                system_fits && self.code.as_deref().is_none_or(is_uid)
            }
            _ => false,
        }
    }

    /// Whether a system and a code, exactly as they stand in a resource, are what the token says.
    pub fn matches(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let of_system = match &self.system {
            System::Any => true,
            System::None => system.is_none(),
            System::Uri(uri) => system == Some(uri),
        };
        of_system && self.code.as_deref().map_or(code.is_some(), |wanted| code == Some(wanted))
    }
}

/// An identifier and its type: `system|code|value` (R4 search#token, `:of-type`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypedIdentifier {
    system: String,
    code: String,
    /// The identifier itself.
    pub value: String,
}

impl TypedIdentifier {
    /// Reads the alternatives of a value.
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
                    Err("system|code|value: the type's system and code, and the identifier's value"
                        .to_owned())
                }
            }
        })
    }

    pub(super) fn is(&self, value: &TokenValue<'_>) -> bool {
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
    fn the_four_forms_are_told_apart() {
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
    fn escapes_keep_operators_as_they_are() {
        assert!(token(r"a\|b\,c\\d\e").matches(None, Some(r"a|b,c\d\e")));
        assert!(Token::parse("a|b|c").is_err());
        assert!(Token::parse("|").is_err());
        assert_eq!(Token::parse_all(r"a\,b,c,").unwrap().len(), 2);
        assert_eq!(token(r"a\|b|c").system, System::Uri("a|b".to_owned()));
    }

    #[test]
    fn an_empty_code_means_any_code_of_the_system_and_blanks_mean_nothing() {
        assert_eq!(token("sys|").code, None);
        for bad in [" ", "sys| ", " |", "\u{3000}"] {
            assert!(Token::parse(bad).is_err(), "{bad:?}");
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
