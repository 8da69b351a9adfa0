//! Reads the parts of an object that rendering needs: the attributes that determine the appearance of its pixels, and the pixel
//! data. This module does not interpret these values.

use bytes::Bytes;
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::{RenderError, annotation};
use dicom_model::part10::ReadError;

pub(super) use dicom_model::part10::in_place::{Elements as DataSet, InPlace as Object, Pixels};

/// The attributes that rendering uses, and the sequences that contain some of them.
const REQUIRED: &[Tag] = &[
    tags::SOP_INSTANCE_UID,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SAMPLES_PER_PIXEL,
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
    tags::FRAME_TIME,
    tags::CINE_RATE,
    tags::RECOMMENDED_DISPLAY_FRAME_RATE,
    tags::ROWS,
    tags::COLUMNS,
    tags::PIXEL_SPACING,
    tags::IMAGER_PIXEL_SPACING,
    tags::NOMINAL_SCANNED_PIXEL_SPACING,
    tags::PIXEL_ASPECT_RATIO,
    tags::BITS_ALLOCATED,
    tags::BITS_STORED,
    tags::HIGH_BIT,
    tags::PIXEL_REPRESENTATION,
    tags::PIXEL_PADDING_VALUE,
    tags::PIXEL_PADDING_RANGE_LIMIT,
    tags::WINDOW_CENTER,
    tags::WINDOW_WIDTH,
    tags::VOILUT_FUNCTION,
    tags::RESCALE_INTERCEPT,
    tags::RESCALE_SLOPE,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::LUT_DESCRIPTOR,
    tags::LUT_DATA,
    tags::PRESENTATION_LUT_SHAPE,
    tags::EXTENDED_OFFSET_TABLE,
    tags::MODALITY_LUT_SEQUENCE,
    tags::VOILUT_SEQUENCE,
    tags::PRESENTATION_LUT_SEQUENCE,
    tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
    tags::PIXEL_MEASURES_SEQUENCE,
    tags::FRAME_VOILUT_SEQUENCE,
    tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
];

/// Reads the file up to the end of its pixel data. In addition to the file, at most `limit` bytes of memory are used.
pub(super) fn read(file: &Bytes, limit: usize) -> Result<Object, RenderError> {
    let is_required = |tag| REQUIRED.contains(&tag) || annotation::ATTRIBUTES.contains(&tag);
    Ok(Object::read(file, limit, is_required)?)
}

impl From<ReadError> for RenderError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotDicom => Self::Malformed("it is not a DICOM file"),
            ReadError::Directory => Self::NoImage,
            ReadError::TransferSyntax(uid) => Self::TransferSyntax(uid),
            ReadError::Malformed(reason) => Self::Malformed(reason),
            ReadError::Truncated | ReadError::Io(_) => Self::Malformed("it is truncated"),
            ReadError::TooLarge => Self::TooLarge,
        }
    }
}
