//! Statistics of the errors in similar surroundings (T.87 A.6, A.7.2).

/// The context of samples whose surroundings are not flat.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

impl Context {
    pub(super) fn new(range: i32) -> Self {
        Self { a: first_sum(range), b: 0, c: 0, n: 1 }
    }

    /// The correction of predictions.
    pub(super) fn correction(&self) -> i32 {
        self.c
    }

    /// The number of low bits of an error that are not coded (k of the Golomb code).
    pub(super) fn golomb(&self) -> u32 {
        golomb(self.n, self.a)
    }

    /// The error of the mapped value `mapped` (T.87 A.5.2).
    pub(super) fn unmap(&self, mapped: i32, near: i32) -> i32 {
        let error = if mapped & 1 == 0 { mapped / 2 } else { -(mapped + 1) / 2 };
        if near == 0 && self.golomb() == 0 && 2 * self.b <= -self.n { -error - 1 } else { error }
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

/// The context of the sample that ends a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunContext {
    /// The sample of the run equals the one above its end.
    is_equal: bool,
    a: i32,
    n: i32,
    negative: i32,
}

impl RunContext {
    pub(super) fn new(range: i32, is_equal: bool) -> Self {
        Self { is_equal, a: first_sum(range), n: 1, negative: 0 }
    }

    pub(super) fn golomb(&self) -> u32 {
        golomb(self.n, if self.is_equal { self.a + (self.n >> 1) } else { self.a })
    }

    /// The error of the mapped value `mapped`, with which the statistics are updated (T.87 A.7.2.2).
    pub(super) fn unmap(&mut self, mapped: i32, reset: i32) -> i32 {
        let k = self.golomb();
        let both = mapped + i32::from(self.is_equal);
        let map = both & 1;
        let size = (both + map) >> 1;
        let flips = k != 0 || 2 * self.negative >= self.n;
        let error = if flips == (map == 1) { -size } else { size };
        if error < 0 {
            self.negative += 1;
        }
        self.a += (mapped + 1 - i32::from(self.is_equal)) >> 1;
        if self.n == reset {
            self.a >>= 1;
            self.n >>= 1;
            self.negative >>= 1;
        }
        self.n += 1;
        error
    }
}

/// The initial value of A (T.87 A.2.1).
fn first_sum(range: i32) -> i32 {
    ((range + 32) / 64).max(2)
}

fn golomb(n: i32, a: i32) -> u32 {
    (0..31).find(|k| i64::from(n) << k >= i64::from(a)).unwrap_or(31)
}
