//! Converts coefficients to samples: the inverse discrete cosine transform (IDCT, T.81 A.3.3).

use std::f32::consts::{FRAC_1_SQRT_2, PI};

/// The number of samples or coefficients of a block.
pub(super) const BLOCK_SIZE: usize = 64;

/// Eight lines of eight samples or coefficients.
pub(super) type Block = [f32; BLOCK_SIZE];

/// The factors C(u)/2 · cos((2x+1)uπ/16) for each position x in a line and each frequency u.
pub(super) struct InverseDct([[f32; 8]; 8]);

impl InverseDct {
    pub(super) fn new() -> Self {
        let mut cosines = [[0.0; 8]; 8];
        for (x, cosines) in (0_u8..).zip(&mut cosines) {
            for (u, cosine) in (0_u8..).zip(cosines) {
                let angle = f32::from(2 * x + 1) * f32::from(u) * PI / 16.0;
                *cosine = angle.cos() / 2.0 * if u == 0 { FRAC_1_SQRT_2 } else { 1.0 };
            }
        }
        Self(cosines)
    }

    /// Returns the samples of a block before the level shift.
    pub(super) fn transform(&self, coefficients: &Block) -> Block {
        // Lines first, then columns: each step transposes its result.
        self.transform_lines(&self.transform_lines(coefficients))
    }

    fn transform_lines(&self, block: &Block) -> Block {
        let mut transposed = [0.0; BLOCK_SIZE];
        for (y, line) in block.chunks_exact(8).enumerate() {
            for (x, cosines) in self.0.iter().enumerate() {
                transposed[x * 8 + y] = line.iter().zip(cosines).map(|(value, cosine)| value * cosine).sum();
            }
        }
        transposed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dc_coefficient_is_eight_times_the_mean() {
        let mut coefficients = [0.0; BLOCK_SIZE];
        coefficients[0] = 800.0;
        let samples = InverseDct::new().transform(&coefficients);
        assert!(samples.iter().all(|sample| (sample - 100.0).abs() < 1e-3), "{samples:?}");
    }

    #[test]
    fn coefficient_in_the_first_line_varies_samples_only_along_lines() {
        let mut coefficients = [0.0; BLOCK_SIZE];
        coefficients[1] = 100.0;
        let samples = InverseDct::new().transform(&coefficients);
        assert!((samples[0] + samples[7]).abs() < 1e-3 && samples[0] > samples[1]);
        assert!(samples.chunks_exact(8).all(|line| line == &samples[..8]));
    }
}
