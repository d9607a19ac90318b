//! `condor db prune`

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use storage::{Pruned, Pruning, Store};

use crate::cli::PruneArgs;
use crate::config::load;
use crate::store;

/// What the help says at its end.
pub const EXPLANATION: &str = "\
What goes is old by [retention] and needed by nothing: not by a round that is still to be scored, nor by the windows of
the last two weeks. Rounds and how their predictions ended stay. On PostgreSQL whole days go at once, and the disk has
their room back; on SQLite rows go, and their room in the file is used again. It may be stopped at any time.";

/// Others who write have their turn after each portion, for as long as it took and this at least.
const LEAST_PAUSE: Duration = Duration::from_millis(5);

/// Removes what is older than the settings keep, or says what would go.
pub async fn run(args: PruneArgs) -> anyhow::Result<()> {
    let config = load(args.settings.config.as_deref(), args.settings.database.as_deref())?.config;
    // Of an SQLite database that does not exist, a reader says so; a writer would make one.
    let reader = store::open_read_only(&config.database.url).await?;
    reader.check_schema().await?;
    let mut pruning = Pruning::plan(reader.as_ref(), &config.retention, SystemClock.now()).await?;
    let pruned = if args.dry_run {
        pruning.survey(reader.as_ref()).await?
    } else {
        let store = store::open(&config.database.url).await?;
        remove(&store, &mut pruning).await?;
        pruning.done().to_vec()
    };
    if args.json {
        print_json(&pruned, pruning.held_back(), args.dry_run)?;
    } else {
        print(&pruned, args.dry_run);
    }
    warn(&pruned, pruning.held_back());
    Ok(())
}

async fn remove(store: &Arc<dyn Store>, pruning: &mut Pruning) -> anyhow::Result<()> {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    while let Some(took) = pruning.step(store.as_ref()).await? {
        bar.set_message(pruning.done().last().map(|pruned| line(pruned, "removed")).unwrap_or_default());
        bar.tick();
        tokio::time::sleep(took.max(LEAST_PAUSE)).await;
    }
    bar.finish_and_clear();
    Ok(())
}

fn line(pruned: &Pruned, verb: &str) -> String {
    let Pruned { what, before, rows, bytes, .. } = pruned;
    let before = before.format("%Y-%m-%d %H:%M");
    format!("{what:<16} {rows:>12} rows {verb}, {:>10}, from before {before}", megabytes(*bytes))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn total(pruned: &[Pruned], count: fn(&Pruned) -> u64) -> u64 {
    pruned.iter().map(count).sum()
}

fn print(pruned: &[Pruned], dry_run: bool) {
    let verb = if dry_run { "to remove" } else { "removed" };
    for pruned in pruned {
        println!("{}", line(pruned, verb));
    }
    let bytes = megabytes(total(pruned, |pruned| pruned.bytes));
    println!("{:<16} {:>12} rows {verb}, {bytes:>10}", "together", total(pruned, |pruned| pruned.rows));
}

fn print_json(pruned: &[Pruned], unfinished_rounds: u64, dry_run: bool) -> anyhow::Result<()> {
    for pruned in pruned {
        println!("{}", serde_json::to_string(pruned)?);
    }
    let summary = json!({
        "dry_run": dry_run,
        "rows": total(pruned, |pruned| pruned.rows),
        "bytes": total(pruned, |pruned| pruned.bytes),
        "in_use": total(pruned, |pruned| pruned.in_use),
        "unfinished_rounds": unfinished_rounds,
    });
    println!("{}", json!({ "summary": summary }));
    Ok(())
}

fn warn(pruned: &[Pruned], unfinished_rounds: u64) {
    let in_use = total(pruned, |pruned| pruned.in_use);
    if in_use > 0 {
        eprintln!("{in_use} parts were in use all the time and stayed: run it again");
    }
    if unfinished_rounds > 0 {
        eprintln!(
            "{unfinished_rounds} old rounds are still to be scored and stayed: without hope of prices end them with \
             `condor round void`"
        );
    }
}
