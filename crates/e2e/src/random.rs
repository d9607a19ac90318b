//! What is random in a test, and can be had again.

use std::time::Duration;

use crate::setting;

/// A multiplicative congruential generator (Park & Miller 1988).
pub struct Random(u64);

const MODULUS: u64 = 2_147_483_647;

impl Random {
    /// Another sequence for each name; `E2E_SEED` gives others.
    pub fn of(name: &str) -> Self {
        let seed: u64 = setting("E2E_SEED", 1);
        println!("{name}: E2E_SEED={seed}");
        let mixed = name.bytes().fold(seed, |mixed, byte| (mixed * 31 + u64::from(byte)) % MODULUS);
        Random(mixed.max(1))
    }

    /// From 0 to below `bound`, which is small.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// From `low` to `high`, in milliseconds.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let spread = high.saturating_sub(low).as_millis() as u64;
        low + Duration::from_millis(self.next() % (spread + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0 * 48_271 % MODULUS;
        self.0
    }
}
