//! How often a service may be asked.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Stopwatch;

/// How often: so many requests at once after a pause, then one each time `every` has passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub burst: u32,
    pub every: Duration,
}

/// Spaces the requests to one service, of all assets together. Real time, because the service counts in real time.
#[derive(Debug)]
pub(crate) struct Limiter {
    pace: Pace,
    since: Stopwatch,
    state: Mutex<State>,
}

/// Spans since the limiter began.
#[derive(Debug, Default)]
struct State {
    /// When the next request would be due if all came evenly.
    next: Duration,
    /// The service asked for a pause until then.
    closed_until: Duration,
}

impl Limiter {
    pub(crate) fn new(pace: Pace) -> Self {
        Limiter { pace, since: Stopwatch::start(), state: Mutex::default() }
    }

    /// Waits for this request's turn.
    ///
    /// # Errors
    /// How much is left of a pause that the service asked for.
    pub(crate) async fn admit(&self) -> Result<(), Duration> {
        let wait = self.reserve(self.since.elapsed())?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The service wants to be left alone for so long.
    pub(crate) fn close_for(&self, pause: Duration) {
        let until = self.since.elapsed().saturating_add(pause);
        let mut state = self.lock();
        state.closed_until = state.closed_until.max(until);
    }

    fn reserve(&self, now: Duration) -> Result<Duration, Duration> {
        let mut state = self.lock();
        if let Some(left) = state.closed_until.checked_sub(now).filter(|left| !left.is_zero()) {
            return Err(left);
        }
        let due = state.next.max(now);
        state.next = due + self.pace.every;
        let ahead = self.pace.every * self.pace.burst.saturating_sub(1);
        Ok((due - now).saturating_sub(ahead))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_then_evenly_and_as_many_again_after_a_pause() {
        let limiter = Limiter::new(Pace { burst: 3, every: Duration::from_secs(1) });
        let wait = |now| limiter.reserve(Duration::from_secs(now)).unwrap().as_secs();
        assert_eq!([wait(0), wait(0), wait(0), wait(0), wait(0)], [0, 0, 0, 1, 2]);
        assert_eq!([wait(5), wait(5), wait(100), wait(100), wait(100), wait(100)], [0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn nothing_is_asked_while_the_service_wants_to_be_left_alone() {
        let limiter = Limiter::new(Pace { burst: 1, every: Duration::from_secs(1) });
        limiter.close_for(Duration::from_secs(30));
        limiter.close_for(Duration::from_secs(1));
        assert!(limiter.reserve(Duration::from_secs(29)).unwrap_err() <= Duration::from_secs(2));
        assert_eq!(limiter.reserve(Duration::from_secs(32)), Ok(Duration::ZERO));
    }
}
