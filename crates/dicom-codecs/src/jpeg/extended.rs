//! Decodes Extended JPEG of 12 bits (ITU-T T.81: extended sequential DCT with Huffman coding) with one component, which DICOM uses
//! for grayscale images (PS3.5 8.2.1).
//!
//! [`header`] reads the marker segments, [`huffman`] the Huffman codes of the entropy-coded data, and [`idct`] converts
//! coefficients to samples.

mod header;
mod huffman;
mod idct;

use super::MALFORMED;
use crate::{Cancellation, CodecError, FrameLayout};
use header::JpegHeaders;
use huffman::{EntropyCodedBits, HuffmanTable};
use idct::{BLOCK_SIZE, Block, InverseDct};

pub(super) use header::is_12_bit_extended;

/// The maximum value of a sample of 12 bits.
const MAX_SAMPLE: f32 = 4095.0;

/// The level shift: the number that the encoder subtracts from each sample (T.81 A.3.1).
const LEVEL_SHIFT: f32 = 2048.0;

/// Maps an index in zig-zag order to a position in the block (T.81 figure A.6).
#[rustfmt::skip]
const ZIG_ZAG_ORDER: [usize; BLOCK_SIZE] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Decodes the frame in `stream` and returns its samples.
pub(super) fn decode(
    stream: &[u8],
    layout: &FrameLayout,
    cancellation: Cancellation<'_>,
) -> Result<Vec<u16>, CodecError> {
    let headers = JpegHeaders::read(stream)?;
    if (headers.rows, headers.columns, 1) != (layout.rows, layout.columns, layout.samples_per_pixel) {
        return Err(CodecError::SizeMismatch("JPEG"));
    }
    let inverse_dct = InverseDct::new();
    let mut scan = ScanReader {
        bits: EntropyCodedBits::new(headers.entropy_coded_data),
        headers: &headers,
        prediction: 0,
    };
    let mut samples = vec![0; layout.sample_count()];
    let mut blocks_until_restart = headers.restart_interval;
    for top in (0..headers.rows).step_by(8) {
        cancellation.check()?;
        for left in (0..headers.columns).step_by(8) {
            if headers.restart_interval > 0 && blocks_until_restart == 0 {
                scan.restart()?;
                blocks_until_restart = headers.restart_interval;
            }
            blocks_until_restart = blocks_until_restart.saturating_sub(1);
            let values = inverse_dct.transform(&scan.next_block()?);
            // Blocks at the edge are padded; samples outside the image are dropped.
            let lines = samples[top * headers.columns..].chunks_mut(headers.columns);
            for (line, values) in lines.zip(values.chunks_exact(8)) {
                for (sample, value) in line[left..].iter_mut().zip(values) {
                    *sample = (value + LEVEL_SHIFT).round().clamp(0.0, MAX_SAMPLE) as u16;
                }
            }
        }
    }
    Ok(samples)
}

/// Reads the blocks of a scan.
struct ScanReader<'a> {
    bits: EntropyCodedBits<'a>,
    headers: &'a JpegHeaders<'a>,
    /// PRED, the predicted DC coefficient: the DC coefficient of the previous block (T.81 F.1.1.5.1).
    prediction: i32,
}

impl ScanReader<'_> {
    /// Reads the coefficients of the next block (T.81 F.2.2).
    fn next_block(&mut self) -> Result<Block, CodecError> {
        let JpegHeaders { quantization_table, dc_table, ac_table, .. } = self.headers;
        let mut block = [0.0; BLOCK_SIZE];
        let difference = self.next_coefficient(dc_table, 0)?.1;
        self.prediction = self.prediction.checked_add(difference).ok_or(MALFORMED)?;
        block[0] = self.prediction as f32 * quantization_table[0];
        let mut next = 1;
        while next < BLOCK_SIZE {
            match self.next_coefficient(ac_table, 15)? {
                // End of block.
                (0, 0) => break,
                // In a run of sixteen zeros (ZRL), the value is the last zero.
                (run, value) => {
                    let index = next + run;
                    let position = *ZIG_ZAG_ORDER.get(index).ok_or(MALFORMED)?;
                    block[position] = value as f32 * quantization_table[index];
                    next = index + 1;
                }
            }
        }
        Ok(block)
    }

    /// Reads a coefficient. Returns the run length of zeros before it, at most `max_run`, and its value.
    fn next_coefficient(&mut self, table: &HuffmanTable, max_run: usize) -> Result<(usize, i32), CodecError> {
        let symbol = self.bits.next_symbol(table)?;
        let (run, size) = (usize::from(symbol >> 4), symbol & 0x0F);
        if run > max_run || (size == 0 && !matches!(run, 0 | 15)) {
            return Err(MALFORMED);
        }
        Ok((run, self.bits.next_value(size)?))
    }

    /// Resets the prediction after a restart marker.
    fn restart(&mut self) -> Result<(), CodecError> {
        self.prediction = 0;
        self.bits.skip_restart_marker()
    }
}

#[cfg(test)]
mod tests;
