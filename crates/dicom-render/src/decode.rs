//! From the bytes of one frame to its samples.
//!
//! Each decoder reads the size that its stream claims before it makes room for anything, and refuses a stream of another
//! size than the object's own: so a frame never takes more memory than was reckoned with.

mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod native;
mod rle;

use dicom_dictionary_std::uids;

use super::RenderError;
use super::object::BIG_ENDIAN;
use super::pixels::{FrameData, ImagePixelModule, Photometric};
use dicom_model::Uid;

/// The samples of a frame as they are stored, those of each pixel together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Samples {
    /// Of up to 16 bits.
    Words(Vec<u16>),
    /// Of 32 bits.
    U32(Vec<u32>),
}

/// A frame, and what its colours are once they are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) samples: Samples,
    pub(super) photometric: Photometric,
}

/// How a frame is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Native,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
}

impl Coding {
    /// How the transfer syntax `uid` writes frames.
    pub(super) fn of(uid: &str) -> Result<Self, RenderError> {
        Ok(match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN
            | uids::EXPLICIT_VR_LITTLE_ENDIAN
            | BIG_ENDIAN
            | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Self::Native,
            uids::RLE_LOSSLESS => Self::Rle,
            uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEG_LOSSLESS
            | uids::JPEG_LOSSLESS_SV1 => Self::Jpeg,
            uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => Self::JpegLs,
            uids::JPEG2000_LOSSLESS | uids::JPEG2000 => Self::Jpeg2000,
            other => return Err(RenderError::TransferSyntax(known_or_shown(other))),
        })
    }

    /// How many bytes of memory decoding takes for each sample, at most.
    fn bytes_for_a_sample(self, layout: &ImagePixelModule) -> usize {
        match self {
            Self::Native | Self::Rle | Self::JpegLs if layout.bits_allocated == 32 => 4,
            Self::Native | Self::Rle | Self::JpegLs => 2,
            // Planes, coefficients where they come in several scans, and the frame itself.
            Self::Jpeg => 8,
            // Coefficients, the wavelets' steps and components, each as floating point numbers.
            Self::Jpeg2000 => 18,
        }
    }

    /// How many bytes of memory decoding a frame takes at most.
    pub(super) fn memory(self, layout: &ImagePixelModule) -> usize {
        layout.values().saturating_mul(self.bytes_for_a_sample(layout))
    }
}

/// A transfer syntax by name where it has one; what is no UID is not repeated.
fn known_or_shown(uid: &str) -> String {
    if Uid::is_legal(uid) { uid.to_owned() } else { "without a name".to_owned() }
}

/// The samples of one frame.
pub(super) fn decode(
    coding: Coding,
    stretch: &FrameData,
    layout: &ImagePixelModule,
) -> Result<Decoded, RenderError> {
    let as_declared = |samples| Decoded { samples, photometric: layout.photometric };
    let words = |words| Ok(as_declared(Samples::Words(words)));
    match (coding, stretch) {
        (Coding::Native, FrameData::Native { bytes, bit, order }) => {
            Ok(as_declared(native::decode(bytes, *bit, *order, layout)))
        }
        (Coding::Rle, FrameData::Encoded(bytes)) => Ok(as_declared(rle::decode(bytes, layout)?)),
        (Coding::JpegLs, FrameData::Encoded(bytes)) => words(jpeg_ls::decode(bytes, layout)?),
        (Coding::Jpeg, FrameData::Encoded(bytes)) => jpeg::decode(bytes, layout),
        (Coding::Jpeg2000, FrameData::Encoded(bytes)) => jpeg_2000::decode(bytes, layout),
        _ => Err(RenderError::Broken("its pixel data are not in its transfer syntax")),
    }
}
