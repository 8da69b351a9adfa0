//! The minimum transfer rate of a body. An archive that sends single bytes would otherwise keep a permit without limit, because
//! each byte arrives within the timeout.
//!
//! Only the time during which the gateway waits for the archive counts, so that a client that reads slowly does not count as a
//! slow archive. The rate is compared after each window of waiting, so that an archive that pauses and then sends a lot of data is
//! not too slow.

use std::time::{Duration, Instant};

/// The transfer rate of one body.
#[derive(Debug)]
pub(super) struct TransferRate {
    /// The minimum rate in bytes per second.
    min_rate: usize,
    /// The time of waiting after which the rate is compared.
    window: Duration,
    waiting_since: Option<Instant>,
    /// The time that the gateway has waited in this window.
    waited: Duration,
    /// The number of bytes that arrived in this window.
    received_len: usize,
}

/// The error for a body that is slower than the minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooSlow {
    /// The minimum rate in bytes per second.
    pub(super) min_rate: usize,
}

impl TransferRate {
    /// Creates the rate of a body that must have at least `min_rate` bytes per second in every `window`.
    pub(super) fn new(min_rate: usize, window: Duration) -> Self {
        Self { min_rate, window, waiting_since: None, waited: Duration::ZERO, received_len: 0 }
    }

    /// Records that the gateway waits for the archive at `now`. A wait that has already begun continues.
    pub(super) fn record_wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// Records that `len` bytes have arrived at the time `now`.
    pub(super) fn record_bytes(&mut self, now: Instant, len: usize) -> Result<(), TooSlow> {
        self.received_len = self.received_len.saturating_add(len);
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
        if self.waited < self.window {
            return Ok(());
        }
        let minimum = self.waited.as_millis().saturating_mul(self.min_rate as u128) / 1000;
        if (self.received_len as u128) < minimum {
            return Err(TooSlow { min_rate: self.min_rate });
        }
        (self.waited, self.received_len) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    /// Receives `len` bytes after each wait of `seconds`; returns the number of waits after which the body was too slow, if it was.
    fn receive_all(waits: impl IntoIterator<Item = (u64, usize)>) -> Option<usize> {
        let (mut rate, mut now) = (TransferRate::new(256, WINDOW), Instant::now());
        waits.into_iter().position(|(seconds, len)| {
            rate.record_wait(now);
            now += Duration::from_secs(seconds);
            rate.record_bytes(now, len) == Err(TooSlow { min_rate: 256 })
        })
    }

    #[test]
    fn a_body_of_one_byte_per_second_is_too_slow_after_the_window() {
        assert_eq!(receive_all([(1, 1); 100]), Some(29));
        assert_eq!(receive_all([(1, 256); 100]), None);
    }

    #[test]
    fn a_body_that_pauses_and_then_sends_enough_is_not_too_slow() {
        let pauses = [(29, 1), (1, 30 * 256)];
        assert_eq!(receive_all(pauses.repeat(10)), None);
    }

    #[test]
    fn a_client_that_reads_slowly_does_not_make_an_archive_too_slow() {
        let (mut rate, mut now) = (TransferRate::new(256, WINDOW), Instant::now());
        for _ in 0..100 {
            now += WINDOW;
            assert_eq!(rate.record_bytes(now, 1), Ok(()), "the byte had already arrived");
        }
    }
}
