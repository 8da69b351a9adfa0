//! One compressed frame of any codec. Decoding returns an error, or exactly the number of samples that the attributes define; it
//! returns the same result each time, needs no more memory than the codec declares, and does not decode a truncated stream to other
//! samples.
//!
//! An input begins with eight bytes for the attributes: rows and columns (two bytes each, little-endian), samples per pixel, bits
//! allocated, bits stored, and a byte whose lowest bits are Pixel Representation and Planar Configuration. The bit stream follows.

use dicom_codecs::{
    Codec, CodecError, DecodedFrame, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation,
    Samples,
};

use crate::chunks::RandomNumbers;
use crate::memory;

/// The maximum number of samples of a frame. Larger frames take longer, but test nothing more.
const MAX_SAMPLES: usize = 64 * 1024;

/// The memory in bytes for tables of codes, contexts and lines, which is allocated in addition to the samples.
const TABLES_BYTES: usize = 256 * 1024;

/// Splits an input into the attributes at its beginning and the bit stream.
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
    layout.ok().filter(|layout| layout.sample_count() <= MAX_SAMPLES).map(|layout| (layout, stream))
}

/// Decodes a frame, checks the invariants that every codec has, and returns the samples if the frame can be decoded. `max_bits` is
/// the maximum number of bits of a sample.
pub fn check(codec: Codec, stream: &[u8], layout: &FrameLayout, max_bits: u32) -> Option<Vec<u32>> {
    let decode = |stream: &[u8]| codec.decode(&EncodedFrame::BitStream(stream), layout);
    let decoded = memory::run_within(codec.max_memory(layout) + TABLES_BYTES, || decode(stream));
    assert_eq!(decode(stream), decoded, "the second result of decoding differs from the first");
    let samples = widen_samples(decoded.as_ref().ok()?);
    assert_eq!(samples.len(), layout.sample_count(), "the number of samples does not match the attributes");
    let largest = samples.iter().copied().max().unwrap_or_default();
    assert!(max_bits >= 32 || largest < 1 << max_bits, "the sample {largest} has more than {max_bits} bits");
    let mut numbers = RandomNumbers::from_seed(stream);
    for length in [numbers.below(stream.len() + 1), stream.len() - 1 - numbers.below(stream.len().min(16))] {
        let truncated: Result<DecodedFrame, CodecError> = decode(&stream[..length]);
        assert!(
            truncated.is_err() || truncated == decoded,
            "the first {length} of {} bytes are decoded as another frame",
            stream.len()
        );
    }
    Some(samples)
}

fn widen_samples(frame: &DecodedFrame) -> Vec<u32> {
    match &frame.samples {
        Samples::U16(samples) => samples.iter().copied().map(u32::from).collect(),
        Samples::U32(samples) => samples.clone(),
    }
}

/// Returns the sample precision in the first frame header of a JPEG or JPEG-LS stream that has one of these markers (T.81 B.2.2,
/// T.87 C.2.2).
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
