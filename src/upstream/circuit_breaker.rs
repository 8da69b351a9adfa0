//! A circuit breaker for each class of calls: an archive that failed several times in a row is not called for a while, so that
//! requests do not wait for a deadline that is certain to pass, and the archive can recover.
//!
//! Only evidence that the archive itself is unhealthy counts as a failure: no connection, no response in time, 502, 503 or 504.
//! A call that the client canceled does not count, nor does anything that could be the fault of the request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;

/// A lost packet or a restart causes two or three failures in a row; with five, the archive is down.
const FAILURES: u32 = 5;

/// Long enough for a service to restart, short enough that the delay after its return goes unnoticed.
const OPEN_DURATION: Duration = Duration::from_secs(5);

/// Allows calls or rejects them.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    clock: SharedClock,
    state: Mutex<CircuitState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CircuitState {
    /// Calls are allowed; this many have failed in a row.
    Closed { failures: u32 },
    /// No calls are allowed until that time.
    Open { until: Duration },
    /// Half-open: one call is in flight to find out whether the archive has recovered.
    Probing,
}

/// Permission for one call. Dropping it without a result counts as neither success nor failure.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    success: Option<bool>,
}

impl CircuitBreaker {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::new(CircuitState::Closed { failures: 0 }) }
    }

    /// Allows a call, or returns how long the circuit stays open.
    pub(super) fn acquire(&self) -> Result<Permit<'_>, Duration> {
        let mut state = self.state();
        let now = self.clock.elapsed();
        match *state {
            CircuitState::Closed { .. } => {}
            CircuitState::Open { until } => match until.saturating_sub(now) {
                Duration::ZERO => *state = CircuitState::Probing,
                rest => return Err(rest),
            },
            CircuitState::Probing => return Err(OPEN_DURATION),
        }
        Ok(Permit { breaker: self, success: None })
    }

    fn state(&self) -> MutexGuard<'_, CircuitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// The archive responded, with whatever status.
    pub(super) fn succeeded(mut self) {
        self.success = Some(true);
    }

    /// The archive is unhealthy.
    pub(super) fn failed(mut self) {
        self.success = Some(false);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.breaker.clock.elapsed();
        let mut state = self.breaker.state();
        *state = match (*state, self.success) {
            (CircuitState::Closed { failures }, Some(false)) if failures + 1 < FAILURES => {
                CircuitState::Closed { failures: failures + 1 }
            }
            (_, Some(true)) => CircuitState::Closed { failures: 0 },
            // The result of a call that began before the circuit opened is stale.
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
            breaker.acquire().unwrap().failed();
        }
    }

    #[test]
    fn five_failures_in_a_row_open_the_circuit_unless_a_success_is_between_them() {
        let (breaker, _) = breaker();
        fail(&breaker, FAILURES - 1);
        breaker.acquire().unwrap().succeeded();
        fail(&breaker, FAILURES - 1);
        drop(breaker.acquire().unwrap());
        fail(&breaker, 1);
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION);
    }

    #[test]
    fn a_single_call_probes_after_the_circuit_was_open() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURES);
        clock.advance(OPEN_DURATION / 2);
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION / 2);
        clock.advance(OPEN_DURATION / 2);
        let probe = breaker.acquire().unwrap();
        assert!(breaker.acquire().is_err(), "one probe at a time");
        probe.failed();
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION);
        clock.advance(OPEN_DURATION);
        breaker.acquire().unwrap().succeeded();
        fail(&breaker, FAILURES - 1);
        assert!(breaker.acquire().is_ok());
    }

    #[test]
    fn a_canceled_probe_is_followed_by_another() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURES);
        clock.advance(OPEN_DURATION);
        drop(breaker.acquire().unwrap());
        assert!(breaker.acquire().is_ok());
    }

    #[test]
    fn a_stale_failure_does_not_keep_the_circuit_open_longer() {
        let (breaker, clock) = breaker();
        let stale = breaker.acquire().unwrap();
        fail(&breaker, FAILURES);
        clock.advance(OPEN_DURATION / 2);
        stale.failed();
        assert_eq!(breaker.acquire().unwrap_err(), OPEN_DURATION / 2);
    }
}
