//! The parts of a multipart body (RFC 2046 5.1), read one after the other as they come.
//!
//! A part is whole when a delimiter follows it, and the body when that is the last one; what ends before that is an error.
//! The headers of parts are read over.

use bytes::{Bytes, BytesMut};

use super::delimiter::{Delimiter, Follows};
use super::{MAX_HEADERS, MultipartError, length_of_headers};

/// What comes next in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartEvent {
    /// A part begins.
    Begin,
    /// Bytes of it.
    Data(Bytes),
    /// It is whole.
    End,
}

/// How far the body has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Before,
    /// After the line of a delimiter.
    Headers,
    /// In a part, after its first byte or before it.
    Inside { has_begun: bool },
    /// After the last delimiter.
    After,
}

/// Reads a multipart body that comes in chunks.
#[derive(Debug)]
pub struct PartReader {
    delimiter: Delimiter,
    state: State,
    /// What may be the beginning of a delimiter, with the line break that belongs to it, or of headers.
    held: BytesMut,
}

impl PartReader {
    /// Of a body whose head names `boundary`.
    pub fn new(boundary: &str) -> Self {
        Self { delimiter: Delimiter::of(boundary), state: State::Before, held: BytesMut::new() }
    }

    /// Takes the next bytes of the body and hands what they complete to `each`.
    pub fn push(&mut self, chunk: Bytes, each: &mut impl FnMut(PartEvent)) -> Result<(), MultipartError> {
        let mut chunk = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            self.held.split().freeze()
        };
        loop {
            let read = match self.state {
                State::Before => self.delimiter_line(&chunk),
                State::Headers => self.headers(&chunk, each),
                State::Inside { has_begun } => self.part(&chunk, has_begun, each),
                State::After => return Ok(()),
            };
            match read {
                Some(read) => chunk = chunk.slice(read..),
                None if self.held.len() > MAX_HEADERS => return Err(MultipartError::HeadersTooLong),
                None => return Ok(()),
            }
        }
    }

    /// Says that the body has ended.
    pub fn finish(&mut self, each: &mut impl FnMut(PartEvent)) -> Result<(), MultipartError> {
        // At the end of the body two dashes are enough.
        let is_last = |held: &[u8]| held.trim_ascii_start() == [self.delimiter.text(), b"--"].concat();
        match self.state {
            State::After => Ok(()),
            State::Inside { .. } if is_last(&self.held) => {
                each(PartEvent::End);
                self.state = State::After;
                Ok(())
            }
            _ => Err(MultipartError::Incomplete),
        }
    }

    /// Up to the end of the first delimiter's line; `None` while that has not come.
    fn delimiter_line(&mut self, chunk: &Bytes) -> Option<usize> {
        let mut position = 0;
        while let Some(found) = self.delimiter.find(&chunk[position..]) {
            let start = position + found;
            let behind = start + self.delimiter.text().len();
            let is_at_line_start = start == 0 || chunk[start - 1] == b'\n';
            match Follows::read(&chunk[behind..]) {
                Follows::Headers(line) if is_at_line_start => {
                    self.state = State::Headers;
                    return Some(behind + line);
                }
                Follows::CutOff => break,
                _ => position = start + 1,
            }
        }
        self.held.extend_from_slice(chunk);
        None
    }

    /// Over the headers of a part; `None` while they have not come.
    fn headers(&mut self, chunk: &Bytes, each: &mut impl FnMut(PartEvent)) -> Option<usize> {
        let Some(length) = length_of_headers(chunk) else {
            self.held.extend_from_slice(chunk);
            return None;
        };
        each(PartEvent::Begin);
        self.state = State::Inside { has_begun: false };
        Some(length)
    }

    /// What of a part stands in `chunk`; what may be its end is held.
    fn part(&mut self, chunk: &Bytes, has_begun: bool, each: &mut impl FnMut(PartEvent)) -> Option<usize> {
        let mut give = |part: Bytes| {
            if !part.is_empty() {
                each(PartEvent::Data(part));
            }
        };
        let mut position = 0;
        let (end, behind) = loop {
            let Some(found) = self.delimiter.find(&chunk[position..]) else {
                let begun = self.delimiter.begun(&chunk[position..]);
                break (line_break_before(chunk, chunk.len() - begun), None);
            };
            let start = position + found;
            let end = line_break_before(chunk, start);
            let behind = start + self.delimiter.text().len();
            match Follows::read(&chunk[behind..]) {
                // Before the first byte of a part there is no line break of its own, only the end of its headers.
                _ if end == start && (start > 0 || has_begun) => position = start + 1,
                Follows::Data => position = start + 1,
                Follows::CutOff => break (end, None),
                Follows::Headers(line) => break (end, Some((behind + line, State::Headers))),
                Follows::Last => break (end, Some((chunk.len(), State::After))),
            }
        };
        give(chunk.slice(..end));
        let Some((read, state)) = behind else {
            self.held.extend_from_slice(&chunk[end..]);
            self.state = State::Inside { has_begun: has_begun || end > 0 };
            return None;
        };
        each(PartEvent::End);
        self.state = state;
        Some(read)
    }
}

/// Where the line break before `end` begins, as much of it as stands there: it belongs to the delimiter, not to the part.
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
        let mut parts = PartReader::new("B");
        let (mut whole, mut open) = (Vec::new(), Vec::new());
        let mut each = |piece| match piece {
            PartEvent::Begin => open.clear(),
            PartEvent::Data(bytes) => open.extend_from_slice(&bytes),
            PartEvent::End => whole.push(open.clone()),
        };
        for chunk in body.chunks(size) {
            parts.push(Bytes::copy_from_slice(chunk), &mut each)?;
        }
        parts.finish(&mut each)?;
        Ok(whole)
    }

    #[test]
    fn parts_cut_at_any_byte_are_not_whole() {
        let two: &[u8] = b"preamble\r\n--B\r\nA: b\r\n\r\none\r\n--B\r\n\r\n\r\n--B--\r\nepilogue";
        let whole = two.len() - b"\r\nepilogue".len();
        for size in 1..two.len() {
            assert_eq!(read(two, size), Ok(vec![b"one".to_vec(), Vec::new()]), "{size}");
            for length in 0..whole {
                assert_eq!(read(&two[..length], size), Err(MultipartError::Incomplete), "{length}");
            }
        }
    }

    #[test]
    fn headers_have_an_end() {
        let endless = format!("--B\r\nA: {}", "a".repeat(2 * MAX_HEADERS));
        assert_eq!(read(endless.as_bytes(), 1000), Err(MultipartError::HeadersTooLong));
    }

    proptest! {
        #[test]
        fn parts_are_the_same_however_the_body_is_cut_into_chunks(
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
