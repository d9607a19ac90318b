//! Rounds from the models' answers to the leaderboard, into both databases.

mod slot;
mod windows;

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;

use throwaway_postgres::Durability;

use crate::{postgres, shell};

#[derive(Args)]
pub struct Options {
    /// How many rounds of 200 models are scored by each crew of workers
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: u32,
    /// How many weeks of 4 million predictions each are stored before the one that windows reach back to
    #[arg(long, value_name = "N", default_value_t = 2)]
    weeks: u32,
    /// Measure one part only
    #[arg(long)]
    part: Option<Part>,
}

/// What is measured by itself, in a database of its own.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Part {
    /// Rounds from answers to scores
    Rounds,
    /// From a slot until its round of 1,000 models is durable
    Slot,
    /// Windows and leaderboard over millions of scores
    Windows,
}

/// Measures each database and prints its tables.
pub fn run(options: &Options) -> Result<()> {
    let parts = [Part::Rounds, Part::Slot, Part::Windows].into_iter();
    for part in parts.filter(|part| options.part.is_none_or(|only| only == *part)) {
        let folder = tempfile::tempdir()?;
        measure(part, "SQLite", &sqlite_in(folder.path()), options)?;
        let server = postgres::start(Durability::Full)?;
        measure(part, "PostgreSQL", &server.url(), options)?;
    }
    Ok(())
}

fn sqlite_in(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("pipeline.db").display())
}

fn measure(part: Part, database: &str, url: &str, options: &Options) -> Result<()> {
    match part {
        Part::Rounds => {
            let output = bench(url, &["--rounds", &options.rounds.to_string()])?;
            print!("{}", tables(database, &output)?);
            Ok(())
        }
        Part::Slot => slot::measure(database, url),
        Part::Windows => windows::measure(database, url, options.weeks),
    }
}

/// Runs the benchmark over an empty database; returns its lines.
fn bench(url: &str, arguments: &[&str]) -> Result<String> {
    let cargo = ["bench", "--package", "score-worker", "--bench", "pipeline", "--", url];
    shell::output(&mut shell::cargo(&[&cargo, arguments].concat()))
}

/// From lines of JSON to tables for people.
fn tables(database: &str, output: &str) -> Result<String> {
    let mut stored = format!(
        "| {database}: a round of 1,000 models | text | stored | | checked | stored in | together |\n\
         |---|--:|--:|--:|--:|--:|--:|\n"
    );
    let mut scored = format!(
        "| {database}: score workers | threads of each | predictions/s | to one such worker | bytes read \
         | processor time: workers | server |\n|---|--:|--:|--:|--:|--:|--:|\n"
    );
    let mut parts = format!(
        "| {database}: time for a prediction | claiming | prices | loading | scoring | storing | ranking |\n\
         |---|--:|--:|--:|--:|--:|--:|\n"
    );
    let mut alone = None;
    for line in output.lines() {
        let line: Value =
            serde_json::from_str(line).with_context(|| format!("the line is no JSON: {line}"))?;
        match line["answers"].as_str() {
            Some(answers) => stored.push_str(&stored_row(answers, &line)?),
            None => {
                let per_second = number(&line, "per_second")?;
                if number(&line, "workers")? == 1.0 {
                    alone = Some(per_second);
                }
                scored.push_str(&scored_row(&line, alone)?);
                parts.push_str(&parts_row(&line)?);
            }
        }
    }
    Ok(format!("{stored}\n{scored}\n{parts}\n"))
}

fn stored_row(answers: &str, line: &Value) -> Result<String> {
    let [text, stored] = [number(line, "text_bytes")?, number(line, "stored_bytes")?];
    let [check, store] = [number(line, "check_ms")?, number(line, "store_ms")?];
    Ok(format!(
        "| {answers} | {text:.0} B | {stored:.0} B | 1/{:.1} | {check:.0} ms | {store:.0} ms | {:.0} ms |\n",
        text / stored,
        check + store
    ))
}

/// `alone` is what one worker with as many threads made of it.
fn scored_row(line: &Value, alone: Option<f64>) -> Result<String> {
    let [per_second, bytes] = [number(line, "per_second")?, number(line, "read_bytes")?];
    let ratio = alone.map_or("?".to_owned(), |alone| format!("{:.2}", per_second / alone));
    let server = line["server_us"].as_f64().map_or("in the workers".to_owned(), |us| format!("{us:.1} µs"));
    Ok(format!(
        "| {} | {} | {per_second:.0} | {ratio} | {bytes:.0} B | {:.1} µs | {server} |\n",
        number(line, "workers")?,
        threads(line)?,
        number(line, "worker_us")?,
    ))
}

fn parts_row(line: &Value) -> Result<String> {
    let mut row = format!("| workers: {}, threads of each: {} |", number(line, "workers")?, threads(line)?);
    for part in ["claiming_us", "prices_us", "loading_us", "scoring_us", "storing_us", "ranking_us"] {
        row.push_str(&format!(" {:.1} µs |", number(line, part)?));
    }
    Ok(row + "\n")
}

fn threads(line: &Value) -> Result<String> {
    Ok(match number(line, "threads")? {
        0.0 => "as cores".to_owned(),
        threads => threads.to_string(),
    })
}

fn number(line: &Value, key: &str) -> Result<f64> {
    line[key].as_f64().with_context(|| format!("`{key}` is missing in {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds_become_tables() {
        let output = r#"{"answers":"1h/1m","check_ms":10.4,"store_ms":20.2,"text_bytes":18000.0,"stored_bytes":1200.0}
{"workers":1,"threads":1,"per_second":800.0,"read_bytes":1675.9,"worker_us":30.04,"server_us":15.5,"claiming_us":1.0,"prices_us":2.0,"loading_us":3.0,"scoring_us":4.0,"storing_us":5.0,"ranking_us":6.0}
{"workers":2,"threads":0,"per_second":1400.0,"read_bytes":1675.9,"worker_us":30.04,"server_us":null,"claiming_us":1.0,"prices_us":2.0,"loading_us":3.0,"scoring_us":4.0,"storing_us":5.0,"ranking_us":6.0}"#;
        let tables = tables("SQLite", output).unwrap();
        assert!(
            tables.contains("| 1h/1m | 18000 B | 1200 B | 1/15.0 | 10 ms | 20 ms | 31 ms |\n"),
            "{tables}"
        );
        assert!(tables.contains("| 1 | 1 | 800 | 1.00 | 1676 B | 30.0 µs | 15.5 µs |\n"), "{tables}");
        let two = "| 2 | as cores | 1400 | 1.75 | 1676 B | 30.0 µs | in the workers |\n";
        assert!(tables.contains(two), "{tables}");
        let parts = "| workers: 2, threads of each: as cores | 1.0 µs | 2.0 µs | 3.0 µs | 4.0 µs | 5.0 µs | 6.0 µs |\n";
        assert!(tables.contains(parts), "{tables}");
        assert!(super::tables("SQLite", "garbage").is_err());
        assert!(super::tables("SQLite", r#"{"answers":"1h/1m"}"#).is_err());
    }
}
