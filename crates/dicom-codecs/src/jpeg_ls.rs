//! JPEG-LS (ITU-T T.87): lossless and near-lossless, with one component or three, in any interleave mode.
//!
//! Variables have the names of the recommendation: A, B, C and N of a context; a, b, c and d for the neighbors of a sample.

mod bits;
mod context;
mod header;
mod line;

use crate::{Cancellation, CodecError, FrameLayout, Samples};
use bits::JpegLsBits;
use header::{JpegLsHeader, JpegLsScan};
use line::LineDecoder;

const MALFORMED: CodecError = CodecError::Malformed("JPEG-LS");

/// Returns the memory in bytes that decoding needs in addition to the samples: two lines of each component, and the contexts.
pub(crate) fn working_memory(layout: &FrameLayout) -> usize {
    const CONTEXTS_BYTES: usize = 16 * 1024;
    2 * size_of::<i32>() * (layout.columns + 2) * layout.samples_per_pixel + CONTEXTS_BYTES
}

/// Decodes the frame in `stream` and returns its samples, pixel by pixel.
pub(crate) fn decode(
    stream: &[u8],
    layout: &FrameLayout,
    cancellation: Cancellation<'_>,
) -> Result<Samples, CodecError> {
    let mut header = JpegLsHeader::read(stream)?;
    if (header.rows, header.columns, header.components.len())
        != (layout.rows, layout.columns, layout.samples_per_pixel)
    {
        return Err(CodecError::SizeMismatch("JPEG-LS"));
    }
    let mut samples = vec![0; layout.sample_count()];
    let mut is_decoded = vec![false; layout.samples_per_pixel];
    while is_decoded.contains(&false) {
        let scan = header.next_scan()?;
        for component in &scan.components {
            // Each component is in one scan only, which limits the number of scans.
            if std::mem::replace(&mut is_decoded[*component], true) {
                return Err(MALFORMED);
            }
        }
        let mut bits = JpegLsBits::new(header.rest());
        decode_scan(&mut bits, &header, &scan, &mut samples, cancellation)?;
        header.advance(bits.consumed_bytes());
    }
    Ok(Samples::U16(samples))
}

fn decode_scan(
    bits: &mut JpegLsBits<'_>,
    header: &JpegLsHeader<'_>,
    scan: &JpegLsScan,
    samples: &mut [u16],
    cancellation: Cancellation<'_>,
) -> Result<(), CodecError> {
    let mut decoder = LineDecoder::new(header.coding(scan), scan.components.len());
    let width = header.columns;
    let component_count = header.components.len();
    // A line has an additional sample at each end, as neighbors of the first and the last sample (T.87 A.2.1).
    let mut previous_lines = vec![vec![0_i32; width + 2]; scan.components.len()];
    let mut lines = previous_lines.clone();
    for row in 0..header.rows {
        cancellation.check()?;
        for (line, previous) in lines.iter_mut().zip(&mut previous_lines) {
            previous[width + 1] = previous[width];
            line[0] = previous[1];
        }
        if scan.is_sample_interleaved {
            decoder.decode_interleaved_lines(bits, &previous_lines, &mut lines)?;
        } else {
            for (index, line) in lines.iter_mut().enumerate() {
                decoder.decode_line(bits, index, &previous_lines[index], line)?;
            }
        }
        for (line, component) in lines.iter().zip(&scan.components) {
            for (column, sample) in line[1..=width].iter().enumerate() {
                samples[(row * width + column) * component_count + component] = (*sample & 0xFFFF) as u16;
            }
        }
        std::mem::swap(&mut lines, &mut previous_lines);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
