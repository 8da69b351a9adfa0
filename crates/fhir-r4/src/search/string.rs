//! Compares strings (R4 search#string): with the beginning of a value, ignoring case and accents; with a whole value (`:exact`); with
//! any part of a value (`:contains`); and, for names, phonetically. This module does not know about name components.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::alternatives::{self, unescape};

/// One search string and its comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// The string is the beginning of a value, or of a word in it; normalized.
    StartsWith(String),
    /// The string is the whole value (`:exact`); unchanged.
    Exact(String),
    /// A value contains the string (`:contains`); normalized.
    Contains(String),
    /// A value contains a word with this Soundex code.
    Phonetic(String),
}

impl StringMatch {
    /// Parses the alternatives of a value without a modifier.
    pub(super) fn starting_with(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| normalize_search_string(text).map(Self::StartsWith))
    }

    /// Parses the alternatives of a value with `:exact`.
    pub(super) fn exact(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| Ok(Self::Exact(unescape(text))))
    }

    /// Parses the alternatives of a value with `:contains`.
    pub(super) fn containing(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| normalize_search_string(text).map(Self::Contains))
    }

    /// Parses the alternatives of a value that is compared phonetically.
    pub(super) fn phonetic(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| {
            soundex(&normalize_search_string(text)?)
                .map(Self::Phonetic)
                .ok_or_else(|| "expected a word in Latin letters".to_owned())
        })
    }

    /// Whether `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::StartsWith(expected) => normalize(value).starts_with(expected),
            Self::Exact(expected) => value == expected,
            Self::Contains(expected) => contains(&normalize(value), expected),
            Self::Phonetic(expected) => {
                normalize(value).split(' ').any(|word| soundex(word).as_ref() == Some(expected))
            }
        }
    }

    /// Whether `value` matches as a whole or from the beginning of any of its words: the parts of a family name are
    /// found separately (R4 datatypes#HumanName).
    pub fn matches_any_word(&self, value: &str) -> bool {
        let Self::StartsWith(expected) = self else { return self.matches(value) };
        let normalized = normalize(value);
        normalized.starts_with(expected)
            || normalized.match_indices(' ').any(|(separator, _)| {
                normalized.get(separator + 1..).is_some_and(|word| word.starts_with(expected))
            })
    }
}

/// Whether `normalized` contains `expected`, which is normalized too. A search string that begins with a combining mark, for
/// example a voiced sound mark of half-width katakana, can match inside a composed character, so it is compared with the
/// decomposed text.
fn contains(normalized: &str, expected: &str) -> bool {
    let decompose = |text: &str| text.nfd().collect::<String>();
    normalized.contains(expected)
        || expected.starts_with(is_combining_mark) && decompose(normalized).contains(&decompose(expected))
}

/// Normalizes a search string. Rejects a string without letters and digits, which would match the beginning of every value.
fn normalize_search_string(text: &str) -> Result<String, String> {
    let normalized = normalize(&unescape(text));
    if normalized.is_empty() {
        Err("expected at least one letter or digit".to_owned())
    } else {
        Ok(normalized)
    }
}

/// Returns the American Soundex code (US National Archives, General Information Leaflet 55) of the first word; `None` if the word
/// contains a character other than the letters a to z.
fn soundex(text: &str) -> Option<String> {
    let digit = |letter: u8| match letter {
        b'b' | b'f' | b'p' | b'v' => Some(b'1'),
        b'c' | b'g' | b'j' | b'k' | b'q' | b's' | b'x' | b'z' => Some(b'2'),
        b'd' | b't' => Some(b'3'),
        b'l' => Some(b'4'),
        b'm' | b'n' => Some(b'5'),
        b'r' => Some(b'6'),
        _ => None,
    };
    let word = text.split(' ').next()?.as_bytes();
    let (&first, rest) = word.split_first().filter(|_| word.iter().all(u8::is_ascii_lowercase))?;
    let mut code = String::from(char::from(first.to_ascii_uppercase()));
    let mut previous_digit = digit(first);
    for &letter in rest {
        let next_digit = digit(letter);
        // Adjacent letters with the same digit are coded once, also if an h or w separates them, but not if a vowel separates
        // them.
        if let Some(digit) = next_digit.filter(|_| next_digit != previous_digit) {
            code.push(char::from(digit));
        }
        if !matches!(letter, b'h' | b'w') {
            previous_digit = next_digit;
        }
    }
    Some(code.chars().chain("000".chars()).take(4).collect())
}

/// Normalizes `text`: lower case, without accents, in compatibility form (NFKD, then NFC), with one space for every run of
/// whitespace and punctuation.
pub fn normalize(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let lower = text.nfkd().filter(|character| !is_accent(*character)).flat_map(char::to_lowercase);
    for character in lower {
        match character {
            // The two letters whose lower case differs from their case folding (Unicode CaseFolding).
            'ς' => folded.push('σ'),
            'ß' => folded.push_str("ss"),
            _ => folded.push(character),
        }
    }
    let mut normalized = String::with_capacity(folded.len());
    // Only in the decomposed form is a Hangul syllable a prefix of other syllables.
    for character in folded.nfc() {
        if character.is_alphanumeric() || is_combining_mark(character) {
            normalized.push(character);
        } else if !normalized.ends_with(' ') && !normalized.is_empty() {
            normalized.push(' ');
        }
    }
    normalized.truncate(normalized.trim_end().len());
    normalized
}

/// Whether a character is an accent of Latin, Greek or Cyrillic, or a point of Hebrew or Arabic, which writers may omit.
/// Combining marks of other scripts form different letters and are preserved.
fn is_accent(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_that_begins_with_a_voiced_sound_mark_is_found_in_half_width_katakana() {
        let value = "\u{ff94}\u{ff8f}\u{ff80}\u{ff9e}\u{ff9b}\u{ff73}";
        for expected in ["\u{ff9e}\u{ff9b}\u{ff73}", "\u{ff9b}\u{ff73}", "\u{ff80}\u{ff9e}"] {
            let contained = StringMatch::containing(expected).unwrap();
            assert!(contained[0].matches(value), "{expected}");
        }
        let absent = StringMatch::containing("\u{ff9f}\u{ff9b}").unwrap();
        assert!(!absent[0].matches(value));
    }

    fn string(text: &str) -> StringMatch {
        StringMatch::starting_with(text).unwrap().pop().unwrap()
    }

    #[test]
    fn case_accents_and_punctuation_are_ignored() {
        for (search, value) in [
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
            assert!(string(search).matches(value), "{search} {value}");
        }
    }

    #[test]
    fn different_letters_do_not_match() {
        for (search, value) in
            [("ller", "Müller"), ("기", "김"), ("カ", "ガラス"), ("रम", "राम"), ("doe j", "Doe")]
        {
            assert!(!string(search).matches(value), "{search} {value}");
        }
    }

    #[test]
    fn each_word_of_a_family_name_can_be_found() {
        let is_match = |search| string(search).matches_any_word("García-Márquez y Ruiz");
        assert!(is_match("gar") && is_match("marq") && is_match("Ruiz") && is_match("marquez y"));
        assert!(!is_match("arq") && !is_match("garcia ruiz"));
    }

    #[test]
    fn prefixes_and_wildcards_are_literal() {
        assert!(string("eq").matches("Equine"));
        assert!(!string("d*e").matches("Doe"));
        assert!(StringMatch::starting_with("*").is_err());
        assert!(StringMatch::starting_with(" ").is_err());
    }

    #[test]
    fn exact_matches_the_whole_value_and_contains_any_part() {
        let exact = |search: &str, value| StringMatch::exact(search).unwrap()[0].matches(value);
        assert!(exact("Müller", "Müller") && !exact("müller", "Müller") && !exact("Muller", "Müller"));
        assert!(exact(r"a\,b", "a,b") && !exact("Mül", "Müller"));
        let contains = |search: &str, value| StringMatch::containing(search).unwrap()[0].matches(value);
        assert!(
            contains("ULL", "Müller") && contains("marquez", "García-Márquez") && !contains("x", "Müller")
        );
    }

    #[test]
    fn names_are_found_phonetically() {
        for (word, code) in [
            ("robert", "R163"),
            ("rupert", "R163"),
            ("rubin", "R150"),
            ("ashcraft", "A261"),
            ("tymczak", "T522"),
            ("pfister", "P236"),
            ("honeyman", "H555"),
            ("lee", "L000"),
        ] {
            assert_eq!(soundex(word).as_deref(), Some(code), "{word}");
        }
        let sounds_like = |search: &str, value| StringMatch::phonetic(search).unwrap()[0].matches(value);
        assert!(
            sounds_like("Meier", "Mayer")
                && sounds_like("Smyth", "van Smith")
                && !sounds_like("Smith", "Jones")
        );
        assert!(StringMatch::phonetic("山田").is_err());
    }

    proptest! {
        #[test]
        fn normalization_is_idempotent(text in "\\PC{0,24}") {
            let once = normalize(&text);
            prop_assert_eq!(normalize(&once), once.clone());
        }

        #[test]
        fn value_matches_itself(text in "[\\p{L}][\\p{L} '-]{0,12}") {
            // The isolated form of an Arabic point is a letter in Unicode, but normalizes to an empty text, which is rejected.
            prop_assume!(!normalize(&text).is_empty());
            prop_assert!(string(&text).matches(&text));
            let second = format!("x {text}");
            prop_assert!(string(&text).matches_any_word(&second));
        }
    }
}
