//! Strings (R4 search#string): the beginning of a value, whatever the case and the accents.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::{alternatives, unescape};

/// One string to be found at the beginning of a value, or of a word of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StringMatch(String);

impl StringMatch {
    /// Reads the alternatives of a value.
    pub(super) fn parse_all(value: &str) -> Result<Vec<Self>, String> {
        let all: Vec<_> =
            alternatives(value)?.into_iter().map(|text| Self(normalise(&unescape(text)))).collect();
        if all.iter().any(|Self(text)| text.is_empty()) {
            return Err("a string holds at least one letter or digit".to_owned());
        }
        Ok(all)
    }

    /// Whether `value` begins with the string.
    pub fn matches(&self, value: &str) -> bool {
        normalise(value).starts_with(&self.0)
    }
}

/// `text` in lower case, without accents, with every run of blanks and punctuation as one blank.
pub fn normalise(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in
        text.nfd().filter(|character| !is_combining_mark(*character)).flat_map(char::to_lowercase)
    {
        if character.is_alphanumeric() {
            plain.push(character);
        } else if !plain.ends_with(' ') && !plain.is_empty() {
            plain.push(' ');
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_punctuation_make_no_difference() {
        let found = |string: &str, value: &str| StringMatch::parse_all(string).unwrap()[0].matches(value);
        assert!(found("mull", "Müller"));
        assert!(found("MÜLL", "muller"));
        assert!(found("o'neil", "O Neil"));
        assert!(found("иван", "Иванов"));
        assert!(found("山", "山田"));
        assert!(!found("ller", "Müller"));
        assert!(StringMatch::parse_all("*").is_err());
    }
}
