//! Decodes samples line by line: in regular mode each sample is predicted from its neighbors, in run mode several samples are equal
//! (T.87 A.3 to A.7).

use super::MALFORMED;
use super::bits::JpegLsBits;
use super::context::{Context, RunContext};
use super::header::SampleCoding;
use crate::CodecError;

/// The lengths of run segments as exponents of two (T.87 A.2.1, J).
const RUN_EXPONENTS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Decodes the lines of a scan, and keeps the contexts between them.
#[derive(Debug)]
pub(super) struct LineDecoder {
    coding: SampleCoding,
    contexts: Vec<Context>,
    /// The context of interruptions with RItype 0.
    unequal_context: RunContext,
    /// The context of interruptions with RItype 1.
    equal_context: RunContext,
    /// The current index of each component in [`RUN_EXPONENTS`].
    run_indexes: Vec<usize>,
}

/// The neighbors of a sample: left, above, above left, above right (T.87 A.1).
#[derive(Debug, Clone, Copy)]
struct Neighbors {
    a: i32,
    b: i32,
    c: i32,
    d: i32,
}

impl Neighbors {
    /// Returns the neighbors of the sample with this index in `line`; `previous` is the line above.
    fn of_sample(previous: &[i32], line: &[i32], index: usize) -> Self {
        Self { a: line[index - 1], b: previous[index], c: previous[index - 1], d: previous[index + 1] }
    }

    /// Returns the predicted sample (T.87 A.4.1).
    fn predict(self) -> i32 {
        let Self { a, b, c, .. } = self;
        if c >= a.max(b) {
            a.min(b)
        } else if c <= a.min(b) {
            a.max(b)
        } else {
            a + b - c
        }
    }
}

impl LineDecoder {
    pub(super) fn new(coding: SampleCoding, component_count: usize) -> Self {
        Self {
            contexts: vec![Context::new(coding.range); 365],
            unequal_context: RunContext::new(coding.range, false),
            equal_context: RunContext::new(coding.range, true),
            run_indexes: vec![0; component_count],
            coding,
        }
    }

    /// Decodes `line` of one component, whose first sample has the index 1.
    pub(super) fn decode_line(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        component: usize,
        previous: &[i32],
        line: &mut [i32],
    ) -> Result<(), CodecError> {
        let end = line.len() - 1;
        let mut index = 1;
        while index < end {
            let neighbors = Neighbors::of_sample(previous, line, index);
            let context = self.context_number(neighbors);
            if context != 0 {
                line[index] = self.decode_regular(bits, neighbors, context)?;
                index += 1;
                continue;
            }
            let run = self.decode_run(bits, component, end - index)?;
            line[index..index + run.length].fill(neighbors.a);
            index += run.length;
            if run.is_interrupted {
                let above = previous[index];
                line[index] = if (neighbors.a - above).abs() <= self.coding.near {
                    let error = self.decode_interruption_error(bits, component, true)?;
                    self.reconstruct(neighbors.a, error)
                } else {
                    let error = self.decode_interruption_error(bits, component, false)?;
                    self.reconstruct(above, if neighbors.a > above { -error } else { error })
                };
                self.decrement_run_index(component);
                index += 1;
            }
        }
        Ok(())
    }

    /// Decodes the lines of all components, which are sample-interleaved (T.87 B.3).
    pub(super) fn decode_interleaved_lines(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        previous: &[Vec<i32>],
        lines: &mut [Vec<i32>],
    ) -> Result<(), CodecError> {
        let end = lines[0].len() - 1;
        let mut index = 1;
        while index < end {
            let neighbors: Vec<_> = previous
                .iter()
                .zip(lines.iter())
                .map(|(previous, line)| Neighbors::of_sample(previous, line, index))
                .collect();
            let contexts: Vec<_> =
                neighbors.iter().map(|neighbors| self.context_number(*neighbors)).collect();
            if contexts.iter().any(|context| *context != 0) {
                for (component, line) in lines.iter_mut().enumerate() {
                    line[index] = self.decode_regular(bits, neighbors[component], contexts[component])?;
                }
                index += 1;
                continue;
            }
            let run = self.decode_run(bits, 0, end - index)?;
            for (line, neighbors) in lines.iter_mut().zip(&neighbors) {
                line[index..index + run.length].fill(neighbors.a);
            }
            index += run.length;
            if run.is_interrupted {
                for (component, line) in lines.iter_mut().enumerate() {
                    let (left, above) = (neighbors[component].a, previous[component][index]);
                    let error = self.decode_interruption_error(bits, 0, false)?;
                    line[index] = self.reconstruct(above, if left > above { -error } else { error });
                }
                self.decrement_run_index(0);
                index += 1;
            }
        }
        Ok(())
    }

    /// Returns the context number (T.87 A.3): 0 in run mode, negative if the signs of all differences are inverted.
    fn context_number(&self, Neighbors { a, b, c, d }: Neighbors) -> i32 {
        81 * self.quantize(d - b) + 9 * self.quantize(b - c) + self.quantize(c - a)
    }

    fn quantize(&self, difference: i32) -> i32 {
        let [first, second, third] = self.coding.thresholds;
        let size = match difference.abs() {
            size if size >= third => 4,
            size if size >= second => 3,
            size if size >= first => 2,
            size if size > self.coding.near => 1,
            _ => 0,
        };
        size * difference.signum()
    }

    /// Decodes a sample in regular mode (T.87 A.4 to A.6).
    fn decode_regular(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        neighbors: Neighbors,
        context: i32,
    ) -> Result<i32, CodecError> {
        let SampleCoding { max_value, near, reset, limit, .. } = self.coding;
        let sign = if context < 0 { -1 } else { 1 };
        // Three differences with nine values each make 365 contexts without the sign.
        let index = context.unsigned_abs() as usize;
        let statistics = self.contexts[index];
        let prediction =
            (neighbors.predict() + sign * statistics.prediction_correction()).clamp(0, max_value);
        let mapped_error = self.decode_mapped_error(bits, statistics.golomb_parameter(), limit)?;
        let error = statistics.unmap(mapped_error, near);
        self.contexts[index].update(error, near, reset);
        Ok(self.reconstruct(prediction, sign * error))
    }

    /// Decodes a limited Golomb code (T.87 A.5.3).
    fn decode_mapped_error(&self, bits: &mut JpegLsBits<'_>, k: u32, limit: u32) -> Result<i32, CodecError> {
        let mapped_error_bits = self.coding.mapped_error_bits;
        let max_zeros = limit.checked_sub(mapped_error_bits + 1).ok_or(MALFORMED)?;
        let zero_count = bits.read_unary(max_zeros)?;
        let value = if zero_count < max_zeros {
            u64::from(zero_count) << k | u64::from(bits.read_bits(k)?)
        } else {
            u64::from(bits.read_bits(mapped_error_bits)?) + 1
        };
        // No mapped error exceeds twice the range.
        i32::try_from(value).ok().filter(|value| *value <= 2 * self.coding.range).ok_or(MALFORMED)
    }

    /// Returns the sample for a prediction and its error (T.87 A.4.5, A.6.1).
    fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let SampleCoding { max_value, near, range, .. } = self.coding;
        let step = 2 * near + 1;
        let sample = prediction + error * step;
        let sample = if sample < -near {
            sample + range * step
        } else if sample > max_value + near {
            sample - range * step
        } else {
            sample
        };
        sample.clamp(0, max_value)
    }

    /// Decodes the length of a run, at most `max_length` samples (T.87 A.7.1).
    fn decode_run(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        component: usize,
        max_length: usize,
    ) -> Result<Run, CodecError> {
        let run_index = &mut self.run_indexes[component];
        let mut length = 0;
        while bits.read_bit()? == 1 {
            let step = 1 << RUN_EXPONENTS[*run_index];
            if step <= max_length - length {
                *run_index = (*run_index + 1).min(RUN_EXPONENTS.len() - 1);
            }
            length = (length + step).min(max_length);
            if length == max_length {
                return Ok(Run { length, is_interrupted: false });
            }
        }
        length += bits.read_bits(RUN_EXPONENTS[*run_index])? as usize;
        if length < max_length { Ok(Run { length, is_interrupted: true }) } else { Err(MALFORMED) }
    }

    /// Decodes the error of the sample that interrupts a run (T.87 A.7.2).
    fn decode_interruption_error(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        component: usize,
        is_equal: bool,
    ) -> Result<i32, CodecError> {
        let k = if is_equal {
            self.equal_context.golomb_parameter()
        } else {
            self.unequal_context.golomb_parameter()
        };
        let limit = self.coding.limit.saturating_sub(RUN_EXPONENTS[self.run_indexes[component]] + 1);
        let mapped_error = self.decode_mapped_error(bits, k, limit)?;
        let context = if is_equal { &mut self.equal_context } else { &mut self.unequal_context };
        Ok(context.unmap(mapped_error, self.coding.reset))
    }

    fn decrement_run_index(&mut self, component: usize) {
        let run_index = &mut self.run_indexes[component];
        *run_index = run_index.saturating_sub(1);
    }
}

/// A run of samples that are equal to their left neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    length: usize,
    /// Whether a different sample follows in the line.
    is_interrupted: bool,
}
