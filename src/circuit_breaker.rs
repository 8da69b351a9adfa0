//! A circuit breaker for the calls to a service: those of one class to an archive, or those to the store. After several failures in
//! a row the service is not called for a while, so that requests do not wait for the deadline unnecessarily and the service can recover.
//!
//! The caller decides what is a failure: only evidence that the service itself is unhealthy. A call that was canceled does not count.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::SharedClock;

/// Allows calls or rejects them.
#[derive(Debug)]
pub struct CircuitBreaker {
    clock: SharedClock,
    /// The number of failures in a row that opens the circuit.
    failure_threshold: u32,
    /// How long the circuit stays open.
    open_duration: Duration,
    circuit: Mutex<Circuit>,
}

#[derive(Debug)]
struct Circuit {
    state: CircuitState,
    /// The cause of the last failure; empty if there was none.
    last_failure: Arc<str>,
    /// The time of the last change between closed and open.
    changed_at: Option<Timestamp>,
}

/// Whether a service fails, as its last calls show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether the service has failed several times in a row and has not responded since.
    pub is_failing: bool,
    /// The time since which this is so; `None` since the start of the process.
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CircuitState {
    /// Calls are allowed. `failure_count` is the number of failures in a row.
    Closed { failure_count: u32 },
    /// No calls are allowed until the time `until` of the clock.
    Open { until: Duration },
    /// Half-open: one call is in flight, which shows whether the service has recovered.
    Probing,
}

/// The reason why a call is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCircuit {
    /// How long the circuit stays open.
    pub wait: Duration,
    /// The cause of the last failure.
    pub last_failure: Arc<str>,
}

/// A change of the circuit, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitChange {
    /// The service failed several times in a row and is not called for this duration.
    Opened(Duration),
    /// The service responded again.
    Closed,
}

/// Permission for one call. Dropping it without a result counts as neither success nor failure.
#[derive(Debug)]
pub struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    is_recorded: bool,
}

impl CircuitBreaker {
    /// Creates a circuit that `failure_threshold` failures in a row open for `open_duration`.
    pub fn new(clock: SharedClock, failure_threshold: u32, open_duration: Duration) -> Self {
        let state = CircuitState::Closed { failure_count: 0 };
        let circuit = Circuit { state, last_failure: Arc::default(), changed_at: None };
        Self { clock, failure_threshold, open_duration, circuit: Mutex::new(circuit) }
    }

    /// Allows a call, or returns why it is not allowed.
    pub fn acquire(&self) -> Result<Permit<'_>, OpenCircuit> {
        let mut circuit = self.lock_circuit();
        let now = self.clock.elapsed();
        let open = |wait| OpenCircuit { wait, last_failure: Arc::clone(&circuit.last_failure) };
        match circuit.state {
            CircuitState::Closed { .. } => {}
            CircuitState::Open { until } => match until.saturating_sub(now) {
                Duration::ZERO => circuit.state = CircuitState::Probing,
                remaining => return Err(open(remaining)),
            },
            CircuitState::Probing => return Err(open(self.open_duration)),
        }
        Ok(Permit { breaker: self, is_recorded: false })
    }

    /// Returns the health that the calls have shown.
    pub fn health(&self) -> Health {
        let Circuit { state, changed_at, .. } = *self.lock_circuit();
        Health { is_failing: !matches!(state, CircuitState::Closed { .. }), since: changed_at }
    }

    /// Whether the circuit has been open for long enough, so that the next call shows whether the service has recovered.
    pub fn is_probe_due(&self) -> bool {
        matches!(self.lock_circuit().state, CircuitState::Open { until } if until <= self.clock.elapsed())
    }

    fn lock_circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Records that the service is healthy. Returns the change of the circuit.
    pub fn record_success(self) -> Option<CircuitChange> {
        self.record(|_, _| CircuitState::Closed { failure_count: 0 })
    }

    /// Records that the service is unhealthy, and the cause. Returns the change of the circuit; a circuit that stays open does not change.
    pub fn record_failure(self, cause: &str) -> Option<CircuitChange> {
        let CircuitBreaker { failure_threshold, open_duration, .. } = *self.breaker;
        self.breaker.lock_circuit().last_failure = cause.into();
        self.record(|state, now| match state {
            CircuitState::Closed { failure_count } if failure_count + 1 < failure_threshold => {
                CircuitState::Closed { failure_count: failure_count + 1 }
            }
            // The call began before the circuit opened, so its result is stale.
            CircuitState::Open { until } => CircuitState::Open { until },
            CircuitState::Closed { .. } | CircuitState::Probing => {
                CircuitState::Open { until: now + open_duration }
            }
        })
    }

    fn record(mut self, next: impl Fn(CircuitState, Duration) -> CircuitState) -> Option<CircuitChange> {
        self.is_recorded = true;
        let now = self.breaker.clock.elapsed();
        let mut circuit = self.breaker.lock_circuit();
        let was_closed = matches!(circuit.state, CircuitState::Closed { .. });
        circuit.state = next(circuit.state, now);
        let change = match (was_closed, circuit.state) {
            (true, CircuitState::Open { .. }) => CircuitChange::Opened(self.breaker.open_duration),
            (false, CircuitState::Closed { .. }) => CircuitChange::Closed,
            _ => return None,
        };
        circuit.changed_at = Some(self.breaker.clock.now());
        Some(change)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_recorded {
            return;
        }
        let now = self.breaker.clock.elapsed();
        let mut circuit = self.breaker.lock_circuit();
        // The call was canceled, so the next one probes.
        if circuit.state == CircuitState::Probing {
            circuit.state = CircuitState::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    const FAILURE_THRESHOLD: u32 = 5;
    const OPEN_DURATION: Duration = Duration::from_secs(5);

    fn breaker() -> (CircuitBreaker, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (CircuitBreaker::new(clock.clone(), FAILURE_THRESHOLD, OPEN_DURATION), clock)
    }

    fn fail(breaker: &CircuitBreaker, times: u32) {
        for _ in 0..times {
            breaker.acquire().unwrap().record_failure("the cause");
        }
    }

    #[test]
    fn a_circuit_reports_once_that_it_opened_and_once_that_it_closed() {
        let (breaker, clock) = breaker();
        let stale = breaker.acquire().unwrap();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        let opened = breaker.acquire().unwrap().record_failure("the cause");
        assert_eq!(opened, Some(CircuitChange::Opened(OPEN_DURATION)));
        assert_eq!(stale.record_failure("the cause"), None, "a stale failure");
        clock.advance(OPEN_DURATION);
        assert_eq!(breaker.acquire().unwrap().record_failure("the cause"), None, "a failed probe");
        clock.advance(OPEN_DURATION);
        assert_eq!(breaker.acquire().unwrap().record_success(), Some(CircuitChange::Closed));
        assert_eq!(
            breaker.acquire().unwrap().record_success(),
            None,
            "a success while the circuit is closed"
        );
    }

    #[test]
    fn a_service_fails_from_the_opening_of_the_circuit_until_a_call_succeeds() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        assert_eq!(breaker.health(), Health::default());
        fail(&breaker, 1);
        let opened_at = clock.now();
        assert_eq!(breaker.health(), Health { is_failing: true, since: Some(opened_at) });
        assert!(!breaker.is_probe_due());
        clock.advance(OPEN_DURATION);
        assert!(breaker.is_probe_due());
        breaker.acquire().unwrap().record_failure("the cause");
        assert_eq!(breaker.health(), Health { is_failing: true, since: Some(opened_at) });
        clock.advance(OPEN_DURATION);
        breaker.acquire().unwrap().record_success();
        assert_eq!(breaker.health(), Health { is_failing: false, since: Some(clock.now()) });
    }

    #[test]
    fn failures_in_a_row_open_the_circuit_unless_a_call_succeeds_between_them() {
        let (breaker, _) = breaker();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        breaker.acquire().unwrap().record_success();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        drop(breaker.acquire().unwrap());
        fail(&breaker, 1);
        assert_eq!(breaker.acquire().unwrap_err().wait, OPEN_DURATION);
    }

    #[test]
    fn one_call_probes_the_service_after_the_circuit_was_open() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURE_THRESHOLD);
        clock.advance(OPEN_DURATION / 2);
        assert_eq!(breaker.acquire().unwrap_err().wait, OPEN_DURATION / 2);
        clock.advance(OPEN_DURATION / 2);
        let probe = breaker.acquire().unwrap();
        assert!(breaker.acquire().is_err(), "one probe at a time");
        probe.record_failure("the cause");
        assert_eq!(breaker.acquire().unwrap_err().wait, OPEN_DURATION);
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
        stale.record_failure("the cause");
        assert_eq!(breaker.acquire().unwrap_err().wait, OPEN_DURATION / 2);
    }

    #[test]
    fn a_call_that_an_open_circuit_rejects_receives_the_cause_of_the_last_failure() {
        let (breaker, clock) = breaker();
        fail(&breaker, FAILURE_THRESHOLD - 1);
        breaker.acquire().unwrap().record_failure("the fifth cause");
        assert_eq!(&*breaker.acquire().unwrap_err().last_failure, "the fifth cause");
        clock.advance(OPEN_DURATION);
        let probe = breaker.acquire().unwrap();
        assert_eq!(&*breaker.acquire().unwrap_err().last_failure, "the fifth cause", "while a call probes");
        probe.record_failure("the sixth cause");
        assert_eq!(&*breaker.acquire().unwrap_err().last_failure, "the sixth cause");
    }
}
