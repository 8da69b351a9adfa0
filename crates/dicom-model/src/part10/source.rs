//! Where the bytes of an object come from: a file that is in memory, whose values are slices of it, or anything that can be
//! read, of which only what is asked for is held. What a length claims costs nothing until the bytes are there.

use super::ReadError;
use bytes::Bytes;
use std::io::{self, Read};

/// The longest header of an element (PS3.5 7.1.2).
pub(super) const LOOKAHEAD: usize = 12;

/// Bytes that are read once, from the first to the last.
pub(super) trait Source {
    /// How many bytes were read.
    fn position(&self) -> u64;

    /// The next bytes, at most [`LOOKAHEAD`]; fewer where the source ends.
    fn peek(&mut self, count: usize) -> Result<&[u8], ReadError>;

    /// Steps over bytes; an error when there are fewer.
    fn skip(&mut self, length: u64) -> Result<(), ReadError>;

    /// Reads bytes; an error when there are fewer.
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
    at: usize,
}

impl InMemory {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// What was not read.
    pub(super) fn rest(&self) -> Bytes {
        self.bytes.slice(self.at..)
    }

    fn end_of(&self, length: u64) -> Result<usize, ReadError> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        end.filter(|end| *end <= self.bytes.len()).ok_or(ReadError::Truncated)
    }
}

impl Source for InMemory {
    fn position(&self) -> u64 {
        self.at as u64
    }

    fn peek(&mut self, count: usize) -> Result<&[u8], ReadError> {
        Ok(&self.bytes[self.at..self.bytes.len().min(self.at + count)])
    }

    fn skip(&mut self, length: u64) -> Result<(), ReadError> {
        self.at = self.end_of(length)?;
        Ok(())
    }

    fn take_bytes(&mut self, length: u64) -> Result<Bytes, ReadError> {
        let end = self.end_of(length)?;
        let bytes = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(bytes)
    }
}

/// Bytes that are read as they are wanted.
#[derive(Debug)]
pub(super) struct Streamed<R> {
    inner: R,
    /// Bytes that were looked at and not yet read.
    ahead: [u8; LOOKAHEAD],
    begin: usize,
    end: usize,
    position: u64,
    /// How many bytes there are, where that is known.
    size: Option<u64>,
}

impl<R: Read> Streamed<R> {
    pub(super) fn new(inner: R, size: Option<u64>) -> Self {
        Self { inner, ahead: [0; LOOKAHEAD], begin: 0, end: 0, position: 0, size }
    }

    /// The same bytes out of what `wrap` makes of their origin.
    pub(super) fn map<T>(self, wrap: impl FnOnce(R) -> T) -> Streamed<T> {
        let Self { inner, ahead, begin, end, position, size } = self;
        Streamed { inner: wrap(inner), ahead, begin, end, position, size }
    }

    /// What is read out of, and the bytes of it that were only looked at.
    pub(super) fn into_parts(self) -> (Vec<u8>, R) {
        (self.ahead[self.begin..self.end].to_vec(), self.inner)
    }

    /// Whether so many bytes may follow.
    pub(super) fn may_hold(&self, length: u64) -> Result<(), ReadError> {
        match self.size {
            Some(size) if length > size.saturating_sub(self.position) => Err(ReadError::Truncated),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = &self.ahead[self.begin..self.end];
        let length = if ahead.is_empty() {
            self.inner.read(buffer)?
        } else {
            let length = ahead.len().min(buffer.len());
            buffer[..length].copy_from_slice(&ahead[..length]);
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
            self.ahead.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let count = count.min(LOOKAHEAD);
        while self.end < count {
            match self.inner.read(&mut self.ahead[self.end..count]) {
                Ok(0) => break,
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(&self.ahead[..self.end.min(count)])
    }

    fn skip(&mut self, length: u64) -> Result<(), ReadError> {
        let held = (self.end - self.begin) as u64;
        if length <= held {
            self.begin += usize::try_from(length).unwrap_or_default();
            self.position += length;
            return Ok(());
        }
        self.may_hold(length)?;
        let passed = io::copy(&mut Read::take(&mut *self, length), &mut io::sink())?;
        if passed == length { Ok(()) } else { Err(ReadError::Truncated) }
    }

    fn take_bytes(&mut self, length: u64) -> Result<Bytes, ReadError> {
        self.may_hold(length)?;
        let mut bytes = Vec::new();
        Read::take(&mut *self, length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == length { Ok(bytes.into()) } else { Err(ReadError::Truncated) }
    }
}
