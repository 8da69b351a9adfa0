//! Frames of JPEG-LS (ITU-T T.87).

use dicom_codecs::Codec;

use crate::frame;

/// Checks one frame with its attributes.
pub fn check(data: &[u8]) {
    let Some((layout, stream)) = frame::split(data) else { return };
    // SOF55.
    let precision = frame::precision(stream, &[0xF7]);
    frame::check(Codec::JpegLs, stream, &layout, precision.map_or(16, u32::from));
}
