//! Decodes samples line by line: each is predicted from its surroundings, or part of a run if these are flat (T.87 A.3 to A.7).

use super::BROKEN;
use super::bits::JpegLsBits;
use super::context::{Context, RunContext};
use super::header::SampleCoding;
use crate::CodecError;

/// Lengths of runs as powers of two (T.87 A.2.1, J).
const RUNS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// The state between the lines of a scan.
#[derive(Debug)]
pub(super) struct Coder {
    coding: SampleCoding,
    contexts: Vec<Context>,
    other: RunContext,
    equal: RunContext,
    /// The current index of each component in [`RUNS`].
    runs: Vec<usize>,
}

/// The samples around one: left, above, above to the left, above to the right.
#[derive(Debug, Clone, Copy)]
struct Around {
    a: i32,
    b: i32,
    c: i32,
    d: i32,
}

impl Around {
    /// The surroundings of the sample at `at` of `line`.
    fn at(above: &[i32], line: &[i32], at: usize) -> Self {
        Self { a: line[at - 1], b: above[at], c: above[at - 1], d: above[at + 1] }
    }

    /// The prediction (T.87 A.4.1).
    fn predicted(self) -> i32 {
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

impl Coder {
    pub(super) fn new(coding: SampleCoding, components: usize) -> Self {
        Self {
            contexts: vec![Context::new(coding.range); 365],
            other: RunContext::new(coding.range, false),
            equal: RunContext::new(coding.range, true),
            runs: vec![0; components],
            coding,
        }
    }

    /// Fills `line` of one component, whose first sample is at index 1.
    pub(super) fn line(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        component: usize,
        above: &[i32],
        line: &mut [i32],
    ) -> Result<(), CodecError> {
        let end = line.len() - 1;
        let mut at = 1;
        while at < end {
            let around = Around::at(above, line, at);
            let context = self.context_of(around);
            if context != 0 {
                line[at] = self.regular(bits, around, context)?;
                at += 1;
                continue;
            }
            let run = self.run(bits, component, end - at)?;
            line[at..at + run.length].fill(around.a);
            at += run.length;
            if run.is_broken {
                let above = above[at];
                line[at] = if (around.a - above).abs() <= self.coding.near {
                    let error = self.error_at_end(bits, component, true)?;
                    self.corrected(around.a, error)
                } else {
                    let error = self.error_at_end(bits, component, false)?;
                    self.corrected(above, if around.a > above { -error } else { error })
                };
                self.shorten(component);
                at += 1;
            }
        }
        Ok(())
    }

    /// Fills lines whose components are interleaved by sample (T.87 B.3).
    pub(super) fn line_of_pixels(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        above: &[Vec<i32>],
        lines: &mut [Vec<i32>],
    ) -> Result<(), CodecError> {
        let end = lines[0].len() - 1;
        let mut at = 1;
        while at < end {
            let around: Vec<_> =
                above.iter().zip(lines.iter()).map(|(above, line)| Around::at(above, line, at)).collect();
            let contexts: Vec<_> = around.iter().map(|around| self.context_of(*around)).collect();
            if contexts.iter().any(|context| *context != 0) {
                for (index, line) in lines.iter_mut().enumerate() {
                    line[at] = self.regular(bits, around[index], contexts[index])?;
                }
                at += 1;
                continue;
            }
            let run = self.run(bits, 0, end - at)?;
            for (line, around) in lines.iter_mut().zip(&around) {
                line[at..at + run.length].fill(around.a);
            }
            at += run.length;
            if run.is_broken {
                for (index, line) in lines.iter_mut().enumerate() {
                    let (left, above) = (around[index].a, above[index][at]);
                    let error = self.error_at_end(bits, 0, false)?;
                    line[at] = self.corrected(above, if left > above { -error } else { error });
                }
                self.shorten(0);
                at += 1;
            }
        }
        Ok(())
    }

    /// The context number (T.87 A.3): 0 if the surroundings are flat, negative if the signs of all differences are inverted.
    fn context_of(&self, Around { a, b, c, d }: Around) -> i32 {
        81 * self.quantized(d - b) + 9 * self.quantized(b - c) + self.quantized(c - a)
    }

    fn quantized(&self, difference: i32) -> i32 {
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

    /// T.87 A.4 to A.6.
    fn regular(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        around: Around,
        context: i32,
    ) -> Result<i32, CodecError> {
        let SampleCoding { maximum, near, reset, limit, .. } = self.coding;
        let sign = if context < 0 { -1 } else { 1 };
        // Nine values for each of three differences are 365 contexts without the sign.
        let index = context.unsigned_abs() as usize;
        let statistics = self.contexts[index];
        let predicted = (around.predicted() + sign * statistics.correction()).clamp(0, maximum);
        let mapped = self.mapped_error(bits, statistics.golomb(), limit)?;
        let error = statistics.unmap(mapped, near);
        self.contexts[index].update(error, near, reset);
        Ok(self.corrected(predicted, sign * error))
    }

    /// A limited Golomb code (T.87 A.5.3).
    fn mapped_error(&self, bits: &mut JpegLsBits<'_>, k: u32, limit: u32) -> Result<i32, CodecError> {
        let error_bits = self.coding.error_bits;
        let max_zeros = limit.checked_sub(error_bits + 1).ok_or(BROKEN)?;
        let zeros = bits.zeros(max_zeros)?;
        let value = if zeros < max_zeros {
            u64::from(zeros) << k | u64::from(bits.read(k)?)
        } else {
            u64::from(bits.read(error_bits)?) + 1
        };
        // Twice the range is enough for every error and its sign.
        i32::try_from(value).ok().filter(|value| *value <= 2 * self.coding.range).ok_or(BROKEN)
    }

    /// The sample with `error` from `predicted` (T.87 A.4.5, A.6.1).
    fn corrected(&self, predicted: i32, error: i32) -> i32 {
        let SampleCoding { maximum, near, range, .. } = self.coding;
        let step = 2 * near + 1;
        let sample = predicted + error * step;
        let sample = if sample < -near {
            sample + range * step
        } else if sample > maximum + near {
            sample - range * step
        } else {
            sample
        };
        sample.clamp(0, maximum)
    }

    /// The length of a run, at most `left` samples (T.87 A.7.1).
    fn run(&mut self, bits: &mut JpegLsBits<'_>, component: usize, left: usize) -> Result<Run, CodecError> {
        let state = &mut self.runs[component];
        let mut length = 0;
        while bits.bit()? == 1 {
            let step = 1 << RUNS[*state];
            if step <= left - length {
                *state = (*state + 1).min(RUNS.len() - 1);
            }
            length = (length + step).min(left);
            if length == left {
                return Ok(Run { length, is_broken: false });
            }
        }
        length += bits.read(RUNS[*state])? as usize;
        if length < left { Ok(Run { length, is_broken: true }) } else { Err(BROKEN) }
    }

    /// The error of the sample that ends a run (T.87 A.7.2).
    fn error_at_end(
        &mut self,
        bits: &mut JpegLsBits<'_>,
        component: usize,
        is_equal: bool,
    ) -> Result<i32, CodecError> {
        let k = if is_equal { self.equal.golomb() } else { self.other.golomb() };
        let limit = self.coding.limit.saturating_sub(RUNS[self.runs[component]] + 1);
        let mapped = self.mapped_error(bits, k, limit)?;
        let context = if is_equal { &mut self.equal } else { &mut self.other };
        Ok(context.unmap(mapped, self.coding.reset))
    }

    fn shorten(&mut self, component: usize) {
        let state = &mut self.runs[component];
        *state = state.saturating_sub(1);
    }
}

/// Samples equal to the one before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    length: usize,
    /// Whether another sample follows in the line.
    is_broken: bool,
}
