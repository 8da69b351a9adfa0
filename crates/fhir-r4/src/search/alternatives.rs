//! Lists of alternatives and the escapes in them (R4 search#escaping): a comma parts alternatives, unless a backslash
//! stands before it.

/// More alternatives than any client sends in one value.
const MAX_ALTERNATIVES: usize = 100;

/// The alternatives of a value, still with their escapes; at least one.
pub(super) fn split(value: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<_> = split_unescaped(value, ',').into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return Err("something other than commas".to_owned());
    }
    if parts.len() > MAX_ALTERNATIVES {
        return Err(format!("at most {MAX_ALTERNATIVES} alternatives can be given"));
    }
    Ok(parts)
}

/// Reads each alternative of a value.
pub(super) fn parse_each<T>(
    value: &str,
    parse: impl FnMut(&str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    split(value)?.into_iter().map(parse).collect()
}

/// Parts `text` at every `separator` that is not escaped.
pub(super) fn split_unescaped(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, character) in text.char_indices() {
        if !escaped && character == separator {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + character.len_utf8();
        }
        escaped = character == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// Takes the escapes off `\,`, `\|`, `\$` and `\\`; any other backslash stands for itself.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(&next) if character == '\\' && matches!(next, ',' | '|' | '$' | '\\') => {
                plain.push(next);
                characters.next();
            }
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commas_part_alternatives_unless_they_are_escaped() {
        assert_eq!(split("a,b").unwrap(), ["a", "b"]);
        assert_eq!(split(r"a\,b,c").unwrap(), [r"a\,b", "c"]);
        // An escaped backslash escapes nothing.
        assert_eq!(split(r"a\\,b").unwrap(), [r"a\\", "b"]);
        assert_eq!(split("a,,b,").unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_list_of_nothing_is_no_list() {
        assert!(split(",").is_err());
        assert!(split(&"a,".repeat(MAX_ALTERNATIVES)).is_ok());
        assert!(split(&"a,".repeat(MAX_ALTERNATIVES + 1)).is_err());
    }

    #[test]
    fn only_the_four_operators_are_unescaped() {
        assert_eq!(unescape(r"\,\|\$\\\n\"), r",|$\\n\");
    }

    proptest! {
        #[test]
        fn an_escaped_text_is_one_alternative_and_comes_back_as_it_was(text in "[a,|$\\\\é]{1,12}") {
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
