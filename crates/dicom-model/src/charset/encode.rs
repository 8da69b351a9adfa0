//! Encodes text to bytes, for the sample files: tries the declared sets in their order, writes an escape sequence if a set is
//! not active, and restores the initial sets before every delimiter (PS3.5 6.1.2.5.3).

use super::{CharacterSets, CodeElement, Delimiters, ESCAPES, Encodings, Repertoire};
use encoding_rs::Encoding;

/// Error: the text contains a character, given as its code point, that no declared character set contains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no declared character set contains U+{0:04X}; declare one that does in SpecificCharacterSet")]
pub struct EncodeError(pub u32);

pub(super) fn encode(
    sets: &CharacterSets,
    text: &str,
    delimiters: Delimiters,
) -> Result<Vec<u8>, EncodeError> {
    match &sets.encodings {
        Encodings::Single(encoding) => encode_without_escapes(encoding, text),
        Encodings::Extensions { g0, g1, declared } => {
            encode_with_escapes((*g0, *g1), declared, text, delimiters)
        }
    }
}

fn encode_without_escapes(encoding: &'static Encoding, text: &str) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        bytes.extend(encode_character(encoding, character).ok_or(EncodeError(character.into()))?);
    }
    Ok(bytes)
}

fn encode_with_escapes(
    initial: (Repertoire, Option<Repertoire>),
    declared: &[Repertoire],
    text: &str,
    delimiters: Delimiters,
) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut g0, mut g1) = initial;
    for character in text.chars() {
        let is_delimiter = u8::try_from(character).is_ok_and(|byte| delimiters.resets_character_sets(byte));
        if character.is_ascii() {
            if g0 != initial.0 {
                bytes.extend(escape_sequence(initial.0));
                g0 = initial.0;
            }
            bytes.push(character as u8);
            if is_delimiter {
                g1 = initial.1;
            }
            continue;
        }
        let (repertoire, encoded) = initial
            .1
            .iter()
            .chain(declared)
            .find_map(|repertoire| Some((*repertoire, encode_in_repertoire(*repertoire, character)?)))
            .ok_or(EncodeError(character.into()))?;
        match code_element(repertoire) {
            CodeElement::G0 if g0 != repertoire => {
                bytes.extend(escape_sequence(repertoire));
                g0 = repertoire;
            }
            CodeElement::G1 if g1 != Some(repertoire) => {
                bytes.extend(escape_sequence(repertoire));
                g1 = Some(repertoire);
            }
            _ => {}
        }
        bytes.extend(encoded);
    }
    if g0 != initial.0 {
        bytes.extend(escape_sequence(initial.0));
    }
    Ok(bytes)
}

/// Encodes a character above ASCII in one repertoire; `None` if the repertoire does not contain it.
fn encode_in_repertoire(repertoire: Repertoire, character: char) -> Option<Vec<u8>> {
    let if_two_bytes = |bytes: Vec<u8>| (bytes.len() == 2).then_some(bytes);
    match repertoire {
        Repertoire::Latin1 => {
            u8::try_from(character).ok().filter(|byte| *byte >= 0xA0).map(|byte| vec![byte])
        }
        Repertoire::Single(encoding) => encode_character(encoding, character),
        Repertoire::Katakana => {
            encode_character(encoding_rs::SHIFT_JIS, character).filter(|bytes| bytes.len() == 1)
        }
        Repertoire::Kanji => if_two_bytes(encode_character(encoding_rs::EUC_JP, character)?)
            .map(|bytes| bytes.iter().map(|byte| byte & 0x7F).collect()),
        // `encoding_rs` decodes JIS X 0212 but does not encode it.
        Repertoire::Ascii | Repertoire::Romaji | Repertoire::SupplementaryKanji => None,
        Repertoire::Korean => if_two_bytes(encode_character(encoding_rs::EUC_KR, character)?),
        Repertoire::Chinese => if_two_bytes(encode_character(encoding_rs::GBK, character)?),
    }
}

fn encode_character(encoding: &'static Encoding, character: char) -> Option<Vec<u8>> {
    let mut buffer = [0; 4];
    let (bytes, _, failed) = encoding.encode(character.encode_utf8(&mut buffer));
    (!failed).then(|| bytes.into_owned())
}

fn code_element(repertoire: Repertoire) -> CodeElement {
    designation(repertoire).map_or(CodeElement::G0, |(_, code_element)| code_element)
}

fn escape_sequence(repertoire: Repertoire) -> impl Iterator<Item = u8> {
    designation(repertoire)
        .into_iter()
        .flat_map(|(sequence, _)| std::iter::once(0x1B).chain(sequence.iter().copied()))
}

/// Returns the escape sequence that designates a repertoire, and its code element.
fn designation(repertoire: Repertoire) -> Option<(&'static [u8], CodeElement)> {
    ESCAPES
        .iter()
        .find(|(_, designated, _)| *designated == repertoire)
        .map(|(sequence, _, code_element)| (*sequence, *code_element))
}
