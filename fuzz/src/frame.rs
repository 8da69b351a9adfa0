//! One compressed frame, whatever the codec: an error, or exactly as many samples as its attributes say, the same each time, in no more
//! memory than is announced; and none of them invented if the stream is truncated.
//!
//! An input begins with eight bytes for the attributes: rows and columns (two bytes each, little endian), samples per pixel, bits
//! allocated, bits stored, and a byte whose lowest bits are Pixel Representation and Planar Configuration. The bit stream follows.

use dicom_codecs::{
    Codec, CodecError, DecodedFrame, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation,
    Samples,
};

use crate::chunks::Numbers;
use crate::memory;

/// Frames with more samples take long, and have nothing that smaller ones have not.
const MAX_SAMPLES: usize = 64 * 1024;

/// What is allocated besides samples: tables of codes, contexts, lines.
const TABLES: usize = 256 * 1024;

/// The attributes at the beginning of an input, and the bit stream behind them.
pub fn split(data: &[u8]) -> Option<(FrameLayout, &[u8])> {
    let (&[rows, rows_high, columns, columns_high, samples, allocated, stored, flags], stream) =
        data.split_first_chunk()?;
    let layout = FrameLayout::new(&ImagePixel {
        rows: u16::from_le_bytes([rows, rows_high]),
        columns: u16::from_le_bytes([columns, columns_high]),
        samples_per_pixel: samples.into(),
        photometric_interpretation: if samples == 3 {
            PhotometricInterpretation::Rgb
        } else {
            PhotometricInterpretation::Monochrome2
        },
        bits_allocated: allocated.into(),
        bits_stored: stored.into(),
        high_bit: u16::from(stored).saturating_sub(1),
        is_signed: flags & 1 == 1,
        is_planar: flags & 2 == 2,
    });
    layout.ok().filter(|layout| layout.values() <= MAX_SAMPLES).map(|layout| (layout, stream))
}

/// Decodes a frame, and checks all that holds for every codec; `bits` is how many bits a sample may have. The samples, if it has any.
pub fn check(codec: Codec, stream: &[u8], layout: &FrameLayout, bits: u32) -> Option<Vec<u32>> {
    let decode = |stream: &[u8]| codec.decode(&EncodedFrame::BitStream(stream), layout);
    let decoded = memory::within(codec.memory(layout) + TABLES, || decode(stream));
    assert_eq!(decode(stream), decoded, "a frame is decoded differently the second time");
    let samples = samples(decoded.as_ref().ok()?);
    assert_eq!(samples.len(), layout.values(), "the frame has another size than its attributes say");
    let largest = samples.iter().copied().max().unwrap_or_default();
    assert!(bits >= 32 || largest < 1 << bits, "a sample of {largest} has more than {bits} bits");
    let mut numbers = Numbers::of(stream);
    for length in [numbers.below(stream.len() + 1), stream.len() - 1 - numbers.below(stream.len().min(16))] {
        let of_part: Result<DecodedFrame, CodecError> = decode(&stream[..length]);
        assert!(
            of_part.is_err() || of_part == decoded,
            "{length} bytes of {} are decoded as another frame",
            stream.len()
        );
    }
    Some(samples)
}

fn samples(frame: &DecodedFrame) -> Vec<u32> {
    match &frame.samples {
        Samples::U16(samples) => samples.iter().copied().map(u32::from).collect(),
        Samples::U32(samples) => samples.clone(),
    }
}

/// The precision that the first frame header of a JPEG or JPEG-LS stream with one of these markers tells (T.81 B.2.2, T.87 C.2.2).
pub fn precision(stream: &[u8], markers: &[u8]) -> Option<u8> {
    let mut rest = stream.strip_prefix(&[0xFF, 0xD8])?;
    loop {
        let &[0xFF, marker, high, low, ..] = rest else { return None };
        if marker == 0xFF {
            rest = &rest[1..];
            continue;
        }
        if markers.contains(&marker) {
            return rest.get(4).copied();
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low])).max(2)..)?;
    }
}
