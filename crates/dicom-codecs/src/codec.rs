//! Chooses the decoder of a transfer syntax, and computes how much memory it needs.

use crate::{
    Cancellation, CodecError, DecodedFrame, EncodedFrame, FrameLayout, jpeg, jpeg_2000, jpeg_ls, native, rle,
};

/// How a transfer syntax encodes frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Uncompressed samples (PS3.5 8.1.1).
    Native,
    /// RLE Lossless (PS3.5 Annex G).
    Rle,
    /// JPEG (ITU-T T.81): Baseline, Extended, Lossless.
    Jpeg,
    /// JPEG-LS (ISO/IEC 14495-1).
    JpegLs,
    /// JPEG 2000 (ITU-T T.800).
    Jpeg2000,
}

impl Codec {
    /// Returns the codec of the transfer syntax with this UID (PS3.5 Annex A); `None` if its frames cannot be decoded.
    pub fn of_transfer_syntax(uid: &str) -> Option<Self> {
        Some(match uid {
            // Implicit VR Little Endian; Explicit VR Little Endian, Deflated, Big Endian.
            "1.2.840.10008.1.2"
            | "1.2.840.10008.1.2.1"
            | "1.2.840.10008.1.2.1.99"
            | "1.2.840.10008.1.2.2" => Self::Native,
            // RLE Lossless.
            "1.2.840.10008.1.2.5" => Self::Rle,
            // JPEG Baseline, Extended, Lossless, Lossless with selection value 1.
            "1.2.840.10008.1.2.4.50"
            | "1.2.840.10008.1.2.4.51"
            | "1.2.840.10008.1.2.4.57"
            | "1.2.840.10008.1.2.4.70" => Self::Jpeg,
            // JPEG-LS Lossless, Near-Lossless.
            "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => Self::JpegLs,
            // JPEG 2000 Lossless, JPEG 2000.
            "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => Self::Jpeg2000,
            _ => return None,
        })
    }

    /// Returns the maximum memory in bytes that decoding a frame needs, including its samples.
    pub fn max_memory(self, layout: &FrameLayout) -> usize {
        let bytes_per_sample = match self {
            Self::Native | Self::Rle | Self::JpegLs if layout.bits_allocated == 32 => 4,
            Self::Native | Self::Rle | Self::JpegLs => 2,
            // Component planes, the coefficients if there are several scans, and the decoded frame.
            Self::Jpeg => 8,
            // Coefficients, wavelet levels and components, all as floating-point numbers.
            Self::Jpeg2000 => 18,
        };
        let working_memory = if self == Self::JpegLs { jpeg_ls::working_memory(layout) } else { 0 };
        layout.sample_count().saturating_mul(bytes_per_sample).saturating_add(working_memory)
    }

    /// Decodes one frame of an image with this layout.
    pub fn decode(self, frame: &EncodedFrame<'_>, layout: &FrameLayout) -> Result<DecodedFrame, CodecError> {
        self.decode_unless_canceled(frame, layout, Cancellation::never())
    }

    /// Decodes like [`decode`](Self::decode), but returns [`CodecError::Canceled`] soon after `cancellation` takes effect. A frame of
    /// JPEG 2000 is always decoded completely.
    pub fn decode_unless_canceled(
        self,
        frame: &EncodedFrame<'_>,
        layout: &FrameLayout,
        cancellation: Cancellation<'_>,
    ) -> Result<DecodedFrame, CodecError> {
        cancellation.check()?;
        let photometric_interpretation = layout.photometric_interpretation;
        let without_conversion = |samples| DecodedFrame { samples, photometric_interpretation };
        match (self, *frame) {
            (Self::Native, EncodedFrame::Native { bytes, bit_offset, byte_order }) => {
                native::decode(bytes, bit_offset, byte_order, layout).map(without_conversion)
            }
            (Self::Rle, EncodedFrame::BitStream(stream)) => {
                rle::decode(stream, layout).map(without_conversion)
            }
            (Self::JpegLs, EncodedFrame::BitStream(stream)) => {
                jpeg_ls::decode(stream, layout, cancellation).map(without_conversion)
            }
            (Self::Jpeg, EncodedFrame::BitStream(stream)) => jpeg::decode(stream, layout, cancellation),
            (Self::Jpeg2000, EncodedFrame::BitStream(stream)) => jpeg_2000::decode(stream, layout),
            _ => Err(CodecError::NotInTransferSyntax),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ByteOrder;
    use crate::frame::tests::gray;

    #[test]
    fn pixel_data_that_is_not_encoded_in_the_transfer_syntax_is_rejected() {
        let layout = FrameLayout::new(&gray(1, 2, 8, 8)).unwrap();
        let native =
            EncodedFrame::Native { bytes: &[1, 2], bit_offset: 0, byte_order: ByteOrder::LittleEndian };
        let stream = EncodedFrame::BitStream(&[1, 2]);
        assert!(Codec::Native.decode(&native, &layout).is_ok());
        assert_eq!(Codec::Native.decode(&stream, &layout), Err(CodecError::NotInTransferSyntax));
        for codec in [Codec::Rle, Codec::Jpeg, Codec::JpegLs, Codec::Jpeg2000] {
            assert_eq!(codec.decode(&native, &layout), Err(CodecError::NotInTransferSyntax));
            assert!(codec.decode(&stream, &layout).is_err());
        }
    }

    #[test]
    fn unsupported_transfer_syntaxes_have_no_codec() {
        // MPEG-4 video, HTJ2K, JPIP, and an invalid UID.
        for uid in ["1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.94", "", "1"] {
            assert_eq!(Codec::of_transfer_syntax(uid), None, "{uid}");
        }
    }
}
