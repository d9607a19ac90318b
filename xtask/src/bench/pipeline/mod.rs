//! Rounds from the models' answers to the leaderboard, into both databases.

mod windows;

use std::path::Path;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::postgres::{Durability, Server};
use crate::shell;

#[derive(Args)]
pub struct Options {
    /// How many rounds of 200 models are scored
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
    /// Windows and leaderboard over millions of scores
    Windows,
}

/// Measures each database and prints its tables.
pub fn run(options: &Options) -> Result<()> {
    let parts = [Part::Rounds, Part::Windows].into_iter();
    for part in parts.filter(|part| options.part.is_none_or(|only| only == *part)) {
        let folder = tempfile::tempdir()?;
        measure(part, "SQLite", &sqlite_in(folder.path()), options)?;
        let server = Server::start(Durability::Full)?;
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
            print!("{}", table(database, &output)?);
            Ok(())
        }
        Part::Windows => windows::measure(database, url, options.weeks),
    }
}

/// Runs the benchmark over an empty database; returns its lines.
fn bench(url: &str, arguments: &[&str]) -> Result<String> {
    let cargo = ["bench", "--package", "score-worker", "--bench", "pipeline", "--", url];
    shell::output(&mut shell::cargo(&[&cargo, arguments].concat()))
}

/// From lines of JSON to a table for people.
fn table(database: &str, output: &str) -> Result<String> {
    let mut text = format!(
        "| {database}: a round of 1,000 models | text | stored | | checked | stored in | together |\n\
         |---|--:|--:|--:|--:|--:|--:|\n"
    );
    for line in output.lines() {
        let line: Value =
            serde_json::from_str(line).with_context(|| format!("the line is no JSON: {line}"))?;
        text.push_str(&match line["answers"].as_str() {
            Some(answers) => stored_row(answers, &line)?,
            None => scored_line(database, &line)?,
        });
    }
    Ok(text)
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

fn scored_line(database: &str, line: &Value) -> Result<String> {
    let [predictions, seconds] = [number(line, "predictions")?, number(line, "seconds")?];
    let per_second = number(line, "per_second")?;
    Ok(format!(
        "\n{database}: {predictions} predictions scored in {seconds:.2} s, {per_second:.0} a second\n\n"
    ))
}

fn number(line: &Value, key: &str) -> Result<f64> {
    line[key].as_f64().with_context(|| format!("`{key}` is missing in {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds_become_a_table() {
        let output = r#"{"answers":"1h/1m","check_ms":10.4,"store_ms":20.2,"text_bytes":18000.0,"stored_bytes":1200.0}
{"predictions":400,"seconds":0.5,"per_second":800.0}"#;
        let table = table("SQLite", output).unwrap();
        assert!(table.contains("| 1h/1m | 18000 B | 1200 B | 1/15.0 | 10 ms | 20 ms | 31 ms |\n"), "{table}");
        assert!(table.contains("SQLite: 400 predictions scored in 0.50 s, 800 a second\n"), "{table}");
        assert!(super::table("SQLite", "garbage").is_err());
        assert!(super::table("SQLite", r#"{"answers":"1h/1m"}"#).is_err());
    }
}
