//! The output for a chunk of text in which parts are replaced.

use bytes::{Bytes, BytesMut};

/// The output of one chunk. The chunk is not copied unless a part of it is replaced or other bytes precede it.
pub(crate) struct Output<'a> {
    pub(crate) chunk: &'a Bytes,
    /// Bytes that precede the chunk, and the part of the chunk that was copied.
    pub(crate) written: BytesMut,
    /// The position up to which the chunk was copied.
    pub(crate) position: usize,
}

impl Output<'_> {
    /// Replaces the `length` bytes of the chunk at the position `start`.
    pub(crate) fn replace(&mut self, start: usize, length: usize, replacement: &[u8]) {
        if self.position == 0 {
            self.written.reserve(self.chunk.len() + self.chunk.len() / 8 + replacement.len());
        }
        self.written.extend_from_slice(self.chunk.get(self.position..start).unwrap_or_default());
        self.written.extend_from_slice(replacement);
        self.position = start + length;
    }

    /// Returns the output for the chunk up to the position `end`.
    pub(crate) fn take(self, end: usize) -> Bytes {
        if self.written.is_empty() { self.chunk.slice(self.position..end) } else { self.write(end).freeze() }
    }

    /// Returns a copy of the output for the chunk up to the position `end`, to which the output for other bytes can be appended.
    pub(crate) fn write(mut self, end: usize) -> BytesMut {
        self.written.extend_from_slice(self.chunk.get(self.position..end).unwrap_or_default());
        self.written
    }
}
