//! Decodes one frame of DICOM pixel data: from its bytes to its samples.
//!
//! | transfer syntaxes | standard | decoded by |
//! | --- | --- | --- |
//! | native: Implicit and Explicit VR, Little and Big Endian, Deflated | PS3.5 8.1.1, 8.2 | this crate |
//! | RLE Lossless | PS3.5 Annex G | this crate |
//! | JPEG-LS Lossless and Near-Lossless | ISO/IEC 14495-1, ITU-T T.87 | this crate |
//! | JPEG Extended, 12 bits | ITU-T T.81 | this crate |
//! | JPEG Baseline, Extended of 8 bits, Lossless | ITU-T T.81, T.871 | `jpeg-decoder` |
//! | JPEG 2000 | ITU-T T.800 | `hayro-jpeg2000` |
//!
//! PS3.5 A.4 says how each of them is used in DICOM.
//!
//! Bit streams come from strangers: none of them makes a decoder panic, and none makes it take more memory than
//! [`Codec::memory`] says. Each decoder compares the size in the bit stream with that of the image before it allocates
//! anything. A bit stream that is cut short or contradicts itself is a [`CodecError`], never an image with invented samples.
//!
//! The crate refuses to know data sets, files and fragments: it gets the Image Pixel attributes as numbers
//! ([`ImagePixel`]), and the bytes of one frame ([`EncodedFrame`]). It refuses to know what samples look like: windows, lookup
//! tables and colors are for whoever renders them.
//!
//! ```
//! use dicom_codecs::{Codec, CodecError, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation, Samples};
//!
//! let layout = FrameLayout::new(&ImagePixel {
//!     rows: 1,
//!     columns: 4,
//!     samples_per_pixel: 1,
//!     photometric_interpretation: PhotometricInterpretation::Monochrome2,
//!     bits_allocated: 8,
//!     bits_stored: 8,
//!     high_bit: 7,
//!     is_signed: false,
//!     is_planar: false,
//! })?;
//! let codec = Codec::of_transfer_syntax("1.2.840.10008.1.2.5").ok_or(CodecError::Unsupported("the transfer syntax"))?;
//! assert!(codec.memory(&layout) < 1_000_000);
//!
//! // One segment at offset 64: two bytes as they are, then a byte three times, of which the last one is padding.
//! let mut stream = vec![0; 64];
//! stream[0] = 1;
//! stream[4] = 64;
//! stream.extend([1, 10, 20, 254, 30]);
//! let frame = codec.decode(&EncodedFrame::BitStream(&stream), &layout)?;
//! assert_eq!(frame.samples, Samples::U16(vec![10, 20, 30, 30]));
//! # Ok::<(), CodecError>(())
//! ```

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers are bounded by their bits before they are cast, and floating point numbers saturate"
)]

mod codec;
mod error;
mod frame;
mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod native;
mod rle;

pub use codec::Codec;
pub use error::CodecError;
pub use frame::{
    ByteOrder, DecodedFrame, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation, Samples,
};
