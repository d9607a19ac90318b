//! What a replay did.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Leaderboard, ModelId, RoundState, StatusCounts, Timestamp, TimestampExt};
use serde::Serialize;
use storage::Store;

use super::Plan;

/// Rounds read at once.
const BATCH: usize = 1000;

/// What a replay did; the last line of `--json`.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Summary {
    pub from: Timestamp,
    pub to: Timestamp,
    pub ticks: u64,
    pub rounds: u64,
    pub predictions: u64,
    pub success: u64,
    pub failed: u64,
    pub timeout: u64,
    pub absent: u64,
    pub scored: u64,
    pub void: u64,
    pub missed: u64,
    pub open: u64,
    pub wall_s: f64,
    pub leaderboard: Vec<Place>,
}

/// One model's place.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Place {
    pub rank: Option<u32>,
    pub model_id: ModelId,
    pub recent: Option<f64>,
    pub steady: Option<f64>,
    pub anchor: Option<f64>,
    pub raw_anchor: Option<f64>,
    /// One of the orchestrator's own, to compare with.
    pub baseline: bool,
}

#[derive(Default)]
struct Tally {
    rounds: u64,
    scored: u64,
    void: u64,
    missed: u64,
    open: u64,
    statuses: StatusCounts,
}

impl Summary {
    /// Counts what is stored of the plan's rounds.
    pub async fn collect(store: &dyn Store, plan: &Plan, wall: Duration) -> storage::Result<Self> {
        let (from, to) = (plan.from, plan.to);
        let Tally { rounds, scored, void, missed, open, statuses } = tally(store, from, to).await?;
        let StatusCounts { success, failed, timeout, absent } = statuses;
        Ok(Summary {
            from,
            to,
            // Both ends are ticked.
            ticks: to.since(from).as_secs() / u64::from(plan.config.prices.interval.as_secs()) + 1,
            rounds,
            predictions: statuses.total(),
            success,
            failed,
            timeout,
            absent,
            scored,
            void,
            missed,
            open,
            wall_s: wall.as_secs_f64(),
            leaderboard: leaderboard(store).await?,
        })
    }

    /// For people.
    pub fn print(&self) {
        let number =
            |value: Option<f64>, digits: usize| value.map_or("-".into(), |value| format!("{value:.digits$}"));
        println!(
            "{:>4}  {:32} {:8} {:>8} {:>8} {:>8} {:>12}",
            "rank", "model", "", "recent", "steady", "anchor", "raw anchor"
        );
        for place in &self.leaderboard {
            println!(
                "{:>4}  {:32} {:8} {:>8} {:>8} {:>8} {:>12}",
                place.rank.map_or("-".into(), |rank| rank.to_string()),
                place.model_id,
                if place.baseline { "baseline" } else { "" },
                number(place.recent, 4),
                number(place.steady, 4),
                number(place.anchor, 4),
                number(place.raw_anchor, 8),
            );
        }
        println!();
        println!("{} to {} in {:.1} s", self.from, self.to, self.wall_s);
        println!(
            "rounds       {}: {} scored, {} void, {} missed, {} open",
            self.rounds, self.scored, self.void, self.missed, self.open
        );
        println!(
            "predictions  {}: {} success, {} failed, {} timeout, {} absent",
            self.predictions, self.success, self.failed, self.timeout, self.absent
        );
    }
}

async fn tally(store: &dyn Store, from: Timestamp, to: Timestamp) -> storage::Result<Tally> {
    let mut tally = Tally::default();
    let mut after = None;
    loop {
        let rounds = store.export_rounds(from, to, after, BATCH).await?;
        for round in &rounds {
            tally.rounds += 1;
            *match round.state {
                RoundState::Scored => &mut tally.scored,
                RoundState::Void => &mut tally.void,
                RoundState::Missed => &mut tally.missed,
                RoundState::Asked | RoundState::Closed | RoundState::Interrupted => &mut tally.open,
            } += 1;
            tally.statuses += round.counts;
        }
        match rounds.last() {
            Some(last) if rounds.len() == BATCH => after = Some(last.round_id),
            _ => return Ok(tally),
        }
    }
}

async fn leaderboard(store: &dyn Store) -> storage::Result<Vec<Place>> {
    let Some(leaderboard) = store.latest_leaderboard().await? else { return Ok(Vec::new()) };
    let baselines = store.models().await?.into_iter().filter(|model| model.is_baseline);
    Ok(places(&leaderboard, &baselines.map(|model| model.id).collect()))
}

fn places(leaderboard: &Leaderboard, baselines: &BTreeSet<ModelId>) -> Vec<Place> {
    let place = |entry: &domain::LeaderboardEntry| Place {
        rank: entry.rank,
        model_id: entry.model_id.clone(),
        recent: entry.windows.recent.score,
        steady: entry.windows.steady.score,
        anchor: entry.windows.anchor.score,
        raw_anchor: entry.windows.anchor.raw,
        baseline: baselines.contains(&entry.model_id),
    };
    leaderboard.entries.iter().map(place).collect()
}
