//! RLE Lossless (PS3.5 G): for each byte of each sample a segment of its own, packed as TIFF's PackBits are.

use super::Samples;
use super::native::interleaved;
use crate::RenderError;
use crate::pixels::ImagePixelModule;

const BROKEN: RenderError = RenderError::Broken("its RLE stream is broken");

/// The samples of the frame `stream`.
pub(super) fn decode(stream: &[u8], layout: &ImagePixelModule) -> Result<Samples, RenderError> {
    let bytes_of_a_sample = match layout.bits_allocated {
        bits @ (8 | 16 | 32) => bits as usize / 8,
        _ => return Err(BROKEN),
    };
    let field = |index: usize| {
        let bytes = stream.get(4 * index..4 * index + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let segments = layout.samples * bytes_of_a_sample;
    if field(0) != Some(segments) {
        return Err(BROKEN);
    }
    let pixels = layout.pixels();
    let mut planes = vec![0_u32; layout.values()];
    for segment in 0..segments {
        let start = field(1 + segment).filter(|start| *start >= 64).ok_or(BROKEN)?;
        let end = if segment + 1 < segments { field(2 + segment).ok_or(BROKEN)? } else { stream.len() };
        let packed = stream.get(start..end).ok_or(BROKEN)?;
        // The most significant byte comes first.
        let plane = segment / bytes_of_a_sample;
        let shift = 8 * (bytes_of_a_sample - 1 - segment % bytes_of_a_sample);
        unpack(packed, shift, &mut planes[plane * pixels..(plane + 1) * pixels])?;
    }
    let longs = if layout.samples > 1 { interleaved(&planes, layout) } else { planes };
    if bytes_of_a_sample == 4 {
        return Ok(Samples::U32(longs));
    }
    Ok(Samples::Words(longs.into_iter().map(|long| (long & 0xFFFF) as u16).collect()))
}

/// Puts the unpacked bytes into `plane`, `shift` bits up in each of its samples.
fn unpack(packed: &[u8], shift: usize, plane: &mut [u32]) -> Result<(), RenderError> {
    let mut bytes = packed.iter();
    let mut filled = 0;
    while filled < plane.len() {
        let count = usize::from(*bytes.next().ok_or(BROKEN)?);
        match count {
            // As many bytes as follow, or one byte as many times; some writers' last run goes on past the end.
            0..=127 => {
                for _ in 0..=count {
                    let byte = *bytes.next().ok_or(BROKEN)?;
                    if let Some(sample) = plane.get_mut(filled) {
                        *sample |= u32::from(byte) << shift;
                    }
                    filled += 1;
                }
            }
            128 => {}
            _ => {
                let byte = *bytes.next().ok_or(BROKEN)?;
                for sample in plane.iter_mut().skip(filled).take(257 - count) {
                    *sample |= u32::from(byte) << shift;
                }
                filled += 257 - count;
            }
        }
    }
    Ok(())
}
