//! Decodes Extended JPEG of 12 bits (ITU-T T.81: sequential, with Huffman codes) with one component, which DICOM uses for
//! grayscale images (PS3.5 8.2.1).
//!
//! [`header`] reads the header and the tables, [`huffman`] reads the bits and their codes, and [`idct`] converts coefficients to
//! samples.

mod header;
mod huffman;
mod idct;

use super::MALFORMED;
use crate::{CodecError, FrameLayout};
use header::JpegHeader;
use huffman::{Codes, JpegBits};
use idct::{BLOCK, Block, Transform};

pub(super) use header::is_of_12_bits;

/// The maximum value of a sample of 12 bits.
const MAX_SAMPLE: f32 = 4095.0;

/// The number that the encoder subtracts from each sample (level shift, T.81 A.3.1).
const LEVEL_SHIFT: f32 = 2048.0;

/// The positions of the coefficients in the order of the stream (T.81 figure A.6).
#[rustfmt::skip]
const ZIGZAG: [usize; BLOCK] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Decodes the frame `stream` and returns its samples.
pub(super) fn decode(stream: &[u8], layout: &FrameLayout) -> Result<Vec<u16>, CodecError> {
    let header = JpegHeader::read(stream)?;
    if (header.rows, header.columns, 1) != (layout.rows, layout.columns, layout.samples_per_pixel) {
        return Err(CodecError::SizeMismatch("JPEG"));
    }
    let transform = Transform::new();
    let mut scan = JpegScan { bits: JpegBits::new(header.scan), header: &header, prediction: 0 };
    let mut samples = vec![0; layout.sample_count()];
    let mut blocks_until_restart = header.restart_interval;
    for top in (0..header.rows).step_by(8) {
        for left in (0..header.columns).step_by(8) {
            if header.restart_interval > 0 && blocks_until_restart == 0 {
                scan.restart()?;
                blocks_until_restart = header.restart_interval;
            }
            blocks_until_restart = blocks_until_restart.saturating_sub(1);
            let values = transform.invert(&scan.next_block()?);
            // Samples beyond the edge of the image only complete the block.
            let lines = samples[top * header.columns..].chunks_mut(header.columns);
            for (line, values) in lines.zip(values.chunks_exact(8)) {
                for (sample, value) in line[left..].iter_mut().zip(values) {
                    *sample = (value + LEVEL_SHIFT).round().clamp(0.0, MAX_SAMPLE) as u16;
                }
            }
        }
    }
    Ok(samples)
}

/// A reader of the blocks of a scan.
struct JpegScan<'a> {
    bits: JpegBits<'a>,
    header: &'a JpegHeader<'a>,
    /// The DC coefficient of the previous block.
    prediction: i32,
}

impl JpegScan<'_> {
    /// Reads the coefficients of the next block (T.81 F.2.2).
    fn next_block(&mut self) -> Result<Block, CodecError> {
        let JpegHeader { quantization, dc_codes, ac_codes, .. } = self.header;
        let mut block = [0.0; BLOCK];
        let difference = self.next_coefficient(dc_codes, 0)?.1;
        self.prediction = self.prediction.checked_add(difference).ok_or(MALFORMED)?;
        block[0] = self.prediction as f32 * quantization[0];
        let mut next = 1;
        while next < BLOCK {
            match self.next_coefficient(ac_codes, 15)? {
                (0, 0) => break,
                // In a run of sixteen zeros, the value is the last zero.
                (zeros, value) => {
                    let index = next + zeros;
                    let position = *ZIGZAG.get(index).ok_or(MALFORMED)?;
                    block[position] = value as f32 * quantization[index];
                    next = index + 1;
                }
            }
        }
        Ok(block)
    }

    /// Reads a coefficient; returns the number of zeros before it, at most `max_zeros`, and its value.
    fn next_coefficient(&mut self, codes: &Codes, max_zeros: usize) -> Result<(usize, i32), CodecError> {
        let symbol = self.bits.next_symbol(codes)?;
        let (zeros, size) = (usize::from(symbol >> 4), symbol & 0x0F);
        if zeros > max_zeros || (size == 0 && !matches!(zeros, 0 | 15)) {
            return Err(MALFORMED);
        }
        Ok((zeros, self.bits.next_value(size)?))
    }

    /// Resets the prediction after a restart marker.
    fn restart(&mut self) -> Result<(), CodecError> {
        self.prediction = 0;
        self.bits.restart()
    }
}

#[cfg(test)]
mod tests;
