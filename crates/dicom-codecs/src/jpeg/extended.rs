//! Decodes Extended JPEG of 12 bits (ITU-T T.81: sequential, with Huffman codes) with one component, which DICOM uses for
//! grayscale images (PS3.5 8.2.1).
//!
//! [`header`] reads the header and the tables, [`huffman`] the bits and their codes; [`idct`] converts coefficients to samples.

mod header;
mod huffman;
mod idct;

use super::BROKEN;
use crate::{CodecError, FrameLayout};
use header::JpegHeader;
use huffman::{Codes, JpegBits};
use idct::{BLOCK, Block, Cosine};

pub(super) use header::is_of_12_bits;

const MAX_SIZE: f32 = 4095.0;

/// The value of a sample of 0 (level shift, T.81 A.3.1).
const LEVEL: f32 = 2048.0;

/// The positions of the coefficients in the order of the stream (T.81 figure A.6).
#[rustfmt::skip]
const ZIGZAG: [usize; BLOCK] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The samples of the frame `stream`.
pub(super) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<Vec<u16>, CodecError> {
    let header = JpegHeader::read(stream)?;
    if (header.rows, header.columns, 1) != (layout.rows, layout.columns, layout.samples) {
        return Err(CodecError::SizeMismatch("JPEG"));
    }
    let cosine = Cosine::new();
    let mut scan = JpegScan { bits: JpegBits::new(header.scan), header: &header, prediction: 0 };
    let mut samples = vec![0; layout.values()];
    let mut until_restart = header.restart;
    for top in (0..header.rows).step_by(8) {
        for left in (0..header.columns).step_by(8) {
            if header.restart > 0 && until_restart == 0 {
                scan.restart()?;
                until_restart = header.restart;
            }
            until_restart = until_restart.saturating_sub(1);
            let values = cosine.invert(&scan.block()?);
            // Samples beyond the edge only complete the block.
            let lines = samples[top * header.columns..].chunks_mut(header.columns);
            for (line, values) in lines.zip(values.chunks_exact(8)) {
                for (sample, value) in line[left..].iter_mut().zip(values) {
                    *sample = (value + LEVEL).round().clamp(0.0, MAX_SIZE) as u16;
                }
            }
        }
    }
    Ok(samples)
}

/// The blocks of a scan, one after the other.
struct JpegScan<'a> {
    bits: JpegBits<'a>,
    header: &'a JpegHeader<'a>,
    /// The first coefficient of the previous block.
    prediction: i32,
}

impl JpegScan<'_> {
    /// The next block's coefficients (T.81 F.2.2).
    fn block(&mut self) -> Result<Block, CodecError> {
        let JpegHeader { quantization, first, others, .. } = self.header;
        let mut block = [0.0; BLOCK];
        let difference = self.coefficient(first, 0)?.1;
        self.prediction = self.prediction.checked_add(difference).ok_or(BROKEN)?;
        block[0] = self.prediction as f32 * quantization[0];
        let mut next = 1;
        while next < BLOCK {
            match self.coefficient(others, 15)? {
                (0, 0) => break,
                // Sixteen zeros; the last one is this coefficient.
                (zeros, value) => {
                    let at = next + zeros;
                    let place = *ZIGZAG.get(at).ok_or(BROKEN)?;
                    block[place] = value as f32 * quantization[at];
                    next = at + 1;
                }
            }
        }
        Ok(block)
    }

    /// The number of zeros before a coefficient, at most `max_zeros`, and the coefficient.
    fn coefficient(&mut self, codes: &Codes, max_zeros: usize) -> Result<(usize, i32), CodecError> {
        let symbol = self.bits.symbol(codes)?;
        let (zeros, size) = (usize::from(symbol >> 4), symbol & 0x0F);
        if zeros > max_zeros || (size == 0 && !matches!(zeros, 0 | 15)) {
            return Err(BROKEN);
        }
        Ok((zeros, self.bits.value(size)?))
    }

    /// Resets the prediction after a restart marker.
    fn restart(&mut self) -> Result<(), CodecError> {
        self.prediction = 0;
        self.bits.restart()
    }
}

#[cfg(test)]
mod tests;
