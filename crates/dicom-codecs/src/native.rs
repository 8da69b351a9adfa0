//! Decodes native frames: uncompressed samples (PS3.5 8.1.1) of 1, 8, 16 or 32 bits.

use crate::{ByteOrder, CodecError, FrameLayout, PhotometricInterpretation, Samples};

/// Decodes the frame that begins `bit_offset` bits into `bytes`, and returns its samples.
pub(crate) fn decode(
    bytes: &[u8],
    bit_offset: u32,
    order: ByteOrder,
    layout: &FrameLayout,
) -> Result<Samples, CodecError> {
    let first_bit = bit_offset as usize;
    let end_bit = first_bit + stored_sample_count(layout) * layout.bits_allocated as usize;
    if end_bit.div_ceil(8) > readable_length(bytes, order) {
        return Err(CodecError::TooShort);
    }
    let (first_byte, end_byte) = (first_bit / 8, end_bit / 8);
    let is_little = order == ByteOrder::LittleEndian;
    let read_u16 =
        |bytes: &[u8; 2]| if is_little { u16::from_le_bytes(*bytes) } else { u16::from_be_bytes(*bytes) };
    let read_u32 =
        |bytes: &[u8; 4]| if is_little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) };
    let is_swapped = order == ByteOrder::BigEndianWords;
    match layout.bits_allocated {
        1 => {
            let byte = |index: usize| bytes[if is_swapped { index ^ 1 } else { index }];
            Ok(Samples::U16(
                (first_bit..end_bit).map(|bit| u16::from(byte(bit / 8) >> (bit % 8) & 1)).collect(),
            ))
        }
        8 if is_swapped => {
            arrange_by_index(|index| bytes[(first_byte + index) ^ 1].into(), layout).map(Samples::U16)
        }
        8 => arrange(&bytes[first_byte..end_byte], |byte| u16::from(*byte), layout).map(Samples::U16),
        16 => arrange(bytes[first_byte..end_byte].as_chunks().0, read_u16, layout).map(Samples::U16),
        _ => arrange(bytes[first_byte..end_byte].as_chunks().0, read_u32, layout).map(Samples::U32),
    }
}

/// Returns the number of bytes that can be read; only complete words if they are big-endian.
fn readable_length(bytes: &[u8], order: ByteOrder) -> usize {
    if order == ByteOrder::BigEndianWords { bytes.len() & !1 } else { bytes.len() }
}

/// Returns the number of stored samples: two pixels of `YBR_FULL_422` share their chrominance.
fn stored_sample_count(layout: &FrameLayout) -> usize {
    if layout.photometric_interpretation == PhotometricInterpretation::YbrFull422 {
        layout.pixel_count() * 2
    } else {
        layout.sample_count()
    }
}

/// Returns the samples pixel by pixel, read from their stored form.
fn arrange<S, T>(stored: &[S], read: impl Fn(&S) -> T, layout: &FrameLayout) -> Result<Vec<T>, CodecError> {
    if layout.is_planar || layout.photometric_interpretation == PhotometricInterpretation::YbrFull422 {
        return arrange_by_index(|index| read(&stored[index]), layout);
    }
    Ok(stored.iter().map(read).collect())
}

/// Returns the samples pixel by pixel; `stored` reads the sample with this index in the order in which they are stored.
fn arrange_by_index<T>(stored: impl Fn(usize) -> T, layout: &FrameLayout) -> Result<Vec<T>, CodecError> {
    let (pixel_count, sample_count) = (layout.pixel_count(), layout.sample_count());
    let mut samples = Vec::with_capacity(sample_count);
    if layout.photometric_interpretation == PhotometricInterpretation::YbrFull422 {
        // Two pixels are stored as Y Y Cb Cr, and share Cb and Cr (PS3.3 C.7.6.3.1.2).
        if layout.columns % 2 == 1 {
            return Err(CodecError::ContradictoryAttributes);
        }
        for first in (0..pixel_count * 2).step_by(4) {
            samples.extend([0, 2, 3, 1, 2, 3].map(|index| stored(first + index)));
        }
    } else if layout.is_planar {
        samples.extend((0..sample_count).map(|index| {
            stored(index % layout.samples_per_pixel * pixel_count + index / layout.samples_per_pixel)
        }));
    } else {
        samples.extend((0..sample_count).map(stored));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImagePixel;
    use crate::frame::tests::gray;

    fn words(samples: Result<Samples, CodecError>) -> Vec<u16> {
        match samples.unwrap() {
            Samples::U16(words) => words,
            Samples::U32(_) => panic!("samples of 32 bits"),
        }
    }

    fn color(photometric_interpretation: PhotometricInterpretation, columns: u16) -> ImagePixel {
        ImagePixel { samples_per_pixel: 3, photometric_interpretation, ..gray(1, columns, 8, 8) }
    }

    const LITTLE: ByteOrder = ByteOrder::LittleEndian;

    #[test]
    fn a_frame_of_single_bits_begins_at_any_bit_and_the_lowest_bit_is_first() {
        let layout = FrameLayout::new(&gray(1, 5, 1, 1)).unwrap();
        assert_eq!(words(decode(&[0b1101_0110], 0, LITTLE, &layout)), [0, 1, 1, 0, 1]);
        assert_eq!(words(decode(&[0b0100_0000, 0b101], 5, LITTLE, &layout)), [0, 1, 0, 1, 0]);
        let samples = decode(&[0b101, 0b0100_0000], 5, ByteOrder::BigEndianWords, &layout);
        assert_eq!(words(samples), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn bytes_of_big_endian_words_are_swapped_in_pairs() {
        let layout = FrameLayout::new(&gray(1, 3, 8, 8)).unwrap();
        assert_eq!(words(decode(&[2, 1, 9, 3], 0, ByteOrder::BigEndianWords, &layout)), [1, 2, 3]);
        assert_eq!(words(decode(&[2, 1, 4, 3], 8, ByteOrder::BigEndianWords, &layout)), [2, 3, 4]);
        assert_eq!(words(decode(&[1, 2, 3], 0, ByteOrder::BigEndian, &layout)), [1, 2, 3]);
        assert_eq!(decode(&[2, 1, 3], 0, ByteOrder::BigEndianWords, &layout), Err(CodecError::TooShort));
    }

    #[test]
    fn numbers_are_read_in_their_byte_order() {
        let layout = FrameLayout::new(&gray(1, 2, 16, 16)).unwrap();
        assert_eq!(words(decode(&[1, 2, 3, 4], 0, LITTLE, &layout)), [0x0201, 0x0403]);
        assert_eq!(words(decode(&[1, 2, 3, 4], 0, ByteOrder::BigEndian, &layout)), [0x0102, 0x0304]);
        let layout = FrameLayout::new(&gray(1, 1, 32, 32)).unwrap();
        assert_eq!(decode(&[1, 2, 3, 4], 0, LITTLE, &layout), Ok(Samples::U32(vec![0x0403_0201])));
        let samples = decode(&[1, 2, 3, 4], 0, ByteOrder::BigEndianWords, &layout);
        assert_eq!(samples, Ok(Samples::U32(vec![0x0102_0304])));
    }

    #[test]
    fn samples_are_arranged_pixel_by_pixel() {
        let planes = ImagePixel { is_planar: true, ..color(PhotometricInterpretation::Rgb, 2) };
        let layout = FrameLayout::new(&planes).unwrap();
        assert_eq!(words(decode(&[1, 2, 3, 4, 5, 6], 0, LITTLE, &layout)), [1, 3, 5, 2, 4, 6]);
        let layout = FrameLayout::new(&color(PhotometricInterpretation::YbrFull422, 2)).unwrap();
        assert_eq!(words(decode(&[1, 2, 3, 4], 0, LITTLE, &layout)), [1, 3, 4, 2, 3, 4]);
        let odd = FrameLayout::new(&color(PhotometricInterpretation::YbrFull422, 3)).unwrap();
        assert_eq!(decode(&[1; 9], 0, LITTLE, &odd), Err(CodecError::ContradictoryAttributes));
    }

    #[test]
    fn a_truncated_frame_is_rejected_and_not_padded() {
        for (bits, frame_length) in [(1, 1), (8, 4), (16, 8), (32, 16)] {
            let layout = FrameLayout::new(&gray(2, 2, bits, bits)).unwrap();
            let bytes = vec![0xFF; frame_length];
            assert_eq!(decode(&bytes, 0, LITTLE, &layout).unwrap().len(), 4);
            assert_eq!(decode(&bytes[1..], 0, LITTLE, &layout), Err(CodecError::TooShort), "{bits}");
            assert_eq!(decode(&bytes, 5, LITTLE, &layout), Err(CodecError::TooShort), "{bits}");
        }
    }
}
