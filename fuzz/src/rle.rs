//! Frames of RLE Lossless (PS3.5 G): what is decoded is what a naive reading of the annex finds.

use dicom_codecs::Codec;

use crate::frame;

/// Checks one frame with its attributes.
pub fn check(data: &[u8]) {
    let Some((layout, stream)) = frame::split(data) else { return };
    let allocated = u32::from(data[5]);
    let Some(samples) = frame::check(Codec::Rle, stream, &layout, allocated) else { return };
    let bytes = allocated as usize / 8;
    let (pixels, per_pixel) = (layout.pixels(), usize::from(data[4]));
    let planes: Vec<_> = (0..per_pixel * bytes).map(|segment| unpacked(stream, segment, pixels)).collect();
    for (at, sample) in samples.iter().enumerate() {
        let (pixel, plane) = (at / per_pixel, at % per_pixel);
        // The most significant byte comes first.
        let expected = planes[plane * bytes..][..bytes]
            .iter()
            .fold(0, |value, plane| value << 8 | u32::from(plane[pixel]));
        assert_eq!(*sample, expected, "sample {plane} of pixel {pixel}");
    }
}

/// The first `length` bytes of a segment (PS3.5 G.3.2).
fn unpacked(stream: &[u8], segment: usize, length: usize) -> Vec<u8> {
    let field = |index: usize| {
        let bytes = stream[4 * index..][..4].try_into().expect("four bytes");
        u32::from_le_bytes(bytes) as usize
    };
    let mut packed = &stream[field(1 + segment)..];
    let mut unpacked = Vec::new();
    while unpacked.len() < length {
        let (control, rest) = packed.split_first().expect("the segment is long enough");
        let (taken, run) = match *control {
            literal @ 0..=127 => (usize::from(literal) + 1, 1),
            128 => (0, 0),
            repeated => (1, 257 - usize::from(repeated)),
        };
        for byte in &rest[..taken] {
            unpacked.extend(std::iter::repeat_n(*byte, run));
        }
        packed = &rest[taken..];
    }
    unpacked.truncate(length);
    unpacked
}
