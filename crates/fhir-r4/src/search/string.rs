//! Strings (R4 search#string): by the beginning of a value, whatever the case and the accents; `:exact`; `:contains`; and, for
//! names, by their sound.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::alternatives::{self, unescape};

/// One string, and how it is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StringMatch {
    /// At the beginning of a value, or of a word of it; normalised.
    Beginning(String),
    /// The whole value, to the letter (`:exact`).
    Exact(String),
    /// Anywhere in a value (`:contains`); normalised.
    Containing(String),
    /// A word that sounds alike, by its Soundex code.
    Sounding(String),
}

impl StringMatch {
    /// Reads the alternatives of a value without a modifier.
    pub(super) fn beginnings(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| letters(text).map(Self::Beginning))
    }

    /// Reads the alternatives of a value under `:exact`.
    pub(super) fn exact(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| Ok(Self::Exact(unescape(text))))
    }

    /// Reads the alternatives of a value under `:contains`.
    pub(super) fn containing(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| letters(text).map(Self::Containing))
    }

    /// Reads the alternatives of a value that is compared by its sound.
    pub(super) fn sounding(value: &str) -> Result<Vec<Self>, String> {
        alternatives::parse_each(value, |text| {
            soundex(&letters(text)?).map(Self::Sounding).ok_or_else(|| "a word in Latin letters".to_owned())
        })
    }

    /// Whether `value` is what is looked for.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Beginning(wanted) => normalise(value).starts_with(wanted),
            Self::Exact(wanted) => value == wanted,
            Self::Containing(wanted) => contains(&normalise(value), wanted),
            Self::Sounding(wanted) => {
                normalise(value).split(' ').any(|word| soundex(word).as_ref() == Some(wanted))
            }
        }
    }

    /// Whether `value` is what is looked for, or begins so at any of its words: the parts of a family name are found
    /// independently of each other (R4 datatypes#HumanName).
    pub fn matches_a_word(&self, value: &str) -> bool {
        let Self::Beginning(wanted) = self else { return self.matches(value) };
        let plain = normalise(value);
        plain.starts_with(wanted)
            || plain
                .match_indices(' ')
                .any(|(blank, _)| plain.get(blank + 1..).is_some_and(|word| word.starts_with(wanted)))
    }
}

/// Whether `wanted` is anywhere in `plain`, both normalized. A text that begins with a mark, as one cut out of half-width katakana can, is
/// a part of a composed letter, and is found when that is decomposed.
fn contains(plain: &str, wanted: &str) -> bool {
    let decomposed = |text: &str| text.nfd().collect::<String>();
    plain.contains(wanted)
        || wanted.starts_with(is_combining_mark) && decomposed(plain).contains(&decomposed(wanted))
}

/// What is nothing but punctuation would stand at the beginning of everything.
fn letters(text: &str) -> Result<String, String> {
    let plain = normalise(&unescape(text));
    if plain.is_empty() { Err("at least one letter or digit".to_owned()) } else { Ok(plain) }
}

/// American Soundex (US National Archives, General Information Leaflet 55) of the first word; `None` for what is no Latin word.
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
    let mut last = digit(first);
    for &letter in rest {
        let next = digit(letter);
        // Letters of one digit count once, also with an h or w between them; a vowel parts them.
        if let Some(digit) = next.filter(|_| next != last) {
            code.push(char::from(digit));
        }
        if !matches!(letter, b'h' | b'w') {
            last = next;
        }
    }
    Some(code.chars().chain("000".chars()).take(4).collect())
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

    #[test]
    fn a_text_that_begins_with_a_voiced_mark_is_found_within_half_width_katakana() {
        let value = "\u{ff94}\u{ff8f}\u{ff80}\u{ff9e}\u{ff9b}\u{ff73}";
        for wanted in ["\u{ff9e}\u{ff9b}\u{ff73}", "\u{ff9b}\u{ff73}", "\u{ff80}\u{ff9e}"] {
            let contained = StringMatch::containing(wanted).unwrap();
            assert!(contained[0].matches(value), "{wanted}");
        }
        let absent = StringMatch::containing("\u{ff9f}\u{ff9b}").unwrap();
        assert!(!absent[0].matches(value));
    }

    fn string(text: &str) -> StringMatch {
        StringMatch::beginnings(text).unwrap().pop().unwrap()
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
        assert!(StringMatch::beginnings("*").is_err());
        assert!(StringMatch::beginnings(" ").is_err());
    }

    #[test]
    fn modifiers_look_for_the_whole_or_for_any_part() {
        let exact = |searched: &str, value| StringMatch::exact(searched).unwrap()[0].matches(value);
        assert!(exact("Müller", "Müller") && !exact("müller", "Müller") && !exact("Muller", "Müller"));
        assert!(exact(r"a\,b", "a,b") && !exact("Mül", "Müller"));
        let contains = |searched: &str, value| StringMatch::containing(searched).unwrap()[0].matches(value);
        assert!(
            contains("ULL", "Müller") && contains("marquez", "García-Márquez") && !contains("x", "Müller")
        );
    }

    #[test]
    fn names_are_found_by_their_sound() {
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
        let sounds = |searched: &str, value| StringMatch::sounding(searched).unwrap()[0].matches(value);
        assert!(sounds("Meier", "Mayer") && sounds("Smyth", "van Smith") && !sounds("Smith", "Jones"));
        assert!(StringMatch::sounding("山田").is_err());
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,24}") {
            let once = normalise(&text);
            prop_assert_eq!(normalise(&once), once.clone());
        }

        #[test]
        fn a_value_is_found_by_itself(text in "[\\p{L}][\\p{L} '-]{0,12}") {
            // An Arabic point in its isolated form is a letter to Unicode, and nothing but an accent: it is rejected.
            prop_assume!(!normalise(&text).is_empty());
            prop_assert!(string(&text).matches(&text));
            let second = format!("x {text}");
            prop_assert!(string(&text).matches_a_word(&second));
        }
    }
}
