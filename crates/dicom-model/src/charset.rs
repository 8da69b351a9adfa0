//! Specific Character Set (PS3.5 6.1, PS3.3 C.12.1.1.2): converts text of DICOM files to and from Unicode, including
//! code extensions (ISO 2022 escape sequences).
//!
//! `dicom-encoding` reads only the first value of (0008,0005) and does not support escape sequences, so it decodes Japanese and
//! Korean names wrongly. This module reads the bytes once: escape sequences designate the G0 and G1 sets, and delimiters restore
//! the initial sets (PS3.5 6.1.2.5.3). Decoding never fails: an invalid byte becomes U+FFFD. This module does not know about files
//! or attributes.

mod decode;
mod encode;

use encoding_rs::Encoding;
use std::borrow::Cow;

pub use encode::EncodeError;

/// The delimiters in a value. Each of them restores the initial character sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimiters {
    /// One text with line breaks: ST, LT, UT.
    Text,
    /// Values separated by backslashes: LO, SH, UC.
    Values,
    /// Values separated by backslashes, with `^` and `=` inside: PN.
    Names,
}

impl Delimiters {
    fn resets_character_sets(self, byte: u8) -> bool {
        match byte {
            b'\n' | b'\r' | b'\t' | 0x0C => true,
            b'\\' => self != Self::Text,
            b'^' | b'=' => self == Self::Names,
            _ => false,
        }
    }
}

/// A character repertoire that an escape sequence can designate (PS3.3 tables C.12-2 to C.12-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repertoire {
    Ascii,
    /// JIS X 0201 romaji: ASCII except for the yen sign and the overline.
    Romaji,
    Katakana,
    /// A single-byte encoding, of which the bytes 0x80 to 0xFF are used.
    Single(&'static Encoding),
    /// ISO 8859-1; `encoding_rs` supports only its extension windows-1252.
    Latin1,
    /// JIS X 0208, two bytes in G0.
    Kanji,
    /// JIS X 0212, two bytes in G0.
    SupplementaryKanji,
    /// KS X 1001, two bytes in G1.
    Korean,
    /// GB 2312, two bytes in G1.
    Chinese,
}

/// The character sets that a value of (0008,0005) declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CharacterSets {
    encodings: Encodings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Encodings {
    /// One encoding without escape sequences: `ISO_IR 192`, GB18030, GBK.
    Single(&'static Encoding),
    /// ISO 2022: the sets that are active initially and after each delimiter, and all declared sets.
    Extensions { g0: Repertoire, g1: Option<Repertoire>, declared: Vec<Repertoire> },
}

impl Default for CharacterSets {
    fn default() -> Self {
        Self {
            encodings: Encodings::Extensions {
                g0: Repertoire::Ascii,
                g1: None,
                declared: vec![Repertoire::Ascii],
            },
        }
    }
}

impl CharacterSets {
    /// Reads the defined terms of (0008,0005). Unknown terms mean the default repertoire; common misspellings
    /// (`ISO_IR_100`, `ISO 2022 100`) are accepted.
    pub fn from_terms<'a>(terms: impl IntoIterator<Item = &'a str>) -> Self {
        let terms: Vec<Cow<'_, str>> = terms.into_iter().map(normalize_term).collect();
        for term in &terms {
            match term.as_ref() {
                "192" => return Self { encodings: Encodings::Single(encoding_rs::UTF_8) },
                "GB18030" => return Self { encodings: Encodings::Single(encoding_rs::GB18030) },
                "GBK" | "GB2312" => return Self { encodings: Encodings::Single(encoding_rs::GBK) },
                _ => {}
            }
        }
        let declared: Vec<Repertoire> = terms.iter().map(|term| repertoire(term)).collect();
        let (g0, g1) = match declared.first().copied().unwrap_or(Repertoire::Ascii) {
            Repertoire::Ascii => (Repertoire::Ascii, None),
            Repertoire::Katakana => (Repertoire::Romaji, Some(Repertoire::Katakana)),
            // Two-byte G0 sets must not be the first value (PS3.3 C.12.1.1.2); if one is, text still begins in ASCII.
            Repertoire::Kanji | Repertoire::SupplementaryKanji | Repertoire::Romaji => {
                (Repertoire::Ascii, None)
            }
            other => (Repertoire::Ascii, Some(other)),
        };
        Self { encodings: Encodings::Extensions { g0, g1, declared } }
    }

    /// Decodes `bytes` to text that still contains the delimiters.
    pub fn decode(&self, bytes: &[u8], delimiters: Delimiters) -> String {
        decode::decode(self, bytes, delimiters)
    }

    /// Decodes `bytes` and splits the text at backslashes, except those that are the second byte of a character.
    pub fn decode_values(&self, bytes: &[u8], delimiters: Delimiters) -> Vec<String> {
        // The decoded text does not contain backslashes that are the second byte of a character. In a multi-valued element a
        // yen sign is a delimiter (PS3.5 6.1.2.3 note 1).
        self.decode(bytes, delimiters).split('\\').map(str::to_owned).collect()
    }

    /// Encodes `text` in these character sets.
    pub fn encode(&self, text: &str, delimiters: Delimiters) -> Result<Vec<u8>, EncodeError> {
        encode::encode(self, text, delimiters)
    }
}

/// Returns the number in a defined term, or the whole term if it has none.
fn normalize_term(term: &str) -> Cow<'_, str> {
    let term = term.trim_matches([' ', '\0']);
    for prefix in ["ISO_IR ", "ISO 2022 IR ", "ISO_IR_", "ISO-IR ", "ISO IR ", "ISO 2022 ", "ISO_2022_IR_"] {
        if let Some(number) = term.strip_prefix(prefix) {
            return Cow::Borrowed(number.trim());
        }
    }
    Cow::Borrowed(term)
}

/// Returns the repertoire for a normalized term.
fn repertoire(term: &str) -> Repertoire {
    match term {
        "13" => Repertoire::Katakana,
        "58" => Repertoire::Chinese,
        "87" => Repertoire::Kanji,
        "100" => Repertoire::Latin1,
        "101" => Repertoire::Single(encoding_rs::ISO_8859_2),
        "109" => Repertoire::Single(encoding_rs::ISO_8859_3),
        "110" => Repertoire::Single(encoding_rs::ISO_8859_4),
        "126" => Repertoire::Single(encoding_rs::ISO_8859_7),
        "127" => Repertoire::Single(encoding_rs::ISO_8859_6),
        "138" => Repertoire::Single(encoding_rs::ISO_8859_8),
        "144" => Repertoire::Single(encoding_rs::ISO_8859_5),
        "148" => Repertoire::Single(encoding_rs::WINDOWS_1254),
        "149" => Repertoire::Korean,
        "159" => Repertoire::SupplementaryKanji,
        "166" => Repertoire::Single(encoding_rs::WINDOWS_874),
        "203" => Repertoire::Single(encoding_rs::ISO_8859_15),
        _ => Repertoire::Ascii,
    }
}

/// The escape sequences (PS3.3 tables C.12-3 and C.12-4) without the ESC byte, each with its repertoire and code element.
const ESCAPES: [(&[u8], Repertoire, CodeElement); 19] = [
    (b"(B", Repertoire::Ascii, CodeElement::G0),
    (b"(J", Repertoire::Romaji, CodeElement::G0),
    (b")I", Repertoire::Katakana, CodeElement::G1),
    (b"-A", Repertoire::Latin1, CodeElement::G1),
    (b"-B", Repertoire::Single(encoding_rs::ISO_8859_2), CodeElement::G1),
    (b"-C", Repertoire::Single(encoding_rs::ISO_8859_3), CodeElement::G1),
    (b"-D", Repertoire::Single(encoding_rs::ISO_8859_4), CodeElement::G1),
    (b"-F", Repertoire::Single(encoding_rs::ISO_8859_7), CodeElement::G1),
    (b"-G", Repertoire::Single(encoding_rs::ISO_8859_6), CodeElement::G1),
    (b"-H", Repertoire::Single(encoding_rs::ISO_8859_8), CodeElement::G1),
    (b"-L", Repertoire::Single(encoding_rs::ISO_8859_5), CodeElement::G1),
    (b"-M", Repertoire::Single(encoding_rs::WINDOWS_1254), CodeElement::G1),
    (b"-T", Repertoire::Single(encoding_rs::WINDOWS_874), CodeElement::G1),
    (b"-b", Repertoire::Single(encoding_rs::ISO_8859_15), CodeElement::G1),
    (b"$B", Repertoire::Kanji, CodeElement::G0),
    (b"$@", Repertoire::Kanji, CodeElement::G0),
    (b"$(D", Repertoire::SupplementaryKanji, CodeElement::G0),
    (b"$)C", Repertoire::Korean, CodeElement::G1),
    (b"$)A", Repertoire::Chinese, CodeElement::G1),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodeElement {
    G0,
    G1,
}

#[cfg(test)]
mod tests;
