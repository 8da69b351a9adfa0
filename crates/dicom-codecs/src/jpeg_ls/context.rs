//! Contexts: statistics of the prediction errors of samples with similar neighbors (T.87 A.6, A.7.2).

/// A context of the regular mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// A: the sum of the absolute errors.
    a: i32,
    /// B: the bias, from which C is updated.
    b: i32,
    /// C: the correction of predictions.
    c: i32,
    /// N: the number of samples.
    n: i32,
}

impl Context {
    pub(super) fn new(range: i32) -> Self {
        Self { a: initial_a(range), b: 0, c: 0, n: 1 }
    }

    /// Returns the correction that is added to predictions (C).
    pub(super) fn prediction_correction(&self) -> i32 {
        self.c
    }

    /// Returns the parameter k of the Golomb code.
    pub(super) fn golomb_parameter(&self) -> u32 {
        golomb_parameter(self.n, self.a)
    }

    /// Returns the error that the encoder mapped to `mapped_error` (T.87 A.5.2).
    pub(super) fn unmap(&self, mapped_error: i32, near: i32) -> i32 {
        let error = if mapped_error & 1 == 0 { mapped_error / 2 } else { -(mapped_error + 1) / 2 };
        if near == 0 && self.golomb_parameter() == 0 && 2 * self.b <= -self.n { -error - 1 } else { error }
    }

    /// Updates the statistics with `error` (T.87 A.6).
    pub(super) fn update(&mut self, error: i32, near: i32, reset: i32) {
        self.b += error * (2 * near + 1);
        self.a += error.abs();
        if self.n == reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// A context of samples that interrupt a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext {
    /// Whether the samples of the run and the sample above the interruption are equal (RItype 1).
    is_equal: bool,
    /// A: the sum of the absolute errors.
    a: i32,
    /// N: the number of samples.
    n: i32,
    /// Nn: the number of negative errors.
    negative_count: i32,
}

impl RunContext {
    pub(super) fn new(range: i32, is_equal: bool) -> Self {
        Self { is_equal, a: initial_a(range), n: 1, negative_count: 0 }
    }

    /// Returns the parameter k of the Golomb code.
    pub(super) fn golomb_parameter(&self) -> u32 {
        golomb_parameter(self.n, if self.is_equal { self.a + (self.n >> 1) } else { self.a })
    }

    /// Returns the error that the encoder mapped to `mapped_error`, and updates the statistics with it (T.87 A.7.2.2).
    pub(super) fn unmap(&mut self, mapped_error: i32, reset: i32) -> i32 {
        let k = self.golomb_parameter();
        let sum = mapped_error + i32::from(self.is_equal);
        let map = sum & 1;
        let size = (sum + map) >> 1;
        let is_inverted = k != 0 || 2 * self.negative_count >= self.n;
        let error = if is_inverted == (map == 1) { -size } else { size };
        if error < 0 {
            self.negative_count += 1;
        }
        self.a += (mapped_error + 1 - i32::from(self.is_equal)) >> 1;
        if self.n == reset {
            self.a >>= 1;
            self.n >>= 1;
            self.negative_count >>= 1;
        }
        self.n += 1;
        error
    }
}

/// Returns the initial value of A (T.87 A.2.1).
fn initial_a(range: i32) -> i32 {
    ((range + 32) / 64).max(2)
}

fn golomb_parameter(n: i32, a: i32) -> u32 {
    (0..31).find(|k| i64::from(n) << k >= i64::from(a)).unwrap_or(31)
}
