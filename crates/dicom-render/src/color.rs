//! Converts color samples to RGB values of 8 bits (PS3.3 C.7.6.3.1.2). This module does not know about windows.

use dicom_codecs::{DecodedFrame, FrameLayout, PhotometricInterpretation, Samples};
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::RenderError;
use super::lookup_table::LookupTable;
use super::object::DataSet;

/// Returns the RGB values of a frame, three bytes per pixel.
pub(super) fn rgb_values(
    decoded: &DecodedFrame,
    layout: &FrameLayout,
    attributes: &DataSet,
) -> Result<Vec<u8>, RenderError> {
    match (decoded.photometric_interpretation, &decoded.samples) {
        (PhotometricInterpretation::PaletteColor, Samples::U16(words)) => {
            map_palette_indices(words, layout, attributes)
        }
        (PhotometricInterpretation::PaletteColor, Samples::U32(_)) => {
            Err(RenderError::Unsupported("the number of bits of its palette indices"))
        }
        (interpretation, Samples::U16(words)) => {
            Ok(convert_samples(words.iter().copied().map(u32::from), interpretation, layout))
        }
        (interpretation, Samples::U32(longs)) => {
            Ok(convert_samples(longs.iter().copied(), interpretation, layout))
        }
    }
}

fn convert_samples(
    samples: impl Iterator<Item = u32>,
    interpretation: PhotometricInterpretation,
    layout: &FrameLayout,
) -> Vec<u8> {
    let max_value = (1_u64 << layout.bits_stored()) - 1;
    let levels = samples.map(|sample| layout.value(sample) as f64 / max_value as f64 * 255.0);
    let mut rgb_values: Vec<u8> = levels.map(|level| level.round() as u8).collect();
    if matches!(interpretation, PhotometricInterpretation::YbrFull | PhotometricInterpretation::YbrFull422) {
        for pixel in rgb_values.chunks_exact_mut(3) {
            let [y, cb, cr] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
            pixel.copy_from_slice(&ycbcr_to_rgb(y, cb, cr));
        }
    }
    rgb_values
}

/// Converts YCbCr to RGB (ITU-T T.871), the inverse of PS3.3 C.7.6.3.1.2.
fn ycbcr_to_rgb(y: f64, cb: f64, cr: f64) -> [u8; 3] {
    let (cb, cr) = (cb - 128.0, cr - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|channel| channel.round().clamp(0.0, 255.0) as u8)
}

/// Maps palette indices with the red, green and blue lookup tables (PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6).
fn map_palette_indices(
    indices: &[u16],
    layout: &FrameLayout,
    attributes: &DataSet,
) -> Result<Vec<u8>, RenderError> {
    const TABLES: [[Tag; 3]; 3] = [
        [
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ],
        [
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ],
        [
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
            tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
            tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        ],
    ];
    let mut tables = Vec::new();
    for [descriptor, data, segments] in TABLES {
        tables.push(if attributes.bytes(data).is_some() {
            LookupTable::read(attributes, descriptor, data, layout.is_signed())?
        } else {
            LookupTable::read_segments(attributes, descriptor, segments, layout.is_signed())?
        });
    }
    let mut rgb_values = Vec::with_capacity(tables.len() * indices.len());
    for index in indices {
        let index = layout.value(u32::from(*index));
        rgb_values.extend(
            tables.iter().map(|table| {
                (f64::from(table.entry(index)) / f64::from(table.max_entry) * 255.0).round() as u8
            }),
        );
    }
    Ok(rgb_values)
}
