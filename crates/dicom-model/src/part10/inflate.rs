//! Inflates a deflated data set while it is read (PS3.5 A.5, RFC 1951). A truncated stream is an error, not the end of the data
//! set. This module does not limit the inflated size: the caller does.

use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use std::io::{self, Read};

/// The size of the input buffer in bytes.
const BUFFER_SIZE: usize = 16 * 1024;

/// A reader of the inflated bytes of `R`.
pub(super) struct Inflated<R> {
    deflated: R,
    state: Decompress,
    /// Deflated bytes, of which `begin..end` are not inflated yet.
    buffer: Box<[u8]>,
    begin: usize,
    end: usize,
    is_done: bool,
}

impl<R> fmt::Debug for Inflated<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflated").field("is_done", &self.is_done).finish_non_exhaustive()
    }
}

impl<R: Read> Inflated<R> {
    pub(super) fn new(deflated: R) -> Self {
        let buffer = vec![0; BUFFER_SIZE].into_boxed_slice();
        Self { deflated, state: Decompress::new(false), buffer, begin: 0, end: 0, is_done: false }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.is_done && !buffer.is_empty() {
            if self.begin == self.end {
                (self.begin, self.end) = (0, self.deflated.read(&mut self.buffer)?);
            }
            let (total_in, total_out) = (self.state.total_in(), self.state.total_out());
            let input = &self.buffer[self.begin..self.end];
            let status = self.state.decompress(input, buffer, FlushDecompress::None);
            let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.begin += usize::try_from(self.state.total_in() - total_in).unwrap_or_default();
            self.is_done = status == Status::StreamEnd;
            let inflated_length = self.state.total_out() - total_out;
            if inflated_length > 0 {
                return Ok(usize::try_from(inflated_length).unwrap_or_default());
            }
            if input.is_empty() && !self.is_done {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_stream_is_inflated_up_to_its_end_and_a_truncated_stream_is_an_error() {
        let data: Vec<u8> = (0..100_000_u32).map(|number| (number % 251).to_le_bytes()[0]).collect();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&data).unwrap();
        let mut deflated = encoder.finish().unwrap();
        for length in 0..deflated.len() {
            let outcome = Inflated::new(&deflated[..length]).read_to_end(&mut Vec::new());
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        deflated.extend([0; 3]);
        let mut inflated = Vec::new();
        Inflated::new(&deflated[..]).read_to_end(&mut inflated).unwrap();
        assert!(inflated == data);
    }
}
