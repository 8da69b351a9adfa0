//! The body of a search or metadata answer: a JSON array of objects (PS3.18 F.2.1), read object by object while it
//! streams in, so that 29 MB of metadata are never held at once.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

/// A text longer than this without a complete object in it is refused: no row of an archive is as long.
const MAX_ROW_LEN: usize = 64 * 1024 * 1024;

/// A row that was cut off gets so much more at first: most rows are no longer.
const FIRST_PIECE: usize = 2048;

/// Why a body is no array of objects. Never says what the body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The body is JSON of another kind, or no JSON.
    #[error("the body is not a JSON array but starts with {0}")]
    NotAnArray(&'static str),
    /// The array holds something else than objects.
    #[error("row {row} is not a JSON object")]
    NotAnObject {
        /// Counted from 1.
        row: usize,
    },
    /// A row is broken JSON.
    #[error("row {row} is broken JSON")]
    Broken {
        /// Counted from 1.
        row: usize,
    },
    /// A row is larger than any real one.
    #[error("row {row} is longer than {MAX_ROW_LEN} bytes")]
    TooLong {
        /// Counted from 1.
        row: usize,
    },
    /// The body ended before the array did.
    #[error("the body ended inside the array, after {rows} complete rows")]
    Truncated {
        /// How many rows were complete.
        rows: usize,
    },
    /// Something follows the array.
    #[error("something follows the array's end")]
    Trailing,
}

/// Where in the array the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeArray,
    BeforeFirstRow,
    AfterRow,
    AfterComma,
    AfterArray,
}

/// Reads rows of type `T` from chunks of any size. Bytes that are not UTF-8 are replaced, never refused.
///
/// ```
/// use dicom_model::{Attributes, json::reader::RowReader, tags};
/// let mut rows = Vec::new();
/// let mut reader = RowReader::<Attributes>::new();
/// reader.push(br#"[{"00100020":{"vr":"LO","Val"#, &mut |row| rows.push(row))?;
/// reader.push(br#"ue":["P1"]}}]"#, &mut |row| rows.push(row))?;
/// assert_eq!(reader.finish(&mut |row| rows.push(row))?, 1);
/// assert_eq!(rows[0].text(tags::PATIENT_ID), Some("P1"));
/// # Ok::<(), dicom_model::json::reader::RowError>(())
/// ```
#[derive(Debug)]
pub struct RowReader<T> {
    /// Text that is not yet part of a complete row.
    pending: String,
    /// The first bytes of a character whose others are still to come.
    split_character: Vec<u8>,
    /// How long `pending` must be before the incomplete row at its start is worth another look.
    worth_a_look: usize,
    place: Place,
    rows: usize,
    row: PhantomData<fn() -> T>,
}

impl<T> Default for RowReader<T> {
    fn default() -> Self {
        Self {
            pending: String::new(),
            split_character: Vec::new(),
            worth_a_look: 0,
            place: Place::BeforeArray,
            rows: 0,
            row: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> RowReader<T> {
    /// A reader at the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the body and hands every row that they complete to `each`.
    pub fn push(&mut self, chunk: &[u8], each: &mut impl FnMut(T)) -> Result<(), RowError> {
        if self.split_character.is_empty() {
            return self.push_whole(chunk, each);
        }
        let mut bytes = std::mem::take(&mut self.split_character);
        bytes.extend_from_slice(chunk);
        self.push_whole(&bytes, each)
    }

    /// Says that the body has ended; the number of rows that it held.
    pub fn finish(mut self, each: &mut impl FnMut(T)) -> Result<usize, RowError> {
        if !self.split_character.is_empty() {
            self.pending.push(char::REPLACEMENT_CHARACTER);
        }
        self.worth_a_look = 0;
        self.read_pending(each)?;
        match self.place {
            Place::AfterArray => Ok(self.rows),
            Place::BeforeArray => Err(RowError::NotAnArray("nothing")),
            _ => Err(RowError::Truncated { rows: self.rows }),
        }
    }

    fn push_whole(&mut self, bytes: &[u8], each: &mut impl FnMut(T)) -> Result<(), RowError> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.push_text(text, each);
        }
        let (text, rest) = readable(bytes);
        self.split_character = rest.to_vec();
        self.push_text(&text, each)
    }

    /// Only a row that was cut off is put together from its pieces; the rows behind it are read where they stand.
    fn push_text(&mut self, mut text: &str, each: &mut impl FnMut(T)) -> Result<(), RowError> {
        while !self.pending.is_empty() {
            if text.is_empty() {
                return Ok(());
            }
            let size = text.len().min(self.pending.len().max(FIRST_PIECE));
            let piece = &text[..text.floor_char_boundary(size)];
            self.pending.push_str(piece);
            self.read_pending(each)?;
            if self.pending.len() > piece.len() {
                text = &text[piece.len()..];
            } else {
                // What is left is the end of the piece, and stands in the text.
                text = &text[piece.len() - self.pending.len()..];
                self.pending.clear();
                self.worth_a_look = 0;
            }
        }
        let read = self.read(text, each)?;
        self.pending.push_str(text.get(read..).unwrap_or_default());
        Ok(())
    }

    fn read_pending(&mut self, each: &mut impl FnMut(T)) -> Result<(), RowError> {
        if self.pending.len() < self.worth_a_look {
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.pending);
        let read = self.read(&text, each)?;
        text.drain(..read);
        self.pending = text;
        Ok(())
    }

    /// Reads as many rows as `text` completes; how many bytes of it are done with.
    fn read(&mut self, text: &str, each: &mut impl FnMut(T)) -> Result<usize, RowError> {
        let mut position = 0;
        loop {
            let rest = text.get(position..).unwrap_or_default();
            let blank = rest.len() - rest.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len();
            position += blank;
            let rest = rest.get(blank..).unwrap_or_default();
            let Some(first) = rest.chars().next() else { return Ok(position) };
            let row = self.rows + 1;
            position += match (self.place, first) {
                (Place::BeforeArray, '[') => self.step(Place::BeforeFirstRow),
                (Place::BeforeArray, other) => return Err(RowError::NotAnArray(kind_of(other))),
                (Place::BeforeFirstRow | Place::AfterRow, ']') => self.step(Place::AfterArray),
                (Place::AfterRow, ',') => self.step(Place::AfterComma),
                (Place::BeforeFirstRow | Place::AfterComma, '{') => {
                    let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<T>();
                    match objects.next() {
                        Some(Ok(object)) => {
                            let length = objects.byte_offset();
                            self.rows += 1;
                            each(object);
                            self.place = Place::AfterRow;
                            length
                        }
                        Some(Err(error)) if !error.is_eof() && !ends_in_a_number(rest) => {
                            return Err(RowError::Broken { row });
                        }
                        _ if rest.len() > MAX_ROW_LEN => return Err(RowError::TooLong { row }),
                        // Looking again only after half as much again has come keeps the work linear for any chunking.
                        _ => {
                            self.worth_a_look = rest.len() + rest.len() / 2;
                            return Ok(position);
                        }
                    }
                }
                (Place::AfterArray, _) => return Err(RowError::Trailing),
                (Place::AfterRow, _) => return Err(RowError::Broken { row }),
                (Place::BeforeFirstRow | Place::AfterComma, _) => return Err(RowError::NotAnObject { row }),
            };
            self.worth_a_look = 0;
        }
    }

    fn step(&mut self, place: Place) -> usize {
        self.place = place;
        1
    }
}

/// Whether `text` may be cut off inside of a number, which serde_json calls no number where it does not keep its value.
fn ends_in_a_number(text: &str) -> bool {
    text.ends_with(['-', '+', '.', 'e', 'E'])
}

/// The text of `bytes` with what is not UTF-8 replaced, and the start of a character that is cut off at the end.
fn readable(bytes: &[u8]) -> (String, &[u8]) {
    let whole = match bytes.utf8_chunks().last() {
        Some(last) if is_cut_off(last.invalid()) => bytes.len() - last.invalid().len(),
        _ => bytes.len(),
    };
    let (whole, rest) = bytes.split_at(whole);
    (String::from_utf8_lossy(whole).into_owned(), rest)
}

/// Whether more bytes could still make a character of `bytes`.
fn is_cut_off(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

fn kind_of(first: char) -> &'static str {
    match first {
        '{' => "an object",
        '<' => "markup",
        '"' => "a string",
        'n' => "null",
        '0'..='9' | '-' => "a number",
        _ => "something that is not JSON",
    }
}

#[cfg(test)]
mod tests;
