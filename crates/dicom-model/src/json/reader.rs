//! Reads the body of a search or metadata response, a JSON array of objects (PS3.18 F.2.1), object by object while it arrives, so
//! that large metadata (29 MB and more) is never buffered completely. This module does not know about HTTP or the content of the
//! objects.

mod object_end;

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use self::object_end::ObjectEnd;
use super::complete::NotRead;
use super::replace_unreadable;

/// Maximum size of a row in bytes. Real rows are shorter.
const MAX_ROW_LEN: usize = 64 * 1024 * 1024;

/// Minimum number of bytes that are appended to an incomplete row at once. Most rows are shorter.
const MIN_APPENDED_LEN: usize = 2048;

/// Why a body is not an array of objects. Never contains text of the body, which may be PHI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The body is not an array. The text names what the body starts with.
    #[error("the body is not a JSON array but starts with {0}")]
    NotAnArray(&'static str),
    /// An entry of the array is not an object.
    #[error("row {row} is not a JSON object")]
    NotAnObject {
        /// The number of the row, starting at 1.
        row: usize,
    },
    /// A row is invalid JSON, or has an attribute twice with different values.
    #[error("row {row} is not valid JSON or has an attribute with two values")]
    Malformed {
        /// The number of the row, starting at 1.
        row: usize,
    },
    /// A row exceeds the maximum size.
    #[error("row {row} is longer than {max} bytes")]
    TooLong {
        /// The number of the row, starting at 1.
        row: usize,
        /// The maximum in bytes.
        max: usize,
    },
    /// An attribute that must be read exceeds the maximum size.
    #[error("an attribute of row {row} is longer than {max} bytes")]
    LongAttribute {
        /// The number of the row, starting at 1.
        row: usize,
        /// The maximum in bytes.
        max: usize,
    },
    /// The body ended before the end of the array.
    #[error("the body ended inside the array, after {rows} complete rows")]
    Truncated {
        /// Number of complete rows.
        rows: usize,
    },
    /// The array is followed by more data.
    #[error("data follow the end of the array")]
    Trailing,
}

/// Receives the rows of a [`RowReader`].
pub trait RowHandler<T> {
    /// Reads the complete row at the beginning of `text` without parsing it, and returns its length. A row that is not read is parsed, or
    /// read again when more of it has arrived. A handler must read only what is a row, and report that a row is incomplete only if
    /// parsing would do so.
    fn read_complete(&mut self, text: &str) -> Result<usize, NotRead>;

    /// Receives a row that has been parsed.
    fn handle(&mut self, row: T);
}

/// Receives parsed rows only.
struct ParsedRows<'a, F>(&'a mut F);

impl<T, F: FnMut(T)> RowHandler<T> for ParsedRows<'_, F> {
    fn read_complete(&mut self, _: &str) -> Result<usize, NotRead> {
        Err(NotRead::Unrecognized)
    }

    fn handle(&mut self, row: T) {
        (self.0)(row);
    }
}

/// The position of the reader relative to the array and its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    BeforeArray,
    BeforeFirstRow,
    AfterRow,
    AfterComma,
    AfterArray,
}

/// Reads rows of type `T` from chunks of any size. Bytes that are not UTF-8 are replaced by U+FFFD, never rejected.
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
    /// The first bytes of an incomplete UTF-8 character at the end of a chunk.
    split_character: Vec<u8>,
    /// The length of `pending` at which the incomplete row is parsed again.
    next_attempt_len: usize,
    /// The position in the incomplete row, which is also parsed again at its end; `None` if it was parsed there.
    object_end: Option<ObjectEnd>,
    position: Position,
    row_count: usize,
    max_row_len: usize,
    row: PhantomData<fn() -> T>,
}

impl<T> Default for RowReader<T> {
    fn default() -> Self {
        Self {
            pending: String::new(),
            split_character: Vec::new(),
            next_attempt_len: 0,
            object_end: None,
            position: Position::BeforeArray,
            row_count: 0,
            max_row_len: MAX_ROW_LEN,
            row: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> RowReader<T> {
    /// Creates a reader at the start of the body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a reader at the start of a body whose rows have at most `max` bytes.
    pub fn with_max_row_len(max: usize) -> Self {
        Self { max_row_len: max, ..Self::default() }
    }

    /// Reads the next bytes of the body and calls `handle` for every row that they complete.
    pub fn push(&mut self, chunk: &[u8], handle: &mut impl FnMut(T)) -> Result<(), RowError> {
        self.push_to(chunk, &mut ParsedRows(handle))
    }

    /// Reads the next bytes of the body, of which `handler` reads the rows that it can read.
    pub fn push_to(&mut self, chunk: &[u8], handler: &mut impl RowHandler<T>) -> Result<(), RowError> {
        if self.split_character.is_empty() {
            return self.push_whole(chunk, handler);
        }
        let mut bytes = std::mem::take(&mut self.split_character);
        bytes.extend_from_slice(chunk);
        self.push_whole(&bytes, handler)
    }

    /// Returns the number of bytes in memory that are not part of a complete row.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Ends the body; returns the number of rows.
    pub fn finish(self, handle: &mut impl FnMut(T)) -> Result<usize, RowError> {
        self.finish_to(&mut ParsedRows(handle))
    }

    /// Ends the body like [`finish`](Self::finish); `handler` reads the rows that it can read.
    pub fn finish_to(mut self, handler: &mut impl RowHandler<T>) -> Result<usize, RowError> {
        if !self.split_character.is_empty() {
            self.pending.push(char::REPLACEMENT_CHARACTER);
        }
        self.next_attempt_len = 0;
        self.read_pending(handler)?;
        match self.position {
            Position::AfterArray => Ok(self.row_count),
            Position::BeforeArray => Err(RowError::NotAnArray("nothing")),
            _ => Err(RowError::Truncated { rows: self.row_count }),
        }
    }

    /// Reads bytes that do not begin inside a character.
    fn push_whole(&mut self, bytes: &[u8], handler: &mut impl RowHandler<T>) -> Result<(), RowError> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.push_text(text, handler);
        }
        let (text, rest) = decode_complete(bytes);
        self.split_character = rest.to_vec();
        self.push_text(&text, handler)
    }

    /// Copies only an incomplete row into `pending`; reads the rows after it directly from `text`.
    fn push_text(&mut self, mut text: &str, handler: &mut impl RowHandler<T>) -> Result<(), RowError> {
        while !self.pending.is_empty() {
            if text.is_empty() {
                return Ok(());
            }
            let size = text.len().min(self.pending.len().max(MIN_APPENDED_LEN));
            let appended = &text[..text.floor_char_boundary(size)];
            self.append(appended);
            if self.object_end.as_mut().is_some_and(|end| end.is_in(appended)) {
                self.next_attempt_len = 0;
            }
            self.read_pending(handler)?;
            if self.pending.len() > appended.len() {
                text = &text[appended.len()..];
            } else {
                // The unread rest is the end of `appended`, so `text` contains it too.
                text = &text[appended.len() - self.pending.len()..];
                self.pending.clear();
                self.next_attempt_len = 0;
            }
        }
        let read_length = self.read(text, handler)?;
        self.append(text.get(read_length..).unwrap_or_default());
        Ok(())
    }

    /// Appends to the pending text. It grows like any other text, but not far beyond the maximum size of a row, because the old and the
    /// new allocation are in memory at the same time.
    fn append(&mut self, text: &str) {
        let (length, capacity) = (self.pending.len() + text.len(), self.pending.capacity());
        if length > capacity && 2 * capacity > self.max_row_len {
            self.pending.reserve_exact(length.max(self.max_row_len) - self.pending.len());
        }
        self.pending.push_str(text);
    }

    /// Reads the complete rows of `pending`, if it has grown enough since the last attempt.
    fn read_pending(&mut self, handler: &mut impl RowHandler<T>) -> Result<(), RowError> {
        if self.pending.len() < self.next_attempt_len {
            return Ok(());
        }
        let mut text = std::mem::take(&mut self.pending);
        let read_length = self.read(&text, handler)?;
        text.drain(..read_length);
        self.pending = text;
        Ok(())
    }

    /// Reads the complete rows of `text`; returns the number of consumed bytes.
    fn read(&mut self, text: &str, handler: &mut impl RowHandler<T>) -> Result<usize, RowError> {
        let mut position = 0;
        loop {
            let rest = text.get(position..).unwrap_or_default();
            let whitespace_length =
                rest.len() - rest.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).len();
            position += whitespace_length;
            let rest = rest.get(whitespace_length..).unwrap_or_default();
            let Some(first) = rest.chars().next() else { return Ok(position) };
            let row = self.row_count + 1;
            position += match (self.position, first) {
                (Position::BeforeArray, '[') => self.advance_to(Position::BeforeFirstRow),
                (Position::BeforeArray, other) => return Err(RowError::NotAnArray(describe_start(other))),
                (Position::BeforeFirstRow | Position::AfterRow, ']') => self.advance_to(Position::AfterArray),
                (Position::AfterRow, ',') => self.advance_to(Position::AfterComma),
                (Position::BeforeFirstRow | Position::AfterComma, '{') => {
                    match read_row(rest, handler) {
                        Ok(length) => {
                            self.row_count += 1;
                            self.position = Position::AfterRow;
                            length
                        }
                        Err(NotRead::Unrecognized) => return Err(RowError::Malformed { row }),
                        Err(NotRead::Incomplete) if rest.len() > self.max_row_len => {
                            return Err(RowError::TooLong { row, max: self.max_row_len });
                        }
                        // Parsing again only after the text has grown by half keeps the work linear for any chunk size.
                        Err(NotRead::Incomplete) => {
                            let next_attempt_len = rest.len() + rest.len() / 2;
                            self.next_attempt_len = next_attempt_len.min(self.max_row_len + 1);
                            let mut end = ObjectEnd::default();
                            self.object_end = (!end.is_in(rest)).then_some(end);
                            return Ok(position);
                        }
                    }
                }
                (Position::AfterArray, _) => return Err(RowError::Trailing),
                (Position::AfterRow, _) => return Err(RowError::Malformed { row }),
                (Position::BeforeFirstRow | Position::AfterComma, _) => {
                    return Err(RowError::NotAnObject { row });
                }
            };
            self.next_attempt_len = 0;
        }
    }

    /// Sets the position after a punctuation mark, and returns the length of the mark in bytes.
    fn advance_to(&mut self, position: Position) -> usize {
        self.position = position;
        1
    }
}

/// Reads the row at the beginning of `text`, and returns its length.
fn read_row<T: DeserializeOwned>(text: &str, handler: &mut impl RowHandler<T>) -> Result<usize, NotRead> {
    let read = handler.read_complete(text);
    if read != Err(NotRead::Unrecognized) {
        return read;
    }
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<T>();
    match objects.next() {
        Some(Ok(object)) => {
            handler.handle(object);
            Ok(objects.byte_offset())
        }
        Some(Err(error)) if is_malformed(&error, text) => read_row_with_unreadable_values(text, handler),
        Some(Err(_)) | None => Err(NotRead::Incomplete),
    }
}

/// Reads the row at the beginning of `text` with its unreadable values replaced, and returns its length.
fn read_row_with_unreadable_values<T: DeserializeOwned>(
    text: &str,
    handler: &mut impl RowHandler<T>,
) -> Result<usize, NotRead> {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    match objects.next() {
        Some(Ok(object)) => {
            let replaced = replace_unreadable(object.get()).ok_or(NotRead::Unrecognized)?;
            handler.handle(serde_json::from_str(&replaced).map_err(|_| NotRead::Unrecognized)?);
            Ok(objects.byte_offset())
        }
        Some(Err(error)) if is_malformed(&error, text) => Err(NotRead::Unrecognized),
        Some(Err(_)) | None => Err(NotRead::Incomplete),
    }
}

/// Whether `error` has another cause than the end of `text`.
fn is_malformed(error: &serde_json::Error, text: &str) -> bool {
    !error.is_eof() && !may_be_split_number(error, text)
}

/// Whether `error` may be caused only by a number that is split at the end of `text`. For row types that ignore the number,
/// serde_json reports it as invalid, not as an unexpected end. An error before the end of `text` has another cause.
fn may_be_split_number(error: &serde_json::Error, text: &str) -> bool {
    let is_at_end = || {
        let last_line = text.rsplit('\n').next().unwrap_or_default();
        let lines = text.len() - last_line.len();
        let line = text[..lines].matches('\n').count() + 1;
        (error.line(), error.column()) == (line, last_line.len())
    };
    text.ends_with(['-', '+', '.', 'e', 'E']) && is_at_end()
}

/// Decodes `bytes` with invalid UTF-8 replaced; returns the text, and the bytes of an incomplete character at the end.
fn decode_complete(bytes: &[u8]) -> (String, &[u8]) {
    let complete_length = match bytes.utf8_chunks().last() {
        Some(last) if is_incomplete(last.invalid()) => bytes.len() - last.invalid().len(),
        _ => bytes.len(),
    };
    let (complete, rest) = bytes.split_at(complete_length);
    (String::from_utf8_lossy(complete).into_owned(), rest)
}

/// Whether `bytes` is the start of a valid UTF-8 character.
fn is_incomplete(bytes: &[u8]) -> bool {
    !bytes.is_empty() && std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

pub(super) fn describe_start(first: char) -> &'static str {
    match first {
        '{' => "an object",
        '<' => "markup",
        '"' => "a string",
        'n' => "null",
        '0'..='9' => "a number",
        // Or a negative number, which is less likely.
        '-' => "a hyphen, as a multipart body does",
        _ => "something that is not JSON",
    }
}

#[cfg(test)]
mod tests;
