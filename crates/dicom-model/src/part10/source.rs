//! The source of an object's bytes: a file in memory, whose values are slices of it, or any reader, of which only the requested
//! bytes are in memory. A declared length never causes an allocation before the bytes arrive. This module does not know the
//! encoding of elements.

use super::ReadError;
use bytes::Bytes;
use std::io::{self, Read};

/// Maximum number of bytes that can be peeked: the longest header of an element (PS3.5 7.1.2).
pub(super) const LOOKAHEAD: usize = 12;

/// Bytes that are read once, in their order.
pub(super) trait Source {
    /// Returns the number of bytes read so far.
    fn position(&self) -> u64;

    /// Returns the next bytes, at most [`LOOKAHEAD`], without consuming them; fewer at the end of the source.
    fn peek(&mut self, count: usize) -> Result<&[u8], ReadError>;

    /// Skips `length` bytes. Fails if there are fewer.
    fn skip(&mut self, length: u64) -> Result<(), ReadError>;

    /// Reads `length` bytes. Fails if there are fewer.
    fn take_bytes(&mut self, length: u64) -> Result<Bytes, ReadError>;
}

impl<S: Source> Source for &mut S {
    fn position(&self) -> u64 {
        (**self).position()
    }

    fn peek(&mut self, count: usize) -> Result<&[u8], ReadError> {
        (**self).peek(count)
    }

    fn skip(&mut self, length: u64) -> Result<(), ReadError> {
        (**self).skip(length)
    }

    fn take_bytes(&mut self, length: u64) -> Result<Bytes, ReadError> {
        (**self).take_bytes(length)
    }
}

/// Bytes in memory.
#[derive(Debug)]
pub(super) struct InMemory {
    bytes: Bytes,
    position: usize,
}

impl InMemory {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    /// Returns the bytes that are not read yet.
    pub(super) fn rest(&self) -> Bytes {
        self.bytes.slice(self.position..)
    }

    fn end_of(&self, length: u64) -> Result<usize, ReadError> {
        let end = usize::try_from(length).ok().and_then(|length| self.position.checked_add(length));
        end.filter(|end| *end <= self.bytes.len()).ok_or(ReadError::Truncated)
    }
}

impl Source for InMemory {
    fn position(&self) -> u64 {
        self.position as u64
    }

    fn peek(&mut self, count: usize) -> Result<&[u8], ReadError> {
        Ok(&self.bytes[self.position..self.bytes.len().min(self.position + count)])
    }

    fn skip(&mut self, length: u64) -> Result<(), ReadError> {
        self.position = self.end_of(length)?;
        Ok(())
    }

    fn take_bytes(&mut self, length: u64) -> Result<Bytes, ReadError> {
        let end = self.end_of(length)?;
        let bytes = self.bytes.slice(self.position..end);
        self.position = end;
        Ok(bytes)
    }
}

/// Bytes of a reader, read on demand.
#[derive(Debug)]
pub(super) struct Streamed<R> {
    inner: R,
    /// A buffer for bytes that were peeked and not yet consumed.
    lookahead: [u8; LOOKAHEAD],
    /// The index of the first byte in `lookahead` that is not consumed; `end` is the index after the last.
    begin: usize,
    end: usize,
    position: u64,
    /// Total number of bytes, if known.
    size: Option<u64>,
}

impl<R: Read> Streamed<R> {
    pub(super) fn new(inner: R, size: Option<u64>) -> Self {
        Self { inner, lookahead: [0; LOOKAHEAD], begin: 0, end: 0, position: 0, size }
    }

    /// Replaces the inner reader by the result of `wrap`.
    pub(super) fn map<T>(self, wrap: impl FnOnce(R) -> T) -> Streamed<T> {
        let Self { inner, lookahead, begin, end, position, size } = self;
        Streamed { inner: wrap(inner), lookahead, begin, end, position, size }
    }

    /// Returns the bytes that were peeked and not consumed, and the inner reader.
    pub(super) fn into_parts(self) -> (Vec<u8>, R) {
        (self.lookahead[self.begin..self.end].to_vec(), self.inner)
    }

    /// Fails if the total size is known and fewer than `length` bytes remain.
    pub(super) fn check_remaining(&self, length: u64) -> Result<(), ReadError> {
        match self.size {
            Some(size) if length > size.saturating_sub(self.position) => Err(ReadError::Truncated),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let peeked = &self.lookahead[self.begin..self.end];
        let length = if peeked.is_empty() {
            self.inner.read(buffer)?
        } else {
            let length = peeked.len().min(buffer.len());
            buffer[..length].copy_from_slice(&peeked[..length]);
            self.begin += length;
            length
        };
        self.position += length as u64;
        Ok(length)
    }
}

impl<R: Read> Source for Streamed<R> {
    fn position(&self) -> u64 {
        self.position
    }

    fn peek(&mut self, count: usize) -> Result<&[u8], ReadError> {
        if self.begin > 0 {
            self.lookahead.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let count = count.min(LOOKAHEAD);
        while self.end < count {
            match self.inner.read(&mut self.lookahead[self.end..count]) {
                Ok(0) => break,
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(&self.lookahead[..self.end.min(count)])
    }

    fn skip(&mut self, length: u64) -> Result<(), ReadError> {
        let peeked = (self.end - self.begin) as u64;
        if length <= peeked {
            self.begin += usize::try_from(length).unwrap_or_default();
            self.position += length;
            return Ok(());
        }
        self.check_remaining(length)?;
        let skipped = io::copy(&mut Read::take(&mut *self, length), &mut io::sink())?;
        if skipped == length { Ok(()) } else { Err(ReadError::Truncated) }
    }

    fn take_bytes(&mut self, length: u64) -> Result<Bytes, ReadError> {
        self.check_remaining(length)?;
        let mut bytes = Vec::new();
        Read::take(&mut *self, length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes.into()) } else { Err(ReadError::Truncated) }
    }
}
