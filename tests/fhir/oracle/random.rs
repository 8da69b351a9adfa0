//! Reproducible random numbers (SplitMix64 by Steele, Lea and Flood).

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator of random numbers and choices.
#[derive(Debug)]
pub(super) struct RandomNumbers(u64);

/// Returns a seed that differs from run to run.
pub(super) fn new_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 1_000_000_007
}

impl From<u64> for RandomNumbers {
    fn from(seed: u64) -> Self {
        Self(seed)
    }
}

impl RandomNumbers {
    fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub(super) fn number_below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_number() % end as u64).unwrap()
    }

    /// Returns `true` with probability 1 / `denominator`.
    pub(super) fn is_one_in(&mut self, denominator: usize) -> bool {
        self.number_below(denominator) == 0
    }

    /// Returns one of `choices`.
    pub(super) fn choose<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.number_below(choices.len())]
    }
}
