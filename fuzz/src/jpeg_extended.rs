//! Frames of Extended JPEG with 12 bits (ITU-T T.81).

use dicom_codecs::Codec;

use crate::frame;

/// SOF1: extended sequential DCT, Huffman coding.
const EXTENDED: &[u8] = &[0xC1];

/// Checks one frame with its attributes. Streams of 8 bits are skipped, because an external crate decodes them.
pub fn check(data: &[u8]) {
    let Some((layout, stream)) = frame::split(data) else { return };
    if frame::precision(stream, EXTENDED) == Some(12) {
        frame::check(Codec::Jpeg, stream, &layout, 12);
    }
}
