//! Decodes the bytes of one frame of DICOM pixel data to its samples.
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
//! PS3.5 A.4 defines how DICOM uses each of them.
//!
//! Bit streams are not trusted: no stream makes a decoder panic, or use more memory than [`Codec::max_memory`]. Each decoder
//! compares the size in the bit stream with that of the image before it allocates memory. A bit stream that is truncated or
//! contradicts itself is a [`CodecError`], never an image with invented samples.
//!
//! No stream takes longer than its image and its length justify: the numbers of scans and tiles are limited. The caller can end a
//! decoder with a [`Cancellation`].
//!
//! The crate does not know data sets, files or fragments: its input is the Image Pixel attributes as numbers
//! ([`ImagePixel`]), and the bytes of one frame ([`EncodedFrame`]). It does not know how samples are displayed: windows, lookup
//! tables and colors are the subject of rendering.
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
//! assert!(codec.max_memory(&layout) < 1_000_000);
//!
//! // One segment at offset 64: two literal bytes, then a byte repeated three times, the last of which is padding.
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

mod cancellation;
mod codec;
mod error;
mod frame;
mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod native;
mod rle;

pub use cancellation::Cancellation;
pub use codec::Codec;
pub use error::CodecError;
pub use frame::{
    ByteOrder, DecodedFrame, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation, Samples,
};
