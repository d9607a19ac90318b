//! What is compared with what, and what we promise of it.

use crate::bench::numbers::{median, range};

/// A case of ours against one of a peer.
#[derive(Debug)]
pub struct Comparison {
    /// What it is about, in words.
    pub what: &'static str,
    /// The case of our benchmark.
    pub ours: &'static str,
    /// The case of bench_scoring.py.
    pub peer: &'static str,
    /// True where ours takes a processor with AVX2.
    pub needs_avx2: bool,
    /// How many times faster ours is to be, at least.
    pub least_ratio: Option<f64>,
    /// How long ours may take.
    pub most_us: Option<f64>,
}

/// All of them, in the order of the table.
pub const COMPARISONS: &[Comparison] = &[
    Comparison::new("CRPS of a normal, 1,000,000 at once: baseline", "crps/normal/baseline", "crps/normal")
        .least_ratio(2.5),
    Comparison::new("CRPS of a normal, 1,000,000 at once: AVX2", "crps/normal/avx2", "crps/normal")
        .least_ratio(4.5)
        .avx2(),
    Comparison::new("CRPS of a two-normal mixture, a new one each", "crps/mixture", "crps/mixture"),
    Comparison::new("`crps_grid` of 1,024 points: a normal", "grid/normal", "grid/normal").least_ratio(20.0),
    Comparison::new("`crps_grid` of 1,024 points: a two-normal mixture", "grid/mixture", "grid/mixture")
        .least_ratio(10.0),
    Comparison::new("density at a point: a normal", "pdf/normal", "pdf/normal"),
    Comparison::new("density at a point: a two-normal mixture", "pdf/mixture", "pdf/mixture"),
    Comparison::new("answer, text to score: `crps`", "answer/crps", "answer/evaluator")
        .least_ratio(100.0)
        .most_us(120.0),
    Comparison::new("answer, text to score: `crps_grid`", "answer/crps_grid", "answer/evaluator"),
    Comparison::new("answer, text to score: `crps_grid`, peer bare", "answer/crps_grid", "answer/integrals"),
    Comparison::new("answer, text to score: `crps`, peer vectorised", "answer/crps", "answer/vectorised"),
    Comparison::new("answer, parsed and checked: 6 digits", "parse/6_digits", "parse/6_digits").most_us(80.0),
    Comparison::new("answer, parsed and checked: full doubles", "parse/full_doubles", "parse/full_doubles")
        .most_us(110.0),
    Comparison::new(
        "answer, parsed and checked: all densities the same",
        "parse/identical",
        "parse/identical",
    )
    .most_us(10.0),
    Comparison::new("answer, parsed and checked: 6 digits, peer unchecked", "parse/6_digits", "parse/json"),
];

impl Comparison {
    const fn new(what: &'static str, ours: &'static str, peer: &'static str) -> Self {
        Comparison { what, ours, peer, needs_avx2: false, least_ratio: None, most_us: None }
    }

    const fn least_ratio(mut self, ratio: f64) -> Self {
        self.least_ratio = Some(ratio);
        self
    }

    const fn most_us(mut self, microseconds: f64) -> Self {
        self.most_us = Some(microseconds);
        self
    }

    const fn avx2(mut self) -> Self {
        self.needs_avx2 = true;
        self
    }
}

/// A comparison as measured, in rounds.
#[derive(Debug)]
pub struct Outcome {
    /// What was compared.
    pub comparison: &'static Comparison,
    /// The peer's package, version and function.
    pub peer_name: String,
    /// At least one.
    pub rounds: Vec<Round>,
}

/// Both sides, one right after the other: nanoseconds per item.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Ours.
    pub ours_ns: f64,
    /// The peer's.
    pub peer_ns: f64,
}

impl Round {
    /// How many times faster ours is.
    pub fn ratio(&self) -> f64 {
        self.peer_ns / self.ours_ns
    }
}

impl Outcome {
    /// Not measured yet.
    pub fn new(comparison: &'static Comparison) -> Self {
        Outcome { comparison, peer_name: String::new(), rounds: Vec::new() }
    }

    /// The median of ours.
    pub fn ours_ns(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.ours_ns))
    }

    /// The median of the peer's.
    pub fn peer_ns(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.peer_ns))
    }

    /// The median of the rounds' ratios: what slows both sides of a round down is not in it.
    pub fn ratio(&self) -> f64 {
        median(self.rounds.iter().map(Round::ratio))
    }

    /// The lowest and the highest ratio of a round.
    pub fn ratio_range(&self) -> (f64, f64) {
        range(self.rounds.iter().map(Round::ratio))
    }

    /// Whether the medians are what we promise; `None` where nothing is promised.
    pub fn is_met(&self) -> Option<bool> {
        let ratio = self.comparison.least_ratio.map(|least| self.ratio() >= least);
        let time = self.comparison.most_us.map(|most| self.ours_ns() <= most * 1e3);
        [ratio, time].into_iter().flatten().reduce(|one, other| one && other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(comparison: &'static Comparison, rounds: &[(f64, f64)]) -> Outcome {
        let rounds = rounds.iter().map(|&(ours_ns, peer_ns)| Round { ours_ns, peer_ns }).collect();
        Outcome { rounds, ..Outcome::new(comparison) }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_not_that_of_the_medians() {
        static ANY: Comparison = Comparison::new("", "", "");
        let outcome = outcome(&ANY, &[(1.0, 10.0), (2.0, 10.0), (5.0, 45.0)]);
        assert_eq!((outcome.ours_ns(), outcome.peer_ns()), (2.0, 10.0));
        assert_eq!(outcome.ratio(), 9.0);
        assert_eq!(outcome.ratio_range(), (5.0, 10.0));
    }

    #[test]
    fn a_promise_is_met_only_when_both_ratio_and_time_are() {
        static BOTH: Comparison = Comparison::new("", "", "").least_ratio(100.0).most_us(120.0);
        assert_eq!(outcome(&BOTH, &[(120_000.0, 12e6)]).is_met(), Some(true));
        assert_eq!(outcome(&BOTH, &[(120_001.0, 20e6)]).is_met(), Some(false));
        assert_eq!(outcome(&BOTH, &[(100_000.0, 9.9e6)]).is_met(), Some(false));
        static NOTHING: Comparison = Comparison::new("", "", "");
        assert_eq!(outcome(&NOTHING, &[(1.0, 1.0)]).is_met(), None);
    }
}
