//! The one part of a multipart body, without its delimiters and headers (RFC 2046 5.1).
//!
//! The part passes as it comes. A body of several parts is an error, as the first of them would look like all.

use bytes::{Bytes, BytesMut};

use super::MultipartError;
use super::reader::{PartEvent, PartReader};

/// Lets only the part pass.
#[derive(Debug)]
pub struct SinglePart {
    parts: PartReader,
    begun: usize,
}

impl SinglePart {
    /// Of a body whose head names `boundary`.
    pub fn new(boundary: &str) -> Self {
        Self { parts: PartReader::new(boundary), begun: 0 }
    }

    /// Takes the next chunk of the body, and gives what of the part is in it.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, MultipartError> {
        let mut passed = Bytes::new();
        let begun = &mut self.begun;
        self.parts.push(chunk, &mut |piece| match piece {
            PartEvent::Begin => *begun += 1,
            PartEvent::Data(bytes) if passed.is_empty() => passed = bytes,
            PartEvent::Data(bytes) => {
                let mut joined = BytesMut::from(passed.as_ref());
                joined.extend_from_slice(&bytes);
                passed = joined.freeze();
            }
            PartEvent::End => {}
        })?;
        if self.begun > 1 { Err(MultipartError::SeveralParts) } else { Ok(passed) }
    }

    /// Says that the body has ended; an error when the part had not.
    pub fn finish(&mut self) -> Result<Bytes, MultipartError> {
        self.parts.finish(&mut |_| {}).map(|()| Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(body: &[u8], size: usize) -> Result<Vec<u8>, MultipartError> {
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
    fn a_second_part_is_an_error() {
        let two = b"--B\r\n\r\none\r\n--B\r\n\r\ntwo\r\n--B--\r\n";
        for size in 1..two.len() {
            assert_eq!(passed(two, size), Err(MultipartError::SeveralParts), "{size}");
        }
    }

    #[test]
    fn a_part_that_is_cut_off_is_not_whole() {
        let whole = body(b"a part\r\n--");
        for length in 0..whole.len() - 2 {
            for size in [1, 7, 100] {
                assert_eq!(passed(&whole[..length], size), Err(MultipartError::Incomplete), "{length}");
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
