//! The one part of a multipart body, without what surrounds it (RFC 2046 5.1): for clients that take a single object as it
//! is (PS3.18 8.7.3.3), from archives that know parts only.
//!
//! The part passes as it comes. It is whole when a delimiter follows it, and alone when that is the last one; a body of
//! several parts is an error, as the first of them would look like all.

use bytes::{Bytes, BytesMut};

use super::delimiter::{Behind, Delimiter};
use super::multipart::length_of_headers;
use super::stream::StreamError;

/// What stands before the part: a preamble of a line or two, and its headers.
const LONGEST_BEGINNING: usize = 16 * 1024;

/// Where in the body the reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Inside,
    Behind,
}

/// Lets only the part pass.
#[derive(Debug)]
pub(super) struct OnlyPart {
    delimiter: Delimiter,
    place: Place,
    /// Some of the part has passed.
    has_begun: bool,
    /// What may be the beginning of a delimiter, with the line break before it that belongs to it.
    held: BytesMut,
}

impl OnlyPart {
    /// Of a body whose head names `boundary`.
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            delimiter: Delimiter::of(boundary),
            place: Place::Before,
            has_begun: false,
            held: BytesMut::new(),
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) -> Result<Bytes, StreamError> {
        let mut chunk = if self.held.is_empty() {
            chunk
        } else {
            self.held.extend_from_slice(&chunk);
            self.held.split().freeze()
        };
        if self.place == Place::Before {
            let Some(beginning) = self.length_of_beginning(&chunk) else {
                if chunk.len() > LONGEST_BEGINNING {
                    return Err(StreamError::PartHeadersTooLong);
                }
                self.held.extend_from_slice(&chunk);
                return Ok(Bytes::new());
            };
            self.place = Place::Inside;
            chunk = chunk.slice(beginning..);
        }
        if self.place == Place::Behind { Ok(Bytes::new()) } else { self.part(&chunk) }
    }

    pub(super) fn finish(&mut self) -> Result<Bytes, StreamError> {
        // At the end of the body two dashes are enough.
        let is_last = |held: &[u8]| held.trim_ascii_start() == [self.delimiter.text(), b"--"].concat();
        if self.place == Place::Behind || self.place == Place::Inside && is_last(&self.held) {
            self.place = Place::Behind;
            return Ok(Bytes::new());
        }
        Err(StreamError::Incomplete)
    }

    /// Up to the first byte of the part; `None` while that has not come.
    fn length_of_beginning(&self, chunk: &[u8]) -> Option<usize> {
        let mut position = 0;
        loop {
            let start = position + self.delimiter.find(&chunk[position..])?;
            let behind = start + self.delimiter.text().len();
            let is_at_line_start = start == 0 || chunk[start - 1] == b'\n';
            match Behind::read(&chunk[behind..]) {
                Behind::Headers(line) if is_at_line_start => {
                    return Some(behind + line + length_of_headers(&chunk[behind + line..])?);
                }
                Behind::CutOff => return None,
                _ => position = start + 1,
            }
        }
    }

    /// What of the part stands in `chunk`; what may be its end is held.
    fn part(&mut self, chunk: &Bytes) -> Result<Bytes, StreamError> {
        let mut position = 0;
        loop {
            let Some(found) = self.delimiter.find(&chunk[position..]) else {
                let begun = self.delimiter.begun(&chunk[position..]);
                return Ok(self.hold(chunk, line_break_before(chunk, chunk.len() - begun)));
            };
            let start = position + found;
            let end = line_break_before(chunk, start);
            match Behind::read(&chunk[start + self.delimiter.text().len()..]) {
                // Before the first byte of a part there is no line break of its own, only the end of its headers.
                _ if end == start && (start > 0 || self.has_begun) => position = start + 1,
                Behind::Data => position = start + 1,
                Behind::CutOff => return Ok(self.hold(chunk, end)),
                Behind::Headers(_) => return Err(StreamError::SeveralParts),
                Behind::Last => {
                    self.place = Place::Behind;
                    return Ok(chunk.slice(..end));
                }
            }
        }
    }

    fn hold(&mut self, chunk: &Bytes, from: usize) -> Bytes {
        self.held.extend_from_slice(&chunk[from..]);
        self.has_begun |= from > 0;
        chunk.slice(..from)
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

    fn passed(body: &[u8], size: usize) -> Result<Vec<u8>, StreamError> {
        let mut part = OnlyPart::new("B");
        let mut written = Vec::new();
        for chunk in body.chunks(size) {
            written.extend_from_slice(&part.push(Bytes::copy_from_slice(chunk))?);
        }
        written.extend_from_slice(&part.finish()?);
        Ok(written)
    }

    fn body(part: &[u8]) -> Vec<u8> {
        [b"--B\r\nContent-Type: application/dicom\r\n\r\n", part, b"\r\n--B--\r\n"].concat()
    }

    #[test]
    fn a_second_part_is_an_error() {
        let two = b"--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B--\r\n";
        for size in 1..two.len() {
            assert_eq!(passed(two, size), Err(StreamError::SeveralParts), "{size}");
        }
    }

    #[test]
    fn a_part_that_is_cut_off_is_not_whole() {
        let whole = body(b"a part\r\n--");
        for length in 0..whole.len() - 2 {
            for size in [1, 7, 100] {
                assert_eq!(passed(&whole[..length], size), Err(StreamError::Incomplete), "{length}");
            }
        }
        assert_eq!(passed(&whole[..whole.len() - 2], 3).unwrap(), b"a part\r\n--");
    }

    proptest! {
        #[test]
        fn a_part_is_the_same_however_it_is_cut_into_chunks(
            part in prop::collection::vec(prop::sample::select(b"\r\n-Bx\0".to_vec()), 0..60), size in 1_usize..40,
        ) {
            let holds_delimiter = memchr::memmem::find(&[b"\n", part.as_slice(), b"\r\n"].concat(), b"\n--B").is_some();
            prop_assume!(!holds_delimiter);
            prop_assert_eq!(passed(&body(&part), size), Ok(part));
        }
    }
}
