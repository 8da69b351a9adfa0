//! Reads the Image Pixel Module (PS3.3 C.7.6.3) and locates the bytes of frames (PS3.5 8). This module does not decode frames.

use std::ops::Range;

use bytes::Bytes;
use dicom_dictionary_std::tags;

use super::RenderError;
use super::object::{DataSet, Object, Pixels};
use dicom_codecs::{ByteOrder, EncodedFrame, FrameLayout, ImagePixel, PhotometricInterpretation};
use dicom_core::VR;
use dicom_model::encapsulated_pixel_data::{FrameLocator, number_of_frames};
use dicom_model::native_pixel_data::{FrameAttributes, NativeFrames, pixel_word_size};

/// The Image Pixel Module and the number of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ImagePixelModule {
    pub(super) layout: FrameLayout,
    pub(super) frame_count: u32,
}

impl ImagePixelModule {
    pub(super) fn read(attributes: &DataSet) -> Result<Self, RenderError> {
        let word = |tag| attributes.word(tag);
        let (Some(rows), Some(columns)) = (word(tags::ROWS), word(tags::COLUMNS)) else {
            return Err(RenderError::NoImage);
        };
        let missing_attribute = RenderError::Malformed("attributes of the Image Pixel Module are missing");
        let term =
            attributes.text(tags::PHOTOMETRIC_INTERPRETATION).ok_or_else(|| missing_attribute.clone())?;
        let photometric_interpretation = PhotometricInterpretation::from_term(&term)
            .ok_or(RenderError::Unsupported("the photometric interpretation"))?;
        let samples_per_pixel = word(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
        let bits_allocated = word(tags::BITS_ALLOCATED).ok_or(missing_attribute)?;
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
        let frame_count = number_of_frames(attributes.text(tags::NUMBER_OF_FRAMES).as_deref()) as u32;
        Ok(Self { layout, frame_count })
    }
}

/// The bytes of one frame.
#[derive(Debug, Clone)]
pub(super) enum FrameData {
    /// Native pixel data; the frame begins `bit_offset` bits after the start of `bytes`.
    Native { bytes: Bytes, bit_offset: u32, byte_order: ByteOrder },
    /// A compressed bit stream.
    BitStream(Bytes),
}

impl FrameData {
    /// Returns the input of the decoder.
    pub(super) fn encoded(&self) -> EncodedFrame<'_> {
        match self {
            Self::Native { bytes, bit_offset, byte_order } => {
                EncodedFrame::Native { bytes, bit_offset: *bit_offset, byte_order: *byte_order }
            }
            Self::BitStream(stream) => EncodedFrame::BitStream(stream),
        }
    }
}

/// The location of each frame.
#[derive(Debug, Clone)]
pub(super) enum Frames {
    /// The location in native pixel data.
    Native { frames: NativeFrames, byte_order: ByteOrder },
    /// The fragments of each frame, in encapsulated pixel data.
    Encapsulated(Vec<Range<usize>>),
}

impl Frames {
    /// Locates all frames. Fails if the pixel data does not match its attributes.
    pub(super) fn locate(object: &Object, module: &ImagePixelModule) -> Result<Self, RenderError> {
        let (attributes, count) = (&object.elements, module.frame_count as usize);
        match &object.pixels {
            None => Err(RenderError::NoImage),
            Some(Pixels::Native { bytes, vr, big_endian }) => {
                let word = |tag| attributes.word(tag).unwrap_or_default();
                let byte_order = byte_order(*vr, word(tags::BITS_ALLOCATED), *big_endian);
                let frame_attributes = FrameAttributes {
                    rows: word(tags::ROWS),
                    columns: word(tags::COLUMNS),
                    samples_per_pixel: attributes.word(tags::SAMPLES_PER_PIXEL).unwrap_or(1),
                    bits_allocated: word(tags::BITS_ALLOCATED),
                    photometric_interpretation: &attributes
                        .text(tags::PHOTOMETRIC_INTERPRETATION)
                        .unwrap_or_default(),
                };
                let word_size = if byte_order == ByteOrder::BigEndianWords { 2 } else { 1 };
                let frames = NativeFrames::new(&frame_attributes, count, bytes.len() as u64, word_size);
                let frames = frames.map_err(|_| {
                    RenderError::Malformed("the pixel data is shorter than the image size requires")
                })?;
                Ok(Self::Native { frames, byte_order })
            }
            Some(Pixels::Encapsulated { table, fragments }) => {
                let extended = attributes.bytes(tags::EXTENDED_OFFSET_TABLE);
                let locator = FrameLocator::new(count, object.transfer_syntax, table, extended);
                let frames = locator.locate(fragments.list());
                let mismatch = RenderError::Malformed("its fragments do not match its number of frames");
                frames.map(Self::Encapsulated).map_err(|_| mismatch)
            }
        }
    }

    /// Returns the bytes of the frame with this index, starting at 0.
    pub(super) fn data(&self, object: &Object, index: u32) -> Result<FrameData, RenderError> {
        let missing_frame = RenderError::Malformed("it has fewer frames than Number of Frames declares");
        match (self, &object.pixels) {
            (Self::Native { frames, byte_order }, Some(Pixels::Native { bytes, .. })) => {
                let frame = frames.frame(index as usize).ok_or(missing_frame)?;
                let start = frame.range.offset as usize;
                let bytes = bytes.slice(start..start + frame.range.length as usize);
                let bit_offset = frame.bit_offset as u32;
                Ok(FrameData::Native { bytes, bit_offset, byte_order: *byte_order })
            }
            (Self::Encapsulated(frames), Some(Pixels::Encapsulated { fragments, .. })) => {
                let range = frames.get(index as usize).cloned().ok_or_else(|| missing_frame.clone())?;
                let mut values =
                    range.filter_map(|index| fragments.value(index)).filter(|value| !value.is_empty());
                let first = values.next().ok_or(missing_frame)?;
                let joined_size = self.joined_size(object, index);
                if joined_size == 0 {
                    return Ok(FrameData::BitStream(first));
                }
                let mut joined = Vec::with_capacity(joined_size);
                joined.extend_from_slice(&first);
                values.for_each(|value| joined.extend_from_slice(&value));
                Ok(FrameData::BitStream(joined.into()))
            }
            _ => Err(missing_frame),
        }
    }

    /// Returns the size in bytes of the copy of the frame with this index, which is necessary if it has several fragments; 0 if it has
    /// only one.
    pub(super) fn joined_size(&self, object: &Object, index: u32) -> usize {
        let (Self::Encapsulated(frames), Some(Pixels::Encapsulated { fragments, .. })) =
            (self, &object.pixels)
        else {
            return 0;
        };
        let range = frames.get(index as usize).cloned().unwrap_or_default();
        let sizes = range.filter_map(|index| fragments.value(index)).map(|value| value.len());
        let (count, size) =
            sizes.filter(|size| *size > 0).fold((0, 0), |(count, sum), size| (count + 1, sum + size));
        if count > 1 { size } else { 0 }
    }

    /// Returns the maximum size in bytes of the locations of the frames of `object`, of which it declares `count`.
    pub(super) fn max_memory(object: &Object, count: u32) -> usize {
        match &object.pixels {
            Some(Pixels::Encapsulated { fragments, .. }) => {
                fragments.list().len().min(count as usize) * size_of::<Range<usize>>()
            }
            Some(Pixels::Native { .. }) | None => 0,
        }
    }
}

/// Returns the byte order of native pixel data with this value representation and Bits Allocated.
fn byte_order(vr: VR, bits_allocated: u16, big_endian: bool) -> ByteOrder {
    let has_several_samples = pixel_word_size(vr, bits_allocated) > usize::from(bits_allocated.div_ceil(8));
    match (big_endian, has_several_samples) {
        (false, _) => ByteOrder::LittleEndian,
        (true, false) => ByteOrder::BigEndian,
        (true, true) => ByteOrder::BigEndianWords,
    }
}
