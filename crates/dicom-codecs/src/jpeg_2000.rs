//! JPEG 2000 (ITU-T T.800), with or without the boxes of a JP2 file around the stream.

mod blocks;

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use crate::{CodecError, DecodedFrame, FrameLayout, PhotometricInterpretation, Samples};

const BROKEN: CodecError = CodecError::Broken("JPEG 2000");

/// An image of 16,384 by 16,384 in tiles of 256 by 256.
const MAX_TILES: u64 = 4096;

/// SOC and SIZ, the beginning of each stream.
const BEGINNING: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// The samples of the frame `stream`.
pub(crate) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<DecodedFrame, CodecError> {
    let start = memchr::memmem::find(stream, &BEGINNING).ok_or(BROKEN)?;
    let stream = &stream[start..];
    let size = Size::read(stream).ok_or(BROKEN)?;
    if (size.rows, size.columns, size.samples)
        != (layout.rows as u64, layout.columns as u64, layout.samples as u64)
    {
        return Err(CodecError::SizeMismatch("JPEG 2000"));
    }
    if size.tiles > MAX_TILES || size.bits > 16 {
        return Err(CodecError::Unsupported("its kind of JPEG 2000, such as more than 16 bits,"));
    }
    blocks::check(stream)?;
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(|_| BROKEN)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|_| BROKEN)?;
    let components = decoded.components();
    let is_whole = components.iter().all(|component| component.samples().len() == layout.pixels());
    if components.len() != layout.samples || !is_whole {
        return Err(BROKEN);
    }
    let top = (1_i32 << size.bits) - 1;
    // The decoder shifts every component up by half its range, as if it were unsigned.
    let middle = if size.signed { 1 << (size.bits - 1) } else { 0 };
    let mut words = vec![0_u16; layout.values()];
    for (index, component) in components.iter().enumerate() {
        for (pixel, sample) in component.samples().iter().enumerate() {
            let number = (sample.round() as i32).clamp(0, top) - middle;
            words[pixel * layout.samples + index] = stored_bits(number, size, layout);
        }
    }
    let photometric_interpretation = match layout.photometric {
        // The library has undone the transform.
        PhotometricInterpretation::YbrIct | PhotometricInterpretation::YbrRct => {
            PhotometricInterpretation::Rgb
        }
        declared => declared,
    };
    Ok(DecodedFrame { samples: Samples::U16(words), photometric_interpretation })
}

/// The bits that the object would store for `number`. Some streams are declared unsigned although the numbers of the object are
/// signed: then the highest bit is the sign.
fn stored_bits(number: i32, size: Size, layout: &FrameLayout) -> u16 {
    let is_negative = layout.signed && !size.signed && number >> (size.bits - 1) & 1 == 1;
    let number = if is_negative { number - (1 << size.bits) } else { number };
    (number << layout.shift & 0xFFFF) as u16
}

/// The content of the marker segment SIZ (ITU-T T.800 A.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    rows: u64,
    columns: u64,
    samples: u64,
    tiles: u64,
    /// Those of the first component; the others must have the same.
    bits: u32,
    signed: bool,
}

impl Size {
    fn read(stream: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(u64::from(u32::from_be_bytes(stream.get(at..at + 4)?.try_into().ok()?)));
        let [width, height, left, above] = [long(8)?, long(12)?, long(16)?, long(20)?];
        let [tile_width, tile_height, tile_left, tile_above] = [long(24)?, long(28)?, long(32)?, long(36)?];
        let samples = u64::from(u16::from_be_bytes(stream.get(40..42)?.try_into().ok()?));
        let components = stream.get(42..42 + 3 * usize::try_from(samples).ok()?)?;
        let first = components.get(..3)?;
        // DICOM has no components of different sizes (PS3.5 A.4.4).
        if components.chunks_exact(3).any(|component| component != first) || first[1..] != [1, 1] {
            return None;
        }
        let across = width.checked_sub(tile_left)?.div_ceil(tile_width.max(1));
        let down = height.checked_sub(tile_above)?.div_ceil(tile_height.max(1));
        Some(Self {
            rows: height.checked_sub(above)?,
            columns: width.checked_sub(left)?,
            samples,
            tiles: across * down,
            bits: u32::from(first[0] & 0x7F) + 1,
            signed: first[0] & 0x80 != 0,
        })
    }
}
