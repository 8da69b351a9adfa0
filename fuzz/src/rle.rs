//! Frames of RLE Lossless (PS3.5 Annex G): the decoder returns the same samples as a naive decoder.

use dicom_codecs::Codec;

use crate::frame;

/// Checks one frame with its attributes.
pub fn check(data: &[u8]) {
    let Some((layout, stream)) = frame::split(data) else { return };
    let allocated = u32::from(data[5]);
    let Some(samples) = frame::check(Codec::Rle, stream, &layout, allocated) else { return };
    let sample_size = allocated as usize / 8;
    let (pixel_count, samples_per_pixel) = (layout.pixel_count(), usize::from(data[4]));
    let planes: Vec<_> = (0..samples_per_pixel * sample_size)
        .map(|segment| unpack_segment(stream, segment, pixel_count))
        .collect();
    for (index, sample) in samples.iter().enumerate() {
        let (pixel, component) = (index / samples_per_pixel, index % samples_per_pixel);
        // The most significant byte comes first.
        let expected = planes[component * sample_size..][..sample_size]
            .iter()
            .fold(0, |value, plane| value << 8 | u32::from(plane[pixel]));
        assert_eq!(*sample, expected, "sample {component} of pixel {pixel}");
    }
}

/// Returns the first `length` unpacked bytes of a segment (PS3.5 G.3.2).
fn unpack_segment(stream: &[u8], segment: usize, length: usize) -> Vec<u8> {
    let field = |index: usize| {
        let bytes = stream[4 * index..][..4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let mut packed = &stream[field(1 + segment)..];
    let mut unpacked = Vec::new();
    while unpacked.len() < length {
        let (control, rest) = packed.split_first().expect("the segment is long enough");
        let (byte_count, repeat_count) = match *control {
            literal @ 0..=127 => (usize::from(literal) + 1, 1),
            128 => (0, 0),
            repeated => (1, 257 - usize::from(repeated)),
        };
        for byte in &rest[..byte_count] {
            unpacked.extend(std::iter::repeat_n(*byte, repeat_count));
        }
        packed = &rest[byte_count..];
    }
    unpacked.truncate(length);
    unpacked
}
