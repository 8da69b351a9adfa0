//! JPEG 2000 (ITU-T T.800): a codestream, or a JP2 file that contains one.

mod blocks;

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use crate::{CodecError, DecodedFrame, FrameLayout, PhotometricInterpretation, Samples};

const MALFORMED: CodecError = CodecError::Malformed("JPEG 2000");

/// The maximum number of tiles, which suffices for an image of 16,384 by 16,384 pixels in tiles of 256 by 256.
const MAX_TILES: u64 = 4096;

/// The markers SOC and SIZ, with which every codestream begins.
const SOC_AND_SIZ: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// Decodes the frame in `stream`.
pub(crate) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<DecodedFrame, CodecError> {
    let start = memchr::memmem::find(stream, &SOC_AND_SIZ).ok_or(MALFORMED)?;
    let stream = &stream[start..];
    let size = Size::read(stream).ok_or(MALFORMED)?;
    if (size.rows, size.columns, size.component_count)
        != (layout.rows as u64, layout.columns as u64, layout.samples_per_pixel as u64)
    {
        return Err(CodecError::SizeMismatch("JPEG 2000"));
    }
    if size.tile_count > MAX_TILES || size.bits_per_sample > 16 {
        return Err(CodecError::Unsupported("JPEG 2000 with more than 16 bits or more than 4096 tiles"));
    }
    blocks::check(stream)?;
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(|_| MALFORMED)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|_| MALFORMED)?;
    let components = decoded.components();
    let is_complete = components.iter().all(|component| component.samples().len() == layout.pixel_count());
    if components.len() != layout.samples_per_pixel || !is_complete {
        return Err(MALFORMED);
    }
    let max_value = (1_i32 << size.bits_per_sample) - 1;
    // The decoder adds half the range to every component, as if it were unsigned.
    let level_shift = if size.is_signed { 1 << (size.bits_per_sample - 1) } else { 0 };
    let mut stored_samples = vec![0_u16; layout.sample_count()];
    for (index, component) in components.iter().enumerate() {
        for (pixel, sample) in component.samples().iter().enumerate() {
            let number = (sample.round() as i32).clamp(0, max_value) - level_shift;
            stored_samples[pixel * layout.samples_per_pixel + index] = stored_bits(number, size, layout);
        }
    }
    let photometric_interpretation = match layout.photometric_interpretation {
        // The library has undone the transform.
        PhotometricInterpretation::YbrIct | PhotometricInterpretation::YbrRct => {
            PhotometricInterpretation::Rgb
        }
        declared => declared,
    };
    Ok(DecodedFrame { samples: Samples::U16(stored_samples), photometric_interpretation })
}

/// Returns the stored bits (PS3.5 8.1.1) for `number`. Some streams are declared unsigned although the values of the object are
/// signed; then the highest bit is the sign.
fn stored_bits(number: i32, size: Size, layout: &FrameLayout) -> u16 {
    let is_negative = layout.is_signed && !size.is_signed && number >> (size.bits_per_sample - 1) & 1 == 1;
    let number = if is_negative { number - (1 << size.bits_per_sample) } else { number };
    (number << layout.shift & 0xFFFF) as u16
}

/// The content of the marker segment SIZ (ITU-T T.800 A.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    rows: u64,
    columns: u64,
    component_count: u64,
    tile_count: u64,
    /// The number of bits of a sample, which is the same in all components.
    bits_per_sample: u32,
    is_signed: bool,
}

impl Size {
    fn read(stream: &[u8]) -> Option<Self> {
        let read_u32 = |offset: usize| {
            Some(u64::from(u32::from_be_bytes(stream.get(offset..offset + 4)?.try_into().ok()?)))
        };
        let [width, height, x_offset, y_offset] = [read_u32(8)?, read_u32(12)?, read_u32(16)?, read_u32(20)?];
        let [tile_width, tile_height, tile_x_offset, tile_y_offset] =
            [read_u32(24)?, read_u32(28)?, read_u32(32)?, read_u32(36)?];
        let component_count = u64::from(u16::from_be_bytes(stream.get(40..42)?.try_into().ok()?));
        let components = stream.get(42..42 + 3 * usize::try_from(component_count).ok()?)?;
        let first_component = components.get(..3)?;
        // In DICOM all components have the same size (PS3.5 A.4.4).
        if components.chunks_exact(3).any(|component| component != first_component)
            || first_component[1..] != [1, 1]
        {
            return None;
        }
        let tile_columns = width.checked_sub(tile_x_offset)?.div_ceil(tile_width.max(1));
        let tile_rows = height.checked_sub(tile_y_offset)?.div_ceil(tile_height.max(1));
        Some(Self {
            rows: height.checked_sub(y_offset)?,
            columns: width.checked_sub(x_offset)?,
            component_count,
            tile_count: tile_columns * tile_rows,
            bits_per_sample: u32::from(first_component[0] & 0x7F) + 1,
            is_signed: first_component[0] & 0x80 != 0,
        })
    }
}
