//! What is compared, and what we promise of it.

use anyhow::{Context, Result};

use super::phase::{PHASES, Phase};
use crate::bench::numbers::{median, range};

/// Both sides, one right after the other, on the same fleet.
#[derive(Debug)]
pub struct Pair {
    ours: Vec<Phase>,
    peer: Vec<Phase>,
}

impl Pair {
    /// Two runs of the same phases.
    pub fn new(ours: Vec<Phase>, peer: Vec<Phase>) -> Result<Self> {
        for (ours, peer) in ours.iter().zip(&peer) {
            let are_alike = (&ours.phase, ours.rounds) == (&peer.phase, peer.rounds);
            are_alike
                .then_some(())
                .with_context(|| format!("not the same was measured: {ours:?} {peer:?}"))?;
        }
        Ok(Pair { ours, peer })
    }

    fn figures(&self, phase: usize, measure: Measure) -> Option<(f64, f64)> {
        Some((measure.of(self.ours.get(phase)?), measure.of(self.peer.get(phase)?)))
    }
}

/// What of a phase is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Processor time of a call, in microseconds.
    Cpu,
    /// The median duration of a round of all models, in seconds.
    Wall,
    /// The most memory that was resident, in MB.
    Memory,
}

impl Measure {
    const ALL: [Measure; 3] = [Measure::Cpu, Measure::Wall, Measure::Memory];

    fn of(self, phase: &Phase) -> f64 {
        match self {
            Measure::Cpu => phase.cpu_per_call_us,
            Measure::Wall => phase.wall_median_s,
            Measure::Memory => phase.rss_mb,
        }
    }
}

/// What we promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted {
    /// So many times less than the peer.
    Ratio(f64),
    /// So many times less than the peer; and so many would be better.
    RatioAndGoal(f64, f64),
    /// Less than this, in the unit of the measure.
    Below(f64),
}

fn wanted(phase: &str, measure: Measure) -> Option<Wanted> {
    match (phase, measure) {
        ("connect", Measure::Wall) => Some(Wanted::Below(0.5)),
        ("predict", Measure::Cpu) => Some(Wanted::RatioAndGoal(20.0, 30.0)),
        ("predict", Measure::Wall) => Some(Wanted::Ratio(20.0)),
        ("tick_history", Measure::Cpu) => Some(Wanted::Ratio(5.0)),
        ("tick_history", Measure::Memory) => Some(Wanted::Ratio(20.0)),
        _ => None,
    }
}

/// One measure of one phase over all rounds.
#[derive(Debug)]
pub struct Row {
    pub phase: &'static str,
    pub measure: Measure,
    pub wanted: Option<Wanted>,
    /// Ours and the peer's in each round; at least one.
    figures: Vec<(f64, f64)>,
}

/// All rows, in the order of the phases.
pub fn rows(pairs: &[Pair]) -> Vec<Row> {
    let all = PHASES.iter().enumerate().flat_map(|(index, phase)| Measure::ALL.map(|m| (index, *phase, m)));
    all.map(|(index, phase, measure)| Row {
        phase,
        measure,
        wanted: wanted(phase, measure),
        figures: pairs.iter().filter_map(|pair| pair.figures(index, measure)).collect(),
    })
    .collect()
}

impl Row {
    /// The median of ours.
    pub fn ours(&self) -> f64 {
        median(self.figures.iter().map(|(ours, _)| *ours))
    }

    /// The median of the peer's.
    pub fn peer(&self) -> f64 {
        median(self.figures.iter().map(|(_, peer)| *peer))
    }

    /// The median of the rounds' ratios: what slows both sides of a round down is not in it.
    pub fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    /// The lowest and the highest ratio of a round.
    pub fn ratio_range(&self) -> (f64, f64) {
        range(self.ratios())
    }

    /// Whether the medians are what we promise; `None` where nothing is promised.
    pub fn is_met(&self) -> Option<bool> {
        self.wanted.map(|wanted| match wanted {
            Wanted::Ratio(least) | Wanted::RatioAndGoal(least, _) => self.ratio() >= least,
            Wanted::Below(most) => self.ours() < most,
        })
    }

    fn ratios(&self) -> impl Iterator<Item = f64> + Clone {
        self.figures.iter().map(|(ours, peer)| peer / ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(cpu_per_call_us: f64, wall_median_s: f64) -> Vec<Phase> {
        let phase = |phase: &str| Phase {
            phase: phase.into(),
            models: 10,
            rounds: 1,
            ok: 10,
            failed: 0,
            timeout: 0,
            wall_median_s,
            wall_max_s: wall_median_s,
            cpu_per_call_us,
            rss_mb: 10.0,
        };
        PHASES.map(phase).into()
    }

    fn row(pairs: &[Pair], phase: &str, measure: Measure) -> Row {
        rows(pairs).into_iter().find(|row| row.phase == phase && row.measure == measure).unwrap()
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_and_not_that_of_the_medians() {
        let pair = |ours, peer| Pair::new(phases(ours, 1.0), phases(peer, 1.0)).unwrap();
        let row = row(&[pair(1.0, 10.0), pair(2.0, 10.0), pair(5.0, 45.0)], "predict", Measure::Cpu);
        assert_eq!((row.ours(), row.peer(), row.ratio()), (2.0, 10.0, 9.0));
        assert_eq!(row.ratio_range(), (5.0, 10.0));
        assert_eq!(row.is_met(), Some(false));
    }

    #[test]
    fn a_ratio_is_met_from_itself_on_and_a_bound_below_itself() {
        let pairs = |ours: f64| [Pair::new(phases(ours, ours), phases(10.0, 10.0)).unwrap()];
        assert_eq!(row(&pairs(0.5), "predict", Measure::Wall).is_met(), Some(true));
        assert_eq!(row(&pairs(0.51), "predict", Measure::Wall).is_met(), Some(false));
        assert_eq!(row(&pairs(0.49), "connect", Measure::Wall).is_met(), Some(true));
        assert_eq!(row(&pairs(0.5), "connect", Measure::Wall).is_met(), Some(false));
        assert_eq!(row(&pairs(0.5), "tick_minute", Measure::Wall).is_met(), None);
    }

    #[test]
    fn runs_of_different_length_are_not_compared() {
        let mut longer = phases(1.0, 1.0);
        longer[2].rounds = 2;
        assert!(Pair::new(phases(1.0, 1.0), longer).is_err());
    }
}
