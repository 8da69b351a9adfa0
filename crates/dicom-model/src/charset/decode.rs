//! Decodes bytes to text: escape sequences, delimiters, and characters of one or two bytes (PS3.5 6.1.2.5).

use super::{CharacterSets, CodeElement, Delimiters, ESCAPES, Encodings, Repertoire};
use encoding_rs::Encoding;

const ESCAPE: u8 = 0x1B;
const REPLACEMENT: char = '\u{FFFD}';

pub(super) fn decode(sets: &CharacterSets, bytes: &[u8], delimiters: Delimiters) -> String {
    match &sets.encodings {
        Encodings::Single(encoding) => encoding.decode_without_bom_handling(bytes).0.into_owned(),
        Encodings::Extensions { g0, g1, .. } => Decoder {
            initial: (*g0, *g1),
            g0: *g0,
            g1: *g1,
            delimiters,
            text: String::with_capacity(bytes.len()),
        }
        .decode(bytes),
    }
}

struct Decoder {
    initial: (Repertoire, Option<Repertoire>),
    g0: Repertoire,
    g1: Option<Repertoire>,
    delimiters: Delimiters,
    text: String,
}

impl Decoder {
    fn decode(mut self, mut bytes: &[u8]) -> String {
        while let Some(&first) = bytes.first() {
            let consumed = if first == ESCAPE {
                self.apply_escape(&bytes[1..]) + 1
            } else if first < 0x80 {
                self.decode_lower_half(first, bytes)
            } else {
                self.decode_upper_half(first, bytes)
            };
            bytes = bytes.get(consumed..).unwrap_or_default();
        }
        self.text
    }

    /// Applies an escape sequence and returns the number of its bytes after ESC. For an unknown sequence the number is 0: only
    /// ESC is removed, and the bytes after it are read as text.
    fn apply_escape(&mut self, rest: &[u8]) -> usize {
        let Some((sequence, repertoire, code_element)) =
            ESCAPES.iter().find(|(sequence, ..)| rest.starts_with(sequence))
        else {
            return 0;
        };
        match code_element {
            CodeElement::G0 => self.g0 = *repertoire,
            CodeElement::G1 => self.g1 = Some(*repertoire),
        }
        sequence.len()
    }

    /// Decodes the character at the start of `bytes`, whose first byte `first` is below 0x80. Returns the number of its bytes.
    fn decode_lower_half(&mut self, first: u8, bytes: &[u8]) -> usize {
        let has_two_bytes = matches!(self.g0, Repertoire::Kanji | Repertoire::SupplementaryKanji);
        if has_two_bytes && (0x21..=0x7E).contains(&first) {
            let Some(&second) = bytes.get(1).filter(|second| (0x21..=0x7E).contains(*second)) else {
                self.text.push(REPLACEMENT);
                return 1;
            };
            // EUC-JP has the same codes with the high bits set; JIS X 0212 follows a single shift (0x8F).
            let euc = [0x8F, first | 0x80, second | 0x80];
            let euc = if self.g0 == Repertoire::Kanji { &euc[1..] } else { &euc[..] };
            self.push_decoded(encoding_rs::EUC_JP, euc);
            return 2;
        }
        if self.delimiters.resets_character_sets(first) {
            (self.g0, self.g1) = self.initial;
        }
        self.text.push(match (self.g0, first) {
            (Repertoire::Romaji, b'\\') if self.delimiters == Delimiters::Text => '¥',
            (Repertoire::Romaji, b'~') => '‾',
            _ => char::from(first),
        });
        1
    }

    /// Decodes the character at the start of `bytes`, whose first byte `first` is 0x80 or above. Returns the number of its bytes.
    fn decode_upper_half(&mut self, first: u8, bytes: &[u8]) -> usize {
        match self.g1 {
            Some(Repertoire::Latin1) => self.text.push(char::from(first)),
            Some(Repertoire::Single(encoding)) => self.push_decoded(encoding, &[first]),
            Some(Repertoire::Katakana) => self.push_decoded(encoding_rs::SHIFT_JIS, &[first]),
            Some(Repertoire::Korean) => return self.decode_pair(encoding_rs::EUC_KR, bytes),
            Some(Repertoire::Chinese) => return self.decode_pair(encoding_rs::GBK, bytes),
            // No G1 set is declared, but real files contain UTF-8 or Latin-1.
            _ => return self.decode_undeclared(bytes),
        }
        1
    }

    fn decode_pair(&mut self, encoding: &'static Encoding, bytes: &[u8]) -> usize {
        let Some(pair) = bytes.get(..2).filter(|pair| pair[1] >= 0x80) else {
            self.text.push(REPLACEMENT);
            return 1;
        };
        self.push_decoded(encoding, pair);
        2
    }

    fn decode_undeclared(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| *byte < 0x80).unwrap_or(bytes.len());
        match std::str::from_utf8(&bytes[..end]) {
            Ok(text) => self.text.push_str(text),
            Err(_) => self.text.extend(bytes[..end].iter().map(|byte| char::from(*byte))),
        }
        end
    }

    fn push_decoded(&mut self, encoding: &'static Encoding, bytes: &[u8]) {
        match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
            Some(text) => self.text.push_str(&text),
            None => self.text.push(REPLACEMENT),
        }
    }
}
