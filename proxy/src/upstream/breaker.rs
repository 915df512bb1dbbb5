//! Stops sending to an upstream that does not answer, so that clients learn it at once instead of after a timeout each.
//!
//! What counts is whether there was an HTTP answer: any status is one, it is the API's word and passes untouched.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::config::BreakerConfig;
use crate::metrics;

/// One upstream's circuit.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    /// True while the circuit is closed and no failure is remembered: then neither entry nor success takes the lock.
    calm: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed { failures: VecDeque<Instant> },
    Open { until: Instant },
    Trial { under_way: usize },
}

/// The values of the state metric.
const CLOSED: f64 = 0.0;
const TRIAL: f64 = 1.0;
const OPEN: f64 = 2.0;

/// What a refused caller waits for while others are on trial, in the absence of a better estimate.
const TRIAL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The right to send one request. Dropped unused it counts as neither success nor failure: the client went away.
#[derive(Debug)]
#[must_use = "an attempt without an outcome teaches the breaker nothing"]
pub(super) struct Attempt {
    breaker: Arc<Breaker>,
    trial: bool,
}

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Self {
        metrics::upstream().breaker_state.set(CLOSED);
        Self {
            config,
            calm: AtomicBool::new(true),
            state: Mutex::new(State::Closed { failures: VecDeque::new() }),
        }
    }

    /// Asks to send a request.
    ///
    /// # Errors
    ///
    /// How long to wait, when the circuit is open.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Attempt, Duration> {
        let trial = if self.calm.load(Ordering::Relaxed) { false } else { self.enter_troubled()? };
        Ok(Attempt { breaker: Arc::clone(self), trial })
    }

    fn enter_troubled(&self) -> Result<bool, Duration> {
        let mut state = self.state.lock();
        match &mut *state {
            State::Closed { .. } => Ok(false),
            State::Open { until } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                *state = State::Trial { under_way: 1 };
                metrics::upstream().breaker_state.set(TRIAL);
                Ok(true)
            }
            State::Trial { under_way } if *under_way < self.config.trials.max(1) => {
                *under_way = under_way.saturating_add(1);
                Ok(true)
            }
            State::Trial { .. } => Err(TRIAL_RETRY_AFTER),
        }
    }

    fn succeed(&self, trial: bool) {
        if self.calm.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state.lock();
        match &mut *state {
            // Failures stay remembered: an upstream that fails every other request is in trouble too.
            State::Closed { failures } => {
                self.forget_old(failures, Instant::now());
                self.calm.store(failures.is_empty(), Ordering::Relaxed);
            }
            State::Trial { .. } if trial => {
                *state = State::Closed { failures: VecDeque::new() };
                self.calm.store(true, Ordering::Relaxed);
                metrics::upstream().breaker_state.set(CLOSED);
                tracing::info!("upstream answers again, circuit closed");
            }
            // A request from before the circuit opened says little about now.
            State::Open { .. } | State::Trial { .. } => {}
        }
    }

    fn fail(&self, trial: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        match &mut *state {
            State::Closed { failures } => {
                self.calm.store(false, Ordering::Relaxed);
                self.forget_old(failures, now);
                failures.push_back(now);
                if failures.len() >= self.config.failures.max(1) {
                    self.open(&mut state, now);
                }
            }
            State::Trial { .. } if trial => self.open(&mut state, now),
            State::Open { .. } | State::Trial { .. } => {}
        }
    }

    fn abandon(&self) {
        if let State::Trial { under_way } = &mut *self.state.lock() {
            *under_way = under_way.saturating_sub(1);
        }
    }

    fn open(&self, state: &mut State, now: Instant) {
        *state = State::Open { until: now + self.config.open_for };
        metrics::upstream().breaker_state.set(OPEN);
        metrics::upstream().breaker_opened.increment(1);
        tracing::warn!(open_for = ?self.config.open_for, "upstream failed repeatedly, circuit opened");
    }

    fn forget_old(&self, failures: &mut VecDeque<Instant>, now: Instant) {
        while failures.front().is_some_and(|at| now.saturating_duration_since(*at) >= self.config.window) {
            failures.pop_front();
        }
    }
}

impl Attempt {
    /// There was an HTTP answer.
    pub(super) fn succeed(mut self) {
        self.breaker.succeed(std::mem::take(&mut self.trial));
    }

    /// There was none, and the upstream is to blame.
    pub(super) fn fail(mut self) {
        self.breaker.fail(std::mem::take(&mut self.trial));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 5,
        window: Duration::from_secs(30),
        open_for: Duration::from_secs(30),
        trials: 3,
    };

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::new(CONFIG))
    }

    fn fail(breaker: &Arc<Breaker>, times: usize) {
        for _ in 0..times {
            breaker.enter().unwrap().fail();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_fifth_failure_in_the_window_opens_the_circuit_for_thirty_seconds() {
        let breaker = breaker();
        fail(&breaker, 4);
        breaker.enter().unwrap().succeed();
        fail(&breaker, 1);
        assert_eq!(breaker.enter().unwrap_err(), Duration::from_secs(30));
        tokio::time::advance(Duration::from_secs(12)).await;
        assert_eq!(breaker.enter().unwrap_err(), Duration::from_secs(18));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_spread_over_more_than_the_window_do_not_open_it() {
        let breaker = breaker();
        for _ in 0..20 {
            fail(&breaker, 1);
            tokio::time::advance(Duration::from_secs(8)).await;
        }
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn three_trials_may_be_under_way_and_one_success_closes_it() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(Duration::from_secs(30)).await;
        let trials: Vec<_> = (0..3).map(|_| breaker.enter().unwrap()).collect();
        assert!(breaker.enter().is_err());
        let mut trials = trials.into_iter();
        trials.next().unwrap().succeed();
        assert!(breaker.enter().is_ok());
        // A trial that fails after the circuit closed is one failure like any other.
        trials.next().unwrap().fail();
        assert!(breaker.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_trial_opens_it_again() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(Duration::from_secs(30)).await;
        breaker.enter().unwrap().fail();
        assert_eq!(breaker.enter().unwrap_err(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn trials_of_clients_who_left_are_given_to_others() {
        let breaker = breaker();
        fail(&breaker, 5);
        tokio::time::advance(Duration::from_secs(30)).await;
        for _ in 0..50 {
            drop(breaker.enter().unwrap());
        }
        breaker.enter().unwrap().succeed();
        assert!((0..50).all(|_| breaker.enter().is_ok()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_a_request_from_before_does_not_close_an_open_circuit() {
        let breaker = breaker();
        let old = breaker.enter().unwrap();
        fail(&breaker, 5);
        old.succeed();
        assert!(breaker.enter().is_err());
    }
}
