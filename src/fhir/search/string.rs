//! Strings (R4 search#string): the beginning of a value, whatever the case and the accents.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::alternatives::{self, unescape};

/// One string to be found at the beginning of a value, or of a word of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StringMatch(String);

impl StringMatch {
    /// Reads the alternatives of a value.
    pub(super) fn parse_all(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| {
            let plain = normalise(&unescape(text));
            // What is nothing but punctuation would stand at the beginning of everything.
            if plain.is_empty() { Err("at least one letter or digit".to_owned()) } else { Ok(Self(plain)) }
        })
    }

    /// Whether `value` begins with the string.
    pub fn matches(&self, value: &str) -> bool {
        normalise(value).starts_with(&self.0)
    }

    /// Whether `value`, or any word of it, begins with the string: the parts of a family name are found independently of
    /// each other (R4 datatypes#HumanName).
    pub fn matches_a_word(&self, value: &str) -> bool {
        let plain = normalise(value);
        plain.starts_with(&self.0)
            || plain.match_indices(' ').any(|(blank, _)| {
                plain.get(blank + 1..).is_some_and(|from_word| from_word.starts_with(&self.0))
            })
    }
}

/// `text` in lower case, without accents, in full width, with every run of blanks and punctuation as one blank.
pub fn normalise(text: &str) -> String {
    let mut letters = String::with_capacity(text.len());
    let lower = text.nfkd().filter(|character| !is_accent(*character)).flat_map(char::to_lowercase);
    for character in lower {
        match character {
            // The two letters that lower case alone leaves different from what they are folded to (Unicode CaseFolding).
            'ς' => letters.push('σ'),
            'ß' => letters.push_str("ss"),
            _ => letters.push(character),
        }
    }
    let mut plain = String::with_capacity(letters.len());
    // Composed, so that a syllable of Hangul is not the beginning of another.
    for character in letters.nfc() {
        if character.is_alphanumeric() || is_combining_mark(character) {
            plain.push(character);
        } else if !plain.ends_with(' ') && !plain.is_empty() {
            plain.push(' ');
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// The accents of Latin, Greek and Cyrillic and the points of Hebrew and Arabic, which are left out in writing as one likes.
/// The signs of other scripts make other letters and stay.
fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> StringMatch {
        StringMatch::parse_all(text).unwrap().pop().unwrap()
    }

    #[test]
    fn case_accents_and_punctuation_make_no_difference() {
        for (searched, value) in [
            ("mull", "Müller"),
            ("MÜLL", "muller"),
            ("o'neil", "O Neil"),
            ("strasse", "Straße"),
            ("STRAẞE", "strasse"),
            ("иван", "Иванов"),
            ("ΠΑΠΑΔΟΠΟΥΛΟΣ", "Παπαδόπουλος"),
            ("ISTANBUL", "İstanbul"),
            ("山", "山田"),
            ("ヤマダ", "ﾔﾏﾀﾞ"),
            ("김", "김희중"),
        ] {
            assert!(string(searched).matches(value), "{searched} {value}");
        }
    }

    #[test]
    fn other_letters_are_other_letters() {
        for (searched, value) in
            [("ller", "Müller"), ("기", "김"), ("カ", "ガラス"), ("रम", "राम"), ("doe j", "Doe")]
        {
            assert!(!string(searched).matches(value), "{searched} {value}");
        }
    }

    #[test]
    fn each_word_of_a_family_name_can_be_found() {
        let found = |searched| string(searched).matches_a_word("García-Márquez y Ruiz");
        assert!(found("gar") && found("marq") && found("Ruiz") && found("marquez y"));
        assert!(!found("arq") && !found("garcia ruiz"));
    }

    #[test]
    fn a_prefix_or_a_wildcard_is_no_operator() {
        assert!(string("eq").matches("Equine"));
        assert!(!string("d*e").matches("Doe"));
        assert!(StringMatch::parse_all("*").is_err());
        assert!(StringMatch::parse_all(" ").is_err());
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,24}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
        }

        #[test]
        fn a_value_is_found_by_itself(text in "[\\p{L}][\\p{L} '-]{0,12}") {
            prop_assert!(string(&text).matches(&text));
            let second = format!("x {text}");
            prop_assert!(string(&text).matches_a_word(&second));
        }
    }
}
