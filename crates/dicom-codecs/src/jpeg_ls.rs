//! JPEG-LS (ITU-T T.87): lossless and near-lossless, of one component or three, in any interleaving.
//!
//! Variables have the letters of the recommendation: A, B, C and N of a context; a, b, c and d around a sample.

mod bits;
mod context;
mod header;
mod line;

use crate::{CodecError, FrameLayout, Samples};
use bits::JpegLsBits;
use header::{JpegLsHeader, JpegLsScan};
use line::Coder;

const BROKEN: CodecError = CodecError::Broken("JPEG-LS");

/// Memory in bytes that decoding needs in addition to the samples: two lines of each component, and the contexts.
pub(crate) fn working_memory(layout: &FrameLayout) -> usize {
    const CONTEXTS: usize = 16 * 1024;
    2 * size_of::<i32>() * (layout.columns + 2) * layout.samples + CONTEXTS
}

/// The samples of the frame `stream`, pixel by pixel.
pub(crate) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<Samples, CodecError> {
    let mut header = JpegLsHeader::read(stream)?;
    if (header.rows, header.columns, header.components.len()) != (layout.rows, layout.columns, layout.samples)
    {
        return Err(CodecError::SizeMismatch("JPEG-LS"));
    }
    let mut samples = vec![0; layout.values()];
    let mut decoded = vec![false; layout.samples];
    while decoded.contains(&false) {
        let scan = header.next_scan()?;
        for component in &scan.components {
            // Each component has one scan, so that the number of scans is limited.
            if std::mem::replace(&mut decoded[*component], true) {
                return Err(BROKEN);
            }
        }
        let mut bits = JpegLsBits::new(header.rest());
        decode_scan(&mut bits, &header, &scan, &mut samples)?;
        header.advance(bits.consumed());
    }
    Ok(Samples::U16(samples))
}

fn decode_scan(
    bits: &mut JpegLsBits<'_>,
    header: &JpegLsHeader<'_>,
    scan: &JpegLsScan,
    samples: &mut [u16],
) -> Result<(), CodecError> {
    let mut coder = Coder::new(header.coding(scan), scan.components.len());
    let width = header.columns;
    let all = header.components.len();
    // A line has an additional sample on either side, for the surroundings of its ends (T.87 A.2.1).
    let mut above = vec![vec![0_i32; width + 2]; scan.components.len()];
    let mut lines = above.clone();
    for row in 0..header.rows {
        for (line, above) in lines.iter_mut().zip(&mut above) {
            above[width + 1] = above[width];
            line[0] = above[1];
        }
        if scan.by_pixel {
            coder.line_of_pixels(bits, &above, &mut lines)?;
        } else {
            for (index, line) in lines.iter_mut().enumerate() {
                coder.line(bits, index, &above[index], line)?;
            }
        }
        for (line, component) in lines.iter().zip(&scan.components) {
            for (column, sample) in line[1..=width].iter().enumerate() {
                samples[(row * width + column) * all + component] = (*sample & 0xFFFF) as u16;
            }
        }
        std::mem::swap(&mut lines, &mut above);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
