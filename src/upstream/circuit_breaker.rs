//! A circuit breaker for each class of calls. After several failures in a row the archive is not called for a while, so that
//! requests do not wait for the deadline in vain and the archive can recover.
//!
//! Only evidence that the archive itself is unhealthy counts as a failure: no connection, no response in time, 502, 503 or 504.
//! A call that the client canceled does not count, nor does an error that the request may have caused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;

/// The number of failures in a row that opens the circuit. A lost packet or a restart causes two or three; after five, the
/// archive is down.
const FAILURE_THRESHOLD: u32 = 5;

/// How long the circuit stays open: long enough for a service to restart, short enough that users do not notice the delay.
const OPEN_DURATION: Duration = Duration::from_secs(5);

/// Allows calls or rejects them.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    clock: SharedClock,
    state: Mutex<CircuitState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CircuitState {
    /// Calls are allowed. `failures` is the number of failures in a row.
    Closed { failures: u32 },
    /// No calls are allowed until the time `until` of the clock.
    Open { until: Duration },
    /// Half-open: one call is in flight, which shows whether the archive has recovered.
    Probing,
}

/// Permission for one call. Dropping it without a result counts as neither success nor failure.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    succeeded: Option<bool>,
}

impl CircuitBreaker {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::new(CircuitState::Closed { failures: 0 }) }
    }

    /// Allows a call, or returns how long the circuit stays open.
    pub(super) fn acquire(&self) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock_state();
        let now = self.clock.elapsed();
        match *state {
            CircuitState::Closed { .. } => {}
            CircuitState::Open { until } => match until.saturating_sub(now) {
                Duration::ZERO => *state = CircuitState::Probing,
                remaining => return Err(remaining),
            },
            CircuitState::Probing => return Err(OPEN_DURATION),
        }
        Ok(Permit { breaker: self, succeeded: None })
    }

    fn lock_state(&self) -> MutexGuard<'_, CircuitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Records that the archive is healthy.
    pub(super) fn record_success(mut self) {
        self.succeeded = Some(true);
    }

    /// Records that the archive is unhealthy.
    pub(super) fn record_failure(mut self) {
        self.succeeded = Some(false);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.breaker.clock.elapsed();
        let mut state = self.breaker.lock_state();
        *state = match (*state, self.succeeded) {
            (CircuitState::Closed { failures }, Some(false)) if failures + 1 < FAILURE_THRESHOLD => {
                CircuitState::Closed { failures: failures + 1 }
            }
            (_, Some(true)) => CircuitState::Closed { failures: 0 },
            // The call began before the circuit opened, so its result is stale.
            (CircuitState::Open { until }, _) => CircuitState::Open { until },
            (CircuitState::Closed { .. } | CircuitState::Probing, Some(false)) => {
                CircuitState::Open { until: now + OPEN_DURATION }
            }
            // The call was canceled, so the next one probes.
            (CircuitState::Probing, None) => CircuitState::Open { until: now },
            (closed @ CircuitState::Closed { .. }, None) => closed,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    fn breaker() -> (CircuitBreaker, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (CircuitBreaker::new(clock.clone()), clock)
    }

    fn fail(breaker: &CircuitBreaker, times: u32) {
        for _ in 0..times {
            breaker.acquire().unwrap().record_failure();
        }
    }

    #[test]
    fn five_failures_in_a_row_open_the_circuit_unless_a_call_succeeds_between_them() {
        let (breaker, _) = breaker();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        breaker.acquire().unwrap().record_success();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        drop(breaker.acquire().unwrap());
        fail(&breaker, 1);
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION);
    }

    #[test]
    fn one_call_probes_the_archive_after_the_circuit_was_open() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURE_THRESHOLD);
        clock.advance(OPEN_DURATION / 2);
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION / 2);
        clock.advance(OPEN_DURATION / 2);
        let probe = breaker.acquire().unwrap();
        assert!(breaker.acquire().is_err(), "one probe at a time");
        probe.record_failure();
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION);
        clock.advance(OPEN_DURATION);
        breaker.acquire().unwrap().record_success();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        assert!(breaker.acquire().is_ok());
    }

    #[test]
    fn a_canceled_probe_is_followed_by_another() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURE_THRESHOLD);
        clock.advance(OPEN_DURATION);
        drop(breaker.acquire().unwrap());
        assert!(breaker.acquire().is_ok());
    }

    #[test]
    fn a_stale_failure_does_not_keep_the_circuit_open_longer() {
        let (breaker, clock) = breaker();
        let stale = breaker.acquire().unwrap();
        fail(&breaker, FAILURE_THRESHOLD);
        clock.advance(OPEN_DURATION / 2);
        stale.record_failure();
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION / 2);
    }
}
