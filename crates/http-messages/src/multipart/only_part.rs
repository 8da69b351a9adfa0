//! Extracts the only part of a multipart body, without delimiters and headers (RFC 2046 5.1).
//!
//! The part is streamed. A body with several parts is an error, because its first part would look like the complete content. This
//! module does not know about headers.

use bytes::{Bytes, BytesMut};

use super::MultipartError;
use super::reader::{PartEvent, PartReader};

/// Extracts the only part of a body.
#[derive(Debug)]
pub struct SinglePart {
    parts: PartReader,
    part_count: usize,
}

impl SinglePart {
    /// Creates an extractor for a body whose Content-Type declares `boundary`.
    pub fn new(boundary: &str) -> Self {
        Self { parts: PartReader::new(boundary), part_count: 0 }
    }

    /// Reads the next chunk of the body and returns the bytes of the part in it.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, MultipartError> {
        let mut content = Bytes::new();
        let part_count = &mut self.part_count;
        let read = self.parts.push(chunk, &mut |event| match event {
            PartEvent::Begin => *part_count += 1,
            PartEvent::Data(bytes) if content.is_empty() => content = bytes,
            PartEvent::Data(bytes) => {
                let mut joined = BytesMut::from(content.as_ref());
                joined.extend_from_slice(&bytes);
                content = joined.freeze();
            }
            PartEvent::End => {}
        });
        // The second part is reported even if an error follows in the same chunk.
        if self.part_count > 1 { Err(MultipartError::SeveralParts) } else { read.map(|()| content) }
    }

    /// Ends the body. Fails if the part is incomplete.
    pub fn finish(&mut self) -> Result<Bytes, MultipartError> {
        self.parts.finish(&mut |_| {}).map(|()| Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(body: &[u8], size: usize) -> Result<Vec<u8>, MultipartError> {
        let mut part = SinglePart::new("B");
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
    fn second_part_is_an_error() {
        let two_parts = b"--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B--\r\n";
        for size in 1..two_parts.len() {
            assert_eq!(content(two_parts, size), Err(MultipartError::SeveralParts), "{size}");
        }
    }

    #[test]
    fn second_part_is_the_error_also_if_the_headers_of_a_third_are_too_long() {
        let endless = "a".repeat(2 * super::super::MAX_HEADERS);
        let three = format!("--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B\r\nA: {endless}");
        for size in [1, 7, 1000, three.len()] {
            assert_eq!(content(three.as_bytes(), size), Err(MultipartError::SeveralParts), "{size}");
        }
    }

    #[test]
    fn truncated_part_is_an_error() {
        let complete = body(b"a part\r\n--");
        for length in 1..complete.len() - 2 {
            for size in [1, 7, 100] {
                assert_eq!(content(&complete[..length], size), Err(MultipartError::Incomplete), "{length}");
            }
        }
        assert_eq!(content(&complete[..complete.len() - 2], 3).unwrap(), b"a part\r\n--");
    }

    proptest! {
        #[test]
        fn part_is_the_same_for_every_chunk_size(
            part in prop::collection::vec(prop::sample::select(b"\r\n-Bx\0".to_vec()), 0..60), size in 1_usize..40,
        ) {
            let contains_delimiter = memchr::memmem::find(&[b"\n", part.as_slice(), b"\r\n"].concat(), b"\n--B").is_some();
            prop_assume!(!contains_delimiter);
            prop_assert_eq!(content(&body(&part), size), Ok(part));
        }
    }
}
