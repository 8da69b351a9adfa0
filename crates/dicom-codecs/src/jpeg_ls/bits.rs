//! Reads the bits of a scan: a byte after 0xFF has only seven bits (T.87 A.1, D.1).

use super::BROKEN;
use crate::CodecError;

#[derive(Debug)]
pub(super) struct JpegLsBits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Bits that were taken from `bytes` and not yet read, at its lower end.
    held: u64,
    count: u32,
    after_ones: bool,
}

impl<'a> JpegLsBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, held: 0, count: 0, after_ones: false }
    }

    /// The number of bytes of the scan.
    pub(super) fn consumed(&self) -> usize {
        self.at
    }

    pub(super) fn bit(&mut self) -> Result<u32, CodecError> {
        self.read(1)
    }

    /// The next `count` bits, at most 32; the first one is the highest.
    pub(super) fn read(&mut self, count: u32) -> Result<u32, CodecError> {
        while self.count < count {
            self.take()?;
        }
        self.count -= count;
        let bits = self.held >> self.count & ((1 << count) - 1);
        Ok((bits & u64::from(u32::MAX)) as u32)
    }

    /// The number of zeros before a one, which is read too; an error if there are more than `max`.
    pub(super) fn zeros(&mut self, max: u32) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > max {
                return Err(BROKEN);
            }
        }
        Ok(zeros)
    }

    fn take(&mut self) -> Result<(), CodecError> {
        let byte = *self.bytes.get(self.at).ok_or(BROKEN)?;
        // A marker: the scan ends here.
        if self.after_ones && byte >= 0x80 {
            return Err(BROKEN);
        }
        let width = if self.after_ones { 7 } else { 8 };
        self.held = (self.held << width) | u64::from(byte);
        self.count += width;
        self.after_ones = byte == 0xFF;
        self.at += 1;
        Ok(())
    }
}
