//! Pauses that grow while something fails, each a little different, so that many who wait do not come back at once.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The pauses after one failure, two in a row, and so on: twice as long each, up to a limit, less up to half of it by chance.
#[derive(Debug)]
pub(crate) struct BackOff {
    first: Duration,
    longest: Duration,
    chance: ChaCha8Rng,
}

impl BackOff {
    pub(crate) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        BackOff { first, longest, chance: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The pause after so many failures in a row, from 1.
    pub(crate) fn pause(&mut self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        let share = f64::from(self.chance.next_u32()) / f64::from(u32::MAX);
        whole.mul_f64(1.0 - share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_by_chance_of_a_seed() {
        let pauses = |seed| {
            let mut back_off = BackOff::new(Duration::from_secs(1), Duration::from_secs(60), seed);
            (1..40).map(|failures| back_off.pause(failures)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
        for (doublings, pause) in pauses(3).into_iter().enumerate() {
            let whole = (1u64 << doublings.min(30)).min(60) as f64;
            assert!((whole / 2.0..=whole).contains(&pause.as_secs_f64()), "{doublings}: {pause:?}");
        }
    }
}
