//! The bits of a scan: behind a byte of ones comes one of seven bits (T.87 A.1, D.1).

use super::BROKEN;
use crate::CodecError;

#[derive(Debug)]
pub(super) struct JpegLsBits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// JpegLsBits that were taken out of `bytes` and not yet read, in its lower end.
    held: u64,
    count: u32,
    after_ones: bool,
}

impl<'a> JpegLsBits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, held: 0, count: 0, after_ones: false }
    }

    /// How many bytes the scan took.
    pub(super) fn consumed(&self) -> usize {
        self.at
    }

    pub(super) fn bit(&mut self) -> Result<u32, CodecError> {
        self.read(1)
    }

    /// So many bits, 32 at most, the first of them the highest.
    pub(super) fn read(&mut self, count: u32) -> Result<u32, CodecError> {
        while self.count < count {
            self.take()?;
        }
        self.count -= count;
        let bits = self.held >> self.count & ((1 << count) - 1);
        Ok((bits & u64::from(u32::MAX)) as u32)
    }

    /// How many zeros come before a one, which is read too; no more than `most`.
    pub(super) fn zeros(&mut self, most: u32) -> Result<u32, CodecError> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > most {
                return Err(BROKEN);
            }
        }
        Ok(zeros)
    }

    fn take(&mut self) -> Result<(), CodecError> {
        let byte = *self.bytes.get(self.at).ok_or(BROKEN)?;
        // A marker: the scan has no more bits than that.
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
