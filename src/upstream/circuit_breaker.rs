//! A breaker for each class of calls: an archive that failed several times in a row is left alone for a while, so that
//! nobody waits for a deadline that is sure to pass, and so that it can recover.
//!
//! Only what says that the archive itself is unwell counts: no connection, no answer in time, 502, 503, 504. A client that
//! goes away counts as nothing, and so does whatever can be the request's fault.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;

/// One lost packet or a restart makes two or three; a human would give up sooner.
const FAILURES: u32 = 5;

/// Long enough for a service to be started again, short enough that nobody notices that it is back later than it was.
const OPEN_DURATION: Duration = Duration::from_secs(5);

/// Lets calls pass, or not.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    clock: SharedClock,
    state: Mutex<CircuitState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CircuitState {
    /// Calls pass; so many failed one after the other.
    Closed { failures: u32 },
    /// No call passes before the clock says so.
    Open { until: Duration },
    /// One call is under way to see whether the archive is back.
    Probing,
}

/// A call that may be made. Dropping it without a verdict says nothing about the archive.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    verdict: Option<bool>,
}

impl CircuitBreaker {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, state: Mutex::new(CircuitState::Closed { failures: 0 }) }
    }

    /// Lets a call pass, or says how long the archive is still left alone.
    pub(super) fn pass(&self) -> Result<Permit<'_>, Duration> {
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
        Ok(Permit { breaker: self, verdict: None })
    }

    fn state(&self) -> MutexGuard<'_, CircuitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// The archive answered, whatever it said.
    pub(super) fn succeeded(mut self) {
        self.verdict = Some(true);
    }

    /// The archive is unwell.
    pub(super) fn failed(mut self) {
        self.verdict = Some(false);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.breaker.clock.elapsed();
        let mut state = self.breaker.state();
        *state = match (*state, self.verdict) {
            (CircuitState::Closed { failures }, Some(false)) if failures + 1 < FAILURES => {
                CircuitState::Closed { failures: failures + 1 }
            }
            (_, Some(true)) => CircuitState::Closed { failures: 0 },
            // A call that began before the breaker opened is late news.
            (CircuitState::Open { until }, _) => CircuitState::Open { until },
            (CircuitState::Closed { .. } | CircuitState::Probing, Some(false)) => {
                CircuitState::Open { until: now + OPEN_DURATION }
            }
            // The next call probes.
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
            breaker.pass().unwrap().failed();
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let (breaker, _) = breaker();
        fail(&breaker, FAILURES - 1);
        breaker.pass().unwrap().succeeded();
        fail(&breaker, FAILURES - 1);
        drop(breaker.pass().unwrap());
        fail(&breaker, 1);
        assert_eq!(breaker.pass().unwrap_err(), OPEN_DURATION);
    }

    #[test]
    fn after_the_rest_one_call_probes() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURES);
        clock.advance(OPEN_DURATION / 2);
        assert_eq!(breaker.pass().unwrap_err(), OPEN_DURATION / 2);
        clock.advance(OPEN_DURATION / 2);
        let probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_err(), "one probe at a time");
        probe.failed();
        assert_eq!(breaker.pass().unwrap_err(), OPEN_DURATION);
        clock.advance(OPEN_DURATION);
        breaker.pass().unwrap().succeeded();
        fail(&breaker, FAILURES - 1);
        assert!(breaker.pass().is_ok());
    }

    #[test]
    fn a_probe_that_is_given_up_is_followed_by_another() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURES);
        clock.advance(OPEN_DURATION);
        drop(breaker.pass().unwrap());
        assert!(breaker.pass().is_ok());
    }

    #[test]
    fn late_news_do_not_prolong_the_rest() {
        let (breaker, clock) = breaker();
        let late = breaker.pass().unwrap();
        fail(&breaker, FAILURES);
        clock.advance(OPEN_DURATION / 2);
        late.failed();
        assert_eq!(breaker.pass().unwrap_err(), OPEN_DURATION / 2);
    }
}
