//! Reads the parts of a multipart body in their order (RFC 2046 5.1).
//!
//! A delimiter completes a part, and the last delimiter completes the body; a body that ends earlier is an error. Skips the
//! headers of parts.

use bytes::{Bytes, BytesMut};

use super::delimiter::{Continuation, Delimiter};
use super::{MAX_HEADERS, MultipartError, headers_length};

/// An event while a body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartEvent {
    /// A part begins.
    Begin,
    /// Bytes of the part.
    Data(Bytes),
    /// The part is complete.
    End,
}

/// The position in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Before,
    /// After the line of a delimiter.
    Headers,
    /// In the content of a part, before or after its first byte.
    Inside { has_content: bool },
    /// After the last delimiter.
    After,
    /// After the last delimiter, which no part precedes.
    WithoutParts,
}

/// Reads a multipart body that arrives in chunks.
#[derive(Debug)]
pub struct PartReader {
    delimiter: Delimiter,
    state: State,
    /// Buffered bytes: the possible start of a delimiter with the line break that belongs to it, or incomplete headers.
    buffered: BytesMut,
}

impl PartReader {
    /// Creates a reader for a body whose Content-Type declares `boundary`.
    pub fn new(boundary: &str) -> Self {
        Self { delimiter: Delimiter::new(boundary), state: State::Before, buffered: BytesMut::new() }
    }

    /// Reads the next bytes of the body and calls `handle` for every event.
    pub fn push(&mut self, chunk: Bytes, handle: &mut impl FnMut(PartEvent)) -> Result<(), MultipartError> {
        let mut chunk = if self.buffered.is_empty() {
            chunk
        } else {
            self.buffered.extend_from_slice(&chunk);
            self.buffered.split().freeze()
        };
        loop {
            let read = match self.state {
                State::Before => self.read_delimiter_line(&chunk),
                State::Headers => self.read_headers(&chunk, handle),
                State::Inside { has_content } => self.read_part(&chunk, has_content, handle),
                State::After | State::WithoutParts => return Ok(()),
            };
            match read {
                Some(read) => chunk = chunk.slice(read..),
                None if self.buffered.len() > MAX_HEADERS => return Err(MultipartError::HeadersTooLong),
                None => return Ok(()),
            }
        }
    }

    /// Ends the body. Fails if it is incomplete.
    pub fn finish(&mut self, handle: &mut impl FnMut(PartEvent)) -> Result<(), MultipartError> {
        // At the end of the body two dashes are enough.
        let is_last =
            |buffered: &[u8]| buffered.trim_ascii_start() == [self.delimiter.text(), b"--"].concat();
        match self.state {
            State::After => Ok(()),
            State::Inside { .. } if is_last(&self.buffered) => {
                handle(PartEvent::End);
                self.state = State::After;
                Ok(())
            }
            State::WithoutParts => Err(MultipartError::NoParts),
            State::Before if self.buffered.is_empty() || is_last(&self.buffered) => {
                Err(MultipartError::NoParts)
            }
            _ => Err(MultipartError::Incomplete),
        }
    }

    /// Skips the preamble and the first delimiter line, and returns their length; `None` if the line is incomplete.
    fn read_delimiter_line(&mut self, chunk: &Bytes) -> Option<usize> {
        let mut position = 0;
        let candidate = loop {
            let rest = &chunk[position..];
            let Some(found) = self.delimiter.find(rest) else {
                break chunk.len() - self.delimiter.partial_len(rest);
            };
            let start = position + found;
            let after = start + self.delimiter.text().len();
            let is_at_line_start = start == 0 || chunk[start - 1] == b'\n';
            match Continuation::parse(&chunk[after..]) {
                Continuation::Headers(line) if is_at_line_start => {
                    self.state = State::Headers;
                    return Some(after + line);
                }
                Continuation::Last if is_at_line_start => {
                    self.state = State::WithoutParts;
                    return Some(chunk.len());
                }
                Continuation::Incomplete => break start,
                _ => position = start + 1,
            }
        };
        // The byte before the candidate determines whether the candidate is at the start of a line.
        self.buffered.extend_from_slice(&chunk[candidate.saturating_sub(1)..]);
        None
    }

    /// Skips the headers of a part and returns their length; `None` if they are incomplete.
    fn read_headers(&mut self, chunk: &Bytes, handle: &mut impl FnMut(PartEvent)) -> Option<usize> {
        let Some(length) = headers_length(chunk) else {
            self.buffered.extend_from_slice(chunk);
            return None;
        };
        handle(PartEvent::Begin);
        self.state = State::Inside { has_content: false };
        Some(length)
    }

    /// Reads the bytes of a part in `chunk`. Returns the length of the part and of the delimiter line after it; `None` if the
    /// delimiter line is incomplete. Then bytes that may be its start are buffered.
    fn read_part(
        &mut self,
        chunk: &Bytes,
        has_content: bool,
        handle: &mut impl FnMut(PartEvent),
    ) -> Option<usize> {
        let mut emit = |part: Bytes| {
            if !part.is_empty() {
                handle(PartEvent::Data(part));
            }
        };
        let mut position = 0;
        let (end, after) = loop {
            let Some(found) = self.delimiter.find(&chunk[position..]) else {
                let partial_len = self.delimiter.partial_len(&chunk[position..]);
                break (line_break_before(chunk, chunk.len() - partial_len), None);
            };
            let start = position + found;
            let end = line_break_before(chunk, start);
            let after = start + self.delimiter.text().len();
            match Continuation::parse(&chunk[after..]) {
                // Without a line break before it, the text is part of the content. Only for a part without content, the line break
                // that ends the headers precedes the delimiter.
                _ if end == start && (start > 0 || has_content) => position = start + 1,
                Continuation::Data => position = start + 1,
                Continuation::Incomplete => break (end, None),
                Continuation::Headers(line) => break (end, Some((after + line, State::Headers))),
                Continuation::Last => break (end, Some((chunk.len(), State::After))),
            }
        };
        emit(chunk.slice(..end));
        let Some((read, state)) = after else {
            self.buffered.extend_from_slice(&chunk[end..]);
            self.state = State::Inside { has_content: has_content || end > 0 };
            return None;
        };
        handle(PartEvent::End);
        self.state = state;
        Some(read)
    }
}

/// Returns the start of the complete or partial line break before `end`: it belongs to the delimiter, not to the part.
fn line_break_before(chunk: &[u8], end: usize) -> usize {
    let before = &chunk[..end];
    if before.ends_with(b"\r\n") {
        end - 2
    } else if before.ends_with(b"\n") || end == chunk.len() && before.ends_with(b"\r") {
        end - 1
    } else {
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &[u8], size: usize) -> Result<Vec<Vec<u8>>, MultipartError> {
        let mut reader = PartReader::new("B");
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        let mut handle = |event| match event {
            PartEvent::Begin => part.clear(),
            PartEvent::Data(bytes) => part.extend_from_slice(&bytes),
            PartEvent::End => parts.push(part.clone()),
        };
        for chunk in body.chunks(size) {
            reader.push(Bytes::copy_from_slice(chunk), &mut handle)?;
        }
        reader.finish(&mut handle)?;
        Ok(parts)
    }

    #[test]
    fn body_truncated_at_any_byte_is_an_error() {
        let body: &[u8] = b"preamble\r\n--B\r\nA: b\r\n\r\none\r\n--B\r\n\r\n\r\n--B--\r\nepilogue";
        let needed_length = body.len() - b"\r\nepilogue".len();
        for size in 1..body.len() {
            assert_eq!(read(body, size), Ok(vec![b"one".to_vec(), Vec::new()]), "{size}");
            assert_eq!(read(b"", size), Err(MultipartError::NoParts));
            for length in 1..needed_length {
                assert_eq!(read(&body[..length], size), Err(MultipartError::Incomplete), "{length}");
            }
        }
    }

    #[test]
    fn body_without_parts_is_an_error() {
        for body in ["--B--", "--B--\r\n", "preamble\r\n--B--\r\nepilogue", "--B--\r\n--B\r\n\r\nx\r\n--B--"]
        {
            for size in 1..=body.len() {
                assert_eq!(read(body.as_bytes(), size), Err(MultipartError::NoParts), "{body:?} in {size}");
            }
        }
    }

    #[test]
    fn preamble_of_any_length_is_skipped_for_every_chunk_size() {
        let body = format!("--\r\n{}\r\n--B\r\n\r\npart\r\n--B--", "-".repeat(2 * MAX_HEADERS));
        for size in [1, 1000, body.len()] {
            assert_eq!(read(body.as_bytes(), size), Ok(vec![b"part".to_vec()]), "{size}");
        }
    }

    #[test]
    fn headers_are_limited() {
        let endless = format!("--B\r\nA: {}", "a".repeat(2 * MAX_HEADERS));
        assert_eq!(read(endless.as_bytes(), 1000), Err(MultipartError::HeadersTooLong));
    }

    proptest! {
        #[test]
        fn parts_are_the_same_for_every_chunk_size(
            parts in prop::collection::vec(
                prop::collection::vec(prop::sample::select(b"\r\n-Bx\0".to_vec()), 0..40), 1..4,
            ),
            size in 1_usize..40,
        ) {
            let mut body = Vec::new();
            for part in &parts {
                let surrounded = [b"\n", part.as_slice(), b"\r\n"].concat();
                prop_assume!(memchr::memmem::find(&surrounded, b"\n--B").is_none());
                body.extend_from_slice(b"--B\r\nContent-Type: application/dicom\r\n\r\n");
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--B--\r\n");
            prop_assert_eq!(read(&body, size), Ok(parts));
        }
    }
}
