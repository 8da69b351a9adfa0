//! Reads the bits of a scan: a byte after 0xFF has only seven bits (T.87 A.1, D.1).

use super::MALFORMED;
use crate::CodecError;

/// A reader of the bits of a scan.
#[derive(Debug)]
pub(super) struct JpegLsBits<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The bits that were read from `bytes` and not yet returned: the lowest `buffered_bits` bits of this number.
    buffer: u64,
    buffered_bits: u32,
    /// Whether the last byte was 0xFF.
    is_after_ff: bool,
}

impl<'a> JpegLsBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, buffer: 0, buffered_bits: 0, is_after_ff: false }
    }

    /// Returns the number of bytes that were read.
    pub(super) fn consumed_bytes(&self) -> usize {
        self.position
    }

    /// Reads one bit.
    pub(super) fn read_bit(&mut self) -> Result<u32, CodecError> {
        self.read_bits(1)
    }

    /// Reads `count` bits, at most 32; the first one is the highest.
    pub(super) fn read_bits(&mut self, count: u32) -> Result<u32, CodecError> {
        while self.buffered_bits < count {
            self.fill_buffer()?;
        }
        self.buffered_bits -= count;
        let bits = self.buffer >> self.buffered_bits & ((1 << count) - 1);
        Ok((bits & u64::from(u32::MAX)) as u32)
    }

    /// Reads a unary code: zeros followed by a one. Returns the number of zeros, or an error if there are more than `max`.
    pub(super) fn read_unary(&mut self, max: u32) -> Result<u32, CodecError> {
        let mut zero_count = 0;
        while self.read_bit()? == 0 {
            zero_count += 1;
            if zero_count > max {
                return Err(MALFORMED);
            }
        }
        Ok(zero_count)
    }

    /// Adds the bits of the next byte to the buffer.
    fn fill_buffer(&mut self) -> Result<(), CodecError> {
        let byte = *self.bytes.get(self.position).ok_or(MALFORMED)?;
        // A marker ends the scan.
        if self.is_after_ff && byte >= 0x80 {
            return Err(MALFORMED);
        }
        let width = if self.is_after_ff { 7 } else { 8 };
        self.buffer = (self.buffer << width) | u64::from(byte);
        self.buffered_bits += width;
        self.is_after_ff = byte == 0xFF;
        self.position += 1;
        Ok(())
    }
}
