//! Native pixel data (PS3.5 8.1.1, 8.2): locates each frame in the value. This module does not decode frames and does not know
//! about files.
//!
//! Frames follow each other without padding, so a frame with one bit per pixel can begin inside a byte. The value must be long
//! enough for all frames: otherwise one of the attributes is wrong, and no frame can be located reliably.

use dicom_core::VR;

use crate::data_set::{ByteRange, DataSet, word_size};
use crate::tags;

/// Returns the size in bytes of the words that are swapped when the byte order of pixel data changes. For pixel cells of more than
/// 8 bits it is the size of a cell, regardless of the value representation. Smaller cells are in words of the size that the value
/// representation defines (PS3.5 8.1.1).
pub fn pixel_word_size(vr: VR, bits_allocated: u16) -> usize {
    if bits_allocated > 8 { usize::from(bits_allocated.div_ceil(8)) } else { word_size(vr) }
}

/// The attributes that determine the size of a frame (PS3.3 C.7.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameAttributes<'a> {
    /// Rows (0028,0010).
    pub rows: u16,
    /// Columns (0028,0011).
    pub columns: u16,
    /// Samples per Pixel (0028,0002).
    pub samples_per_pixel: u16,
    /// Bits Allocated (0028,0100).
    pub bits_allocated: u16,
    /// Photometric Interpretation (0028,0004), empty if it is missing.
    pub photometric_interpretation: &'a str,
}

impl<'a> FrameAttributes<'a> {
    /// Reads the attributes of an image; `None` if Rows, Columns or Bits Allocated is missing.
    pub fn from_data_set(data: &'a DataSet) -> Option<Self> {
        Some(Self {
            rows: data.word(tags::ROWS)?,
            columns: data.word(tags::COLUMNS)?,
            samples_per_pixel: data.word(tags::SAMPLES_PER_PIXEL).unwrap_or(1),
            bits_allocated: data.word(tags::BITS_ALLOCATED)?,
            photometric_interpretation: data.text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default(),
        })
    }

    /// Returns the size of a frame in bits.
    fn bits(&self) -> u64 {
        // Two pixels share their chrominance, which makes two samples per pixel on average (PS3.3 C.7.6.3.1.2).
        let is_subsampled = self.photometric_interpretation.ends_with("_422");
        let samples = if is_subsampled { 2 } else { self.samples_per_pixel };
        [self.rows, self.columns, samples, self.bits_allocated].map(u64::from).iter().product()
    }
}

/// Error: the value is too short for its frames, or its frames are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its pixel data does not contain the frames that its attributes describe")]
pub struct WrongLength;

/// The frames of native pixel data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeFrames {
    /// Size of a frame in bits.
    bits: u64,
    count: usize,
    word_size: u64,
}

/// The location of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeFrame {
    /// The whole words that contain the frame. The offset is relative to the value of Pixel Data.
    pub range: ByteRange,
    /// Number of bits that precede the frame in the range, after its words were converted to little-endian order.
    pub bit_offset: u64,
    /// Size of the frame in bits.
    pub bits: u64,
}

impl NativeFrame {
    /// Returns the bytes of the frame, which begins with their first bit (PS3.5 8.2). `bytes` are the bytes of the range, after its
    /// words were converted to little-endian order. Unused bits of the last byte are 0.
    pub fn extract(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let size = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
        let (first, shift) = (size(self.bit_offset / 8).min(bytes.len()), self.bit_offset % 8);
        if first > 0 {
            bytes.drain(..first);
        }
        if shift > 0 {
            for index in 0..bytes.len() {
                let next = bytes.get(index + 1).copied().unwrap_or_default();
                bytes[index] = (u16::from_le_bytes([bytes[index], next]) >> shift).to_le_bytes()[0];
            }
        }
        bytes.truncate(size(self.bits.div_ceil(8)));
        // The remaining bits of the last byte belong to the next frame.
        if let Some(last) = bytes.last_mut()
            && !self.bits.is_multiple_of(8)
        {
            *last &= (1 << (self.bits % 8)) - 1;
        }
        bytes
    }
}

impl NativeFrames {
    /// Locates `count` frames in a value of `length` bytes. `word_size` is the size in bytes of the words whose bytes must be
    /// swapped; 1 if none must be.
    pub fn new(
        attributes: &FrameAttributes<'_>,
        count: usize,
        length: u64,
        word_size: usize,
    ) -> Result<Self, WrongLength> {
        let (bits, word_size) = (attributes.bits(), word_size.max(1) as u64);
        let required_length =
            bits.checked_mul(count as u64).map(|bits| bits.div_ceil(8).next_multiple_of(word_size));
        match required_length {
            Some(1..) if required_length <= Some(length) => Ok(Self { bits, count, word_size }),
            _ => Err(WrongLength),
        }
    }

    /// Returns the number of frames.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the frame with this index, starting at 0.
    pub fn frame(&self, index: usize) -> Option<NativeFrame> {
        if index >= self.count {
            return None;
        }
        let start = self.bits * index as u64;
        let offset = start / 8 / self.word_size * self.word_size;
        let end = (start + self.bits).div_ceil(8).next_multiple_of(self.word_size);
        let range = ByteRange { offset, length: end - offset };
        Some(NativeFrame { range, bit_offset: start - offset * 8, bits: self.bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAY: FrameAttributes<'_> = FrameAttributes {
        rows: 3,
        columns: 3,
        samples_per_pixel: 1,
        bits_allocated: 8,
        photometric_interpretation: "MONOCHROME2",
    };

    fn frame_ranges(frames: NativeFrames) -> Vec<(u64, u64, u64)> {
        let frame = |index| frames.frame(index);
        let frames = (0..frames.count()).filter_map(frame);
        frames.map(|frame| (frame.range.offset, frame.range.length, frame.bit_offset)).collect()
    }

    #[test]
    fn frames_follow_each_other_without_padding() {
        let frames = NativeFrames::new(&GRAY, 3, 28, 1).unwrap();
        assert_eq!(frame_ranges(frames), [(0, 9, 0), (9, 9, 0), (18, 9, 0)]);
        assert_eq!(frames.frame(3), None);
        let bits = FrameAttributes { bits_allocated: 1, ..GRAY };
        let frames = NativeFrames::new(&bits, 3, 4, 1).unwrap();
        assert_eq!(frame_ranges(frames), [(0, 2, 0), (1, 2, 1), (2, 2, 2)]);
        assert_eq!(frames.frame(0).unwrap().bits, 9);
    }

    #[test]
    fn frames_that_need_swapping_are_located_in_whole_words() {
        let frames = NativeFrames::new(&GRAY, 3, 28, 2).unwrap();
        assert_eq!(frame_ranges(frames), [(0, 10, 0), (8, 10, 8), (18, 10, 0)]);
        assert_eq!(NativeFrames::new(&GRAY, 3, 27, 2), Err(WrongLength));
    }

    #[test]
    fn a_frame_of_bits_is_extracted_from_its_bytes() {
        let frames = NativeFrames::new(&FrameAttributes { bits_allocated: 1, ..GRAY }, 3, 4, 1).unwrap();
        // Frames of nine pixels: all black, all white, and alternating, which begins with white.
        let bytes = [0b0000_0000, 0b1111_1110, 0b0101_0111, 0b0000_0101];
        let extract = |index: usize| {
            let frame = frames.frame(index).unwrap();
            let start = usize::try_from(frame.range.offset).unwrap();
            let end = start + usize::try_from(frame.range.length).unwrap();
            frame.extract(bytes[start..end].to_vec())
        };
        assert_eq!(extract(0), [0, 0]);
        assert_eq!(extract(1), [0b1111_1111, 1]);
        assert_eq!(extract(2), [0b0101_0101, 1]);
    }

    #[test]
    fn subsampled_chrominance_makes_two_samples_per_pixel() {
        let color = FrameAttributes {
            columns: 4,
            samples_per_pixel: 3,
            photometric_interpretation: "YBR_FULL_422",
            ..GRAY
        };
        assert_eq!(frame_ranges(NativeFrames::new(&color, 2, 48, 1).unwrap()), [(0, 24, 0), (24, 24, 0)]);
    }

    #[test]
    fn values_too_short_for_all_frames_are_rejected() {
        assert!(NativeFrames::new(&GRAY, 3, 27, 1).is_ok());
        assert_eq!(NativeFrames::new(&GRAY, 3, 26, 1), Err(WrongLength));
        assert_eq!(NativeFrames::new(&FrameAttributes { rows: 0, ..GRAY }, 1, 100, 1), Err(WrongLength));
        let huge = FrameAttributes {
            rows: u16::MAX,
            columns: u16::MAX,
            samples_per_pixel: u16::MAX,
            bits_allocated: u16::MAX,
            ..GRAY
        };
        assert_eq!(NativeFrames::new(&huge, usize::MAX, u64::MAX, 1), Err(WrongLength));
    }
}
