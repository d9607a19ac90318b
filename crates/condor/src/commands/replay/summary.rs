//! What a replay did.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Leaderboard, MissedCause, ModelId, StatusCounts, Timestamp, TimestampExt};
use serde::Serialize;
use storage::{RoundPages, Store};

use super::Plan;
use super::coverage::{Coverage, Gap};

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
    pub coverage: Vec<Coverage>,
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

impl Summary {
    /// Counts what is stored of the plan's rounds.
    pub async fn collect(store: &dyn Store, plan: &Plan, wall: Duration) -> storage::Result<Self> {
        let (from, to) = (plan.from, plan.to);
        let (statuses, coverage) = count(store, plan).await?;
        let sum = |part: fn(&Coverage) -> u64| coverage.iter().map(part).sum();
        let StatusCounts { success, failed, timeout, absent } = statuses;
        Ok(Summary {
            from,
            to,
            // Both ends are ticked.
            ticks: to.since(from).as_secs() / u64::from(plan.config.prices.interval.as_secs()) + 1,
            rounds: sum(|it| it.rounds),
            predictions: statuses.total(),
            success,
            failed,
            timeout,
            absent,
            scored: sum(|it| it.scored),
            void: sum(|it| it.void),
            missed: sum(|it| it.missed),
            open: sum(|it| it.open),
            wall_s: wall.as_secs_f64(),
            leaderboard: leaderboard(store).await?,
            coverage,
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
        self.print_coverage();
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

    fn print_coverage(&self) {
        println!("{:8} {:>8} {:>8} {:>8} {:>8} {:>8}", "asset", "rounds", "scored", "void", "missed", "open");
        for Coverage { asset, rounds, scored, void, missed, open, .. } in &self.coverage {
            println!("{asset:8} {rounds:>8} {scored:>8} {void:>8} {missed:>8} {open:>8}");
        }
        for coverage in &self.coverage {
            for reason in &coverage.reasons {
                println!("{:8} {} {}: {}", coverage.asset, reason.rounds, reason.state, reason.reason);
            }
            if let Some(explanation) = explanation(coverage) {
                println!("{:8} {explanation}", coverage.asset);
            }
        }
    }
}

/// Which gaps in the prices explain an asset's void and missed rounds; `None` when it has none of those.
pub fn explanation(coverage: &Coverage) -> Option<String> {
    let Coverage { void, missed, gaps, unexplained, .. } = coverage;
    let lost = void + missed;
    if lost == 0 {
        return None;
    }
    let explained = lost - unexplained;
    let longest = gaps.iter().filter_map(|gap| Some((gap.after?, gap.until?))).max_by_key(|(a, b)| *b - *a);
    let mut text = format!("{explained} of these {lost} are explained by {} gaps in its prices", gaps.len());
    if coverage.reasons.iter().any(|reason| MissedCause::of(&reason.reason) == MissedCause::MarketClosed) {
        text.push_str(" and the hours of its market");
    }
    if let Some((after, until)) = longest {
        let hours = until.since(after).as_secs_f64() / 3600.0;
        text.push_str(&format!(", the longest of {hours:.1} h from {}", after.to_utc_string()));
    }
    for Gap { after, until, .. } in gaps {
        match (after, until) {
            (None, Some(first)) => text.push_str(&format!("; none before {}", first.to_utc_string())),
            (Some(last), None) => text.push_str(&format!("; none after {}", last.to_utc_string())),
            (None, None) => text.push_str("; there are none at all"),
            (Some(_), Some(_)) => {}
        }
    }
    Some(text)
}

/// How predictions ended, and what became of each asset's slots.
async fn count(store: &dyn Store, plan: &Plan) -> storage::Result<(StatusCounts, Vec<Coverage>)> {
    let mut coverage = Vec::new();
    for asset in &plan.assets {
        coverage.push(Coverage::begin(store, asset, plan).await?);
    }
    let mut statuses = StatusCounts::default();
    let mut pages = RoundPages::new(store, plan.from, plan.to);
    while let Some(rounds) = pages.next().await? {
        for round in &rounds {
            if let Some(of_asset) = coverage.iter_mut().find(|it| it.asset == round.asset) {
                statuses += round.counts;
                of_asset.count(round);
            }
        }
    }
    coverage.iter_mut().for_each(Coverage::finish);
    Ok((statuses, coverage))
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
