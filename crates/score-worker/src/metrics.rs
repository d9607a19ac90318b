//! What an operator's monitoring sees of a score worker.

use std::time::Duration;

use domain::Timestamp;
use monitoring::{Counter, Gauge, Histogram, Labelled, Registry, seconds, times};
use storage::DueRounds;

use crate::{Progress, Spent, Status};

/// The metrics of a score worker. A clone shows and counts the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    rounds: Labelled<Counter, 1>,
    predictions: Counter,
    leaderboards: Counter,
    cycles: Histogram,
    failed_cycles: Counter,
    due_rounds: Gauge,
    lag: Gauge,
    ranks: Gauge,
    stands_by: Gauge,
    spent: Labelled<Gauge, 1>,
}

/// What a worker did with rounds.
const VERDICTS: [&str; 4] = ["scored", "void", "waiting", "scored_again"];

impl Default for Metrics {
    /// Everything that can happen is shown from the start, so that the first time is an increase.
    fn default() -> Self {
        let rounds = Labelled::new(["verdict"], Counter::default);
        for verdict in VERDICTS {
            rounds.with([verdict]);
        }
        Metrics {
            rounds,
            predictions: Counter::default(),
            leaderboards: Counter::default(),
            cycles: times(),
            failed_cycles: Counter::default(),
            due_rounds: Gauge::default(),
            lag: Gauge::default(),
            ranks: Gauge::default(),
            stands_by: Gauge::default(),
            spent: Labelled::new(["part"], Gauge::default),
        }
    }
}

impl Metrics {
    /// Has them shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.add_labelled(
            "condor_score_rounds",
            "Rounds that this worker scored, voided, put off until their prices come, or judged again by a new rule or corrected prices",
            &self.rounds,
        );
        registry.add(
            "condor_score_predictions",
            "Predictions in the rounds that it scored",
            &self.predictions,
        );
        registry.add("condor_score_leaderboards", "Leaderboards that it wrote", &self.leaderboards);
        registry.add(
            "condor_score_cycle_seconds",
            "How long it took to do what was due; such a cycle begins every second",
            &self.cycles,
        );
        registry.add(
            "condor_score_failed_cycles",
            "Cycles that ended with an error of the database",
            &self.failed_cycles,
        );
        registry.add(
            "condor_score_due_rounds",
            "Rounds that have resolved and are not scored, by whichever worker, when the database last said so",
            &self.due_rounds,
        );
        registry.add(
            "condor_score_lag_seconds",
            "How long ago the oldest of them resolved; it includes the wait for prices",
            &self.lag,
        );
        registry.add(
            "condor_score_ranks",
            "1 for the one worker that holds the lease on the ranking",
            &self.ranks,
        );
        registry.add(
            "condor_score_stands_by",
            "1 while settings other than its own are in force",
            &self.stands_by,
        );
        registry.add_labelled(
            "condor_score_spent_seconds",
            "Time since the start by kind of work; that of threads side by side adds up",
            &self.spent,
        );
    }

    /// Brings up to date what is shown of this moment.
    pub fn look(&self, status: &Status) {
        self.ranks.set(f64::from(u8::from(status.is_ranking())));
        self.stands_by.set(f64::from(u8::from(status.stands_by_for().is_some())));
        let Spent { claiming, prices, loading, scoring, storing, ranking } = status.spent();
        let parts = [
            ("claiming", claiming),
            ("prices", prices),
            ("loading", loading),
            ("scoring", scoring),
            ("storing", storing),
            ("ranking", ranking),
        ];
        for (part, spent) in parts {
            self.spent.with([part]).set(seconds(spent));
        }
    }

    /// Shows how much there was to score at `now`.
    pub fn due(&self, due: &DueRounds, now: Timestamp) {
        self.due_rounds.set(due.rounds as f64);
        self.lag.set(seconds(due.lag(now)));
    }

    pub(crate) fn judged(&self, progress: &Progress) {
        for (verdict, rounds) in VERDICTS.iter().zip([progress.scored, progress.void, progress.waiting]) {
            self.rounds.with([verdict]).inc_by(rounds);
        }
        self.predictions.inc_by(progress.predictions);
    }

    pub(crate) fn judged_again(&self, rounds: u64) {
        self.rounds.with(["scored_again"]).inc_by(rounds);
    }

    pub(crate) fn cycle(&self, took: Duration, progress: &Progress) {
        self.cycles.observe(seconds(took));
        self.leaderboards.inc_by(u64::from(progress.leaderboard.is_some()));
    }

    pub(crate) fn failed_cycle(&self) {
        self.failed_cycles.inc();
    }
}
