//! Reads the Image Pixel Module (PS3.3 C.7.6.3) and finds the bytes of one frame (PS3.5 8). Does not decode frames.

use bytes::Bytes;
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::{DataSet, Object, Pixels};
use dicom_codecs::{ByteOrder, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation};
use dicom_core::VR;
use dicom_model::encapsulated::{Locator, number_of_frames};

/// The Image Pixel Module and the number of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImagePixelModule {
    pub(super) layout: FrameLayout,
    pub(super) frames: u32,
    /// Size of a native frame in bits.
    native_bits: u64,
}

impl ImagePixelModule {
    pub(super) fn read(attributes: &DataSet) -> Result<Self, RenderError> {
        let word = |tag| attributes.word(tag);
        let (Some(rows), Some(columns)) = (word(tags::ROWS), word(tags::COLUMNS)) else {
            return Err(RenderError::NoImage);
        };
        let missing = RenderError::Broken("attributes of the Image Pixel Module are missing");
        let term = attributes.text(tags::PHOTOMETRIC_INTERPRETATION).ok_or_else(|| missing.clone())?;
        let photometric_interpretation = PhotometricInterpretation::of_term(&term)
            .ok_or(RenderError::Unsupported("the photometric interpretation"))?;
        let samples_per_pixel = word(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let bits_allocated = word(tags::BITS_ALLOCATED).ok_or(missing)?;
        let bits_stored = word(tags::BITS_STORED).unwrap_or(bits_allocated);
        let layout = FrameLayout::new(&ImagePixel {
            rows,
            columns,
            samples_per_pixel,
            photometric_interpretation,
            bits_allocated,
            bits_stored,
            high_bit: word(tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1)),
            is_signed: word(tags::PIXEL_REPRESENTATION) == Some(1),
            is_planar: word(tags::PLANAR_CONFIGURATION) == Some(1),
        })?;
        // Two pixels share one pair of chrominance samples (PS3.3 C.7.6.3.1.2).
        let is_halved = photometric_interpretation == PhotometricInterpretation::YbrFull422;
        let samples = if is_halved { 2 } else { u64::from(samples_per_pixel) };
        Ok(Self {
            layout,
            frames: number_of_frames(attributes.text(tags::NUMBER_OF_FRAMES).as_deref()) as u32,
            native_bits: layout.pixels() as u64 * samples * u64::from(bits_allocated),
        })
    }
}

/// The bytes of one frame.
#[derive(Debug, Clone)]
pub(super) enum FrameData {
    /// Native pixels; the frame begins at bit `bit_offset` of the first byte.
    Native { bytes: Bytes, bit_offset: u32, byte_order: ByteOrder },
    /// A compressed bit stream.
    BitStream(Bytes),
}

impl FrameData {
    /// The input of the decoder.
    pub(super) fn encoded(&self) -> EncodedFrame<'_> {
        match self {
            Self::Native { bytes, bit_offset, byte_order } => {
                EncodedFrame::Native { bytes, bit_offset: *bit_offset, byte_order: *byte_order }
            }
            Self::BitStream(stream) => EncodedFrame::BitStream(stream),
        }
    }
}

/// For each frame of encapsulated pixel data, the indices of its fragments; empty for native pixel data.
pub(super) fn frames(object: &Object, module: &ImagePixelModule) -> Result<Vec<Vec<usize>>, RenderError> {
    let Some(Pixels::Encapsulated { table, fragments }) = &object.pixels else { return Ok(Vec::new()) };
    let extended = object.elements.bytes(tags::EXTENDED_OFFSET_TABLE).map(AsRef::as_ref);
    let locator = Locator::new(module.frames as usize, object.transfer_syntax, table, extended);
    let fragments: Vec<_> = fragments.iter().map(|(fragment, _)| *fragment).collect();
    locator
        .locate(&fragments)
        .map_err(|_| RenderError::Broken("its fragments do not match its number of frames"))
}

/// The bytes of `frame`, counted from 0. `frames` is the result of [`frames`].
pub(super) fn frame_data(
    object: &Object,
    module: &ImagePixelModule,
    frames: &[Vec<usize>],
    frame: u32,
) -> Result<FrameData, RenderError> {
    match &object.pixels {
        None => Err(RenderError::NoImage),
        Some(Pixels::Native { bytes, vr, big_endian }) => {
            let byte_order = byte_order(*vr, *big_endian);
            let length = module.native_bits;
            let start = u64::from(frame).saturating_mul(length);
            let (mut first, mut last) = (start / 8, start.saturating_add(length).div_ceil(8));
            if byte_order == ByteOrder::BigEndianWords {
                (first, last) = (first & !1, last.next_multiple_of(2));
            }
            let range = usize::try_from(first).ok().zip(usize::try_from(last).ok());
            let range = range.filter(|(_, last)| *last <= bytes.len());
            let (first, last) = range
                .ok_or(RenderError::Broken("the pixel data are shorter than the image size requires"))?;
            let bit_offset = (start - first as u64 * 8) as u32;
            Ok(FrameData::Native { bytes: bytes.slice(first..last), bit_offset, byte_order })
        }
        Some(Pixels::Encapsulated { fragments, .. }) => {
            let indices = frames.get(frame as usize).map(Vec::as_slice).unwrap_or_default();
            Ok(FrameData::BitStream(match indices {
                [] => return Err(RenderError::Broken("it has fewer frames than Number of Frames declares")),
                [only] => fragments[*only].1.clone(),
                several => several.iter().flat_map(|index| fragments[*index].1.iter().copied()).collect(),
            }))
        }
    }
}

/// The byte order of native pixel data with this value representation: words of 16 bits, unless it is OB (PS3.5 8.1.2).
fn byte_order(vr: VR, big_endian: bool) -> ByteOrder {
    match (big_endian, vr) {
        (false, _) => ByteOrder::LittleEndian,
        (true, VR::OB) => ByteOrder::BigEndian,
        (true, _) => ByteOrder::BigEndianWords,
    }
}
