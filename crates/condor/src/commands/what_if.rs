//! `condor what-if`: the stored predictions under another rule, other weights or windows.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use domain::{Leaderboard, LeaderboardEntry, ModelId, Span, Timestamp, TimestampExt, WindowSpans};
use indicatif::{ProgressBar, ProgressStyle};
use score_worker::{WhatIf, WhatIfOutcome};
use serde::Serialize;
use serde_json::json;
use storage::Store;
use tokio_util::sync::CancellationToken;

use super::{UsageError, score};
use crate::cli::{WeightOf, WhatIfArgs};
use crate::config::{Config, load};
use crate::store;

/// What stands below the help.
pub const EXAMPLES: &str = "\
Examples:
  condor what-if --database sqlite://condor.db --rule crps_grid
  condor what-if --database sqlite://condor.db --horizon-weight 24h=2 --asset-weight XAU=0.5
  condor what-if --database sqlite://condor.db --windows 12h,48h,96h
  condor what-if --database sqlite://condor.db --config other.toml --json";

/// A model before and after.
#[derive(Serialize)]
struct Change<'a> {
    model_id: &'a ModelId,
    before: Option<Standing>,
    after: Option<Standing>,
}

/// A model's place.
#[derive(Clone, Copy, Serialize)]
struct Standing {
    rank: Option<u32>,
    recent: Option<f64>,
    steady: Option<f64>,
    anchor: Option<f64>,
    raw_anchor: Option<f64>,
}

impl From<&LeaderboardEntry> for Standing {
    fn from(entry: &LeaderboardEntry) -> Self {
        let windows = &entry.windows;
        Standing {
            rank: entry.rank,
            recent: windows.recent.score,
            steady: windows.steady.score,
            anchor: windows.anchor.score,
            raw_anchor: windows.anchor.raw,
        }
    }
}

/// Prints the leaderboard as it is and as it would be.
pub async fn run(args: WhatIfArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = changed(&args)?;
    let windows = windows(&args.windows)?;
    let store = store::open_read_only(&config.database.url).await?;
    let store: std::sync::Arc<dyn Store> = store;
    store.check_schema().await?;
    let before = leaderboard_at(store.as_ref(), args.as_of).await?;
    let what_if = WhatIf { settings: score::settings(&config)?, windows };
    let bar = progress_bar();
    let played = what_if.play(&store, before.as_of, |done, rounds| {
        bar.set_length(rounds as u64);
        bar.set_position(done as u64);
    });
    let outcome = shutdown.run_until_cancelled(played).await;
    bar.finish_and_clear();
    let Some(outcome) = outcome else { bail!("stopped: nothing was written") };
    let outcome = outcome.context("cannot score the stored predictions")?;
    let changes = changes(&before, &outcome.leaderboard);
    if args.json {
        print_json(&before, &outcome, &changes)?;
    } else {
        print(&before, &outcome, &changes);
    }
    Ok(())
}

/// The settings with what the command line changes of them.
fn changed(args: &WhatIfArgs) -> anyhow::Result<Config> {
    let mut config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    if let Some(rule) = &args.rule {
        config.scoring.rule.clone_from(rule);
    }
    let assets = args.asset_weight.iter().map(|WeightOf { of, weight }| (of.clone(), *weight));
    config.scoring.asset_weights.extend(assets);
    let horizons = args.horizon_weight.iter().map(|WeightOf { of, weight }| (*of, *weight));
    config.scoring.horizon_weights.extend(horizons);
    config.check()?;
    Ok(config)
}

fn windows(lengths: &[Span]) -> Result<WindowSpans, UsageError> {
    match lengths {
        [] => Ok(WindowSpans::default()),
        [recent, steady, anchor] => WindowSpans::new(*recent, *steady, *anchor)
            .map_err(|error| UsageError(format!("--windows: {error}"))),
        _ => Err(UsageError("--windows: name three, the shortest first, such as 24h,72h,168h".into())),
    }
}

/// The newest leaderboard on record, or the newest up to an instant.
async fn leaderboard_at(store: &dyn Store, as_of: Option<Timestamp>) -> anyhow::Result<Leaderboard> {
    let found = match as_of {
        None => store.latest_leaderboard().await?,
        Some(as_of) => {
            store.leaderboards(Timestamp::UNIX_EPOCH, as_of + Span::seconds(1), 1).await?.into_iter().next()
        }
    };
    found.context("there is no leaderboard yet: nothing was scored")
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("rounds {bar:40} {pos}/{len}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Every model of either leaderboard: in the order of the second, then who is in the first alone.
fn changes<'a>(before: &'a Leaderboard, after: &'a Leaderboard) -> Vec<Change<'a>> {
    let standings = |leaderboard: &'a Leaderboard| -> BTreeMap<&'a ModelId, Standing> {
        leaderboard.entries.iter().map(|entry| (&entry.model_id, entry.into())).collect()
    };
    let (old, new) = (standings(before), standings(after));
    let gone = before.entries.iter().filter(|entry| !new.contains_key(&entry.model_id));
    after
        .entries
        .iter()
        .chain(gone)
        .map(|LeaderboardEntry { model_id, .. }| Change {
            model_id,
            before: old.get(model_id).copied(),
            after: new.get(model_id).copied(),
        })
        .collect()
}

fn print_json(
    before: &Leaderboard,
    outcome: &WhatIfOutcome,
    changes: &[Change<'_>],
) -> serde_json::Result<()> {
    for change in changes {
        println!("{}", serde_json::to_string(change)?);
    }
    let WhatIfOutcome { leaderboard, scored, void } = outcome;
    let summary = json!({ "what_if": {
        "as_of": before.as_of,
        "rule_before": before.rule,
        "rule": leaderboard.rule,
        "scored": scored,
        "void": void,
    } });
    println!("{summary}");
    Ok(())
}

fn print(before: &Leaderboard, outcome: &WhatIfOutcome, changes: &[Change<'_>]) {
    println!(
        "{:>4} {:>4}  {:32} {:>8} {:>8} {:>8} {:>8}",
        "rank", "was", "model", "recent", "steady", "anchor", "was"
    );
    for Change { model_id, before, after } in changes {
        let rank = |standing: &Option<Standing>| {
            standing.and_then(|it| it.rank).map_or("-".into(), |rank| rank.to_string())
        };
        let score = |standing: &Option<Standing>, of: fn(Standing) -> Option<f64>| {
            standing.and_then(of).map_or("-".into(), |score| format!("{score:.4}"))
        };
        println!(
            "{:>4} {:>4}  {model_id:32} {:>8} {:>8} {:>8} {:>8}",
            rank(after),
            rank(before),
            score(after, |it| it.recent),
            score(after, |it| it.steady),
            score(after, |it| it.anchor),
            score(before, |it| it.anchor),
        );
    }
    println!();
    println!("as of        {}", before.as_of.to_utc_string());
    println!("rule         {}, was {}", outcome.leaderboard.rule, before.rule);
    println!("rounds       {} scored, {} void", outcome.scored, outcome.void);
    if before.rescoring.is_some() {
        println!("note         the leaderboard before is not whole: rounds are still being scored again");
    }
}
