//! Splits values into alternatives and removes escapes (R4 search#escaping): a comma separates alternatives, unless a backslash
//! precedes it. This module does not know about types of parameters.

/// Maximum number of alternatives in one value that are not UIDs; clients send fewer.
pub const MAX_ALTERNATIVES: usize = 100;

/// Maximum number of alternatives in one value that are UIDs. An archive is asked for many of them at once.
pub const MAX_UID_ALTERNATIVES: usize = 500;

/// Maximum length of one alternative in bytes, which may be sent to an archive.
const MAX_ALTERNATIVE_LEN: usize = 4096;

/// Returns the alternatives of a value, with their escapes; at least one.
pub(super) fn split(value: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<_> = split_unescaped(value, ',').into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("expected a value, not only commas".to_owned());
    }
    if parts.iter().any(|part| part.len() > MAX_ALTERNATIVE_LEN) {
        return Err(format!("expected alternatives of at most {MAX_ALTERNATIVE_LEN} bytes"));
    }
    let uid_count = parts.iter().filter(|part| is_uid(part)).count();
    if uid_count > MAX_UID_ALTERNATIVES || parts.len() - uid_count > MAX_ALTERNATIVES {
        return Err(format!(
            "expected at most {MAX_ALTERNATIVES} alternatives, or {MAX_UID_ALTERNATIVES} alternatives that are UIDs"
        ));
    }
    Ok(parts)
}

/// Whether an alternative is a UID, perhaps after a system and the prefix of an identifier that is a UID.
fn is_uid(alternative: &str) -> bool {
    let code = alternative.rsplit_once('|').map_or(alternative, |(_, code)| code);
    let uid = code.strip_prefix("urn:oid:").unwrap_or(code);
    uid.contains('.') && uid.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Parses each alternative of a value.
pub(super) fn parse_each<T>(
    value: &str,
    parse: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    split(value)?.into_iter().map(parse).collect()
}

/// Splits `text` at every `separator` that is not escaped.
pub(super) fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_escaped) = (0, false);
    for (index, character) in text.char_indices() {
        if !is_escaped && character == separator {
            parts.push(text.get(start..index).unwrap_or_default());
            start = index + character.len_utf8();
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Replaces `\,`, `\|`, `\$` and `\\` by the character after the backslash; other backslashes are literal.
pub(super) fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(&next) if character == '\\' && matches!(next, ',' | '|' | '$' | '\\') => {
                unescaped.push(next);
                characters.next();
            }
            _ => unescaped.push(character),
        }
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commas_separate_alternatives_unless_they_are_escaped() {
        assert_eq!(split("a,b").unwrap(), ["a", "b"]);
        assert_eq!(split(r"a\,b,c").unwrap(), [r"a\,b", "c"]);
        // An escaped backslash does not escape the comma.
        assert_eq!(split(r"a\\,b").unwrap(), [r"a\\", "b"]);
        assert_eq!(split("a,,b,").unwrap(), ["a", "b"]);
    }

    #[test]
    fn empty_or_too_long_list_is_rejected() {
        assert!(split(",").is_err());
        assert!(split(&"a,".repeat(MAX_ALTERNATIVES)).is_ok());
        assert!(split(&"a,".repeat(MAX_ALTERNATIVES + 1)).is_err());
        for uid in ["1.2.3,", "urn:oid:1.2.3,", "urn:dicom:uid|urn:oid:1.2.3,"] {
            assert!(split(&uid.repeat(MAX_UID_ALTERNATIVES)).is_ok());
            assert!(split(&uid.repeat(MAX_UID_ALTERNATIVES + 1)).is_err());
        }
    }

    #[test]
    fn only_the_four_operators_are_unescaped() {
        assert_eq!(unescape(r"\,\|\$\\\n\"), r",|$\\n\");
    }

    proptest! {
        #[test]
        fn escaped_text_is_one_alternative_and_is_unescaped_to_the_same_text(text in "[a,|$\\\\é]{1,12}") {
            let escaped: String = text
                .chars()
                .flat_map(|character| {
                    matches!(character, ',' | '|' | '$' | '\\').then_some('\\').into_iter().chain([character])
                })
                .collect();
            prop_assert_eq!(split(&escaped).unwrap().len(), 1);
            prop_assert_eq!(split_unescaped(&escaped, '|').len(), 1);
            prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
