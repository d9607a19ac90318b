//! Rounds from the models' answers to the leaderboard, into both databases.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;
use throwaway_postgres::Durability;

use crate::{postgres, shell};

#[derive(Args)]
pub struct Options {
    /// How many rounds of 200 models are scored
    #[arg(long, value_name = "N", default_value_t = 200)]
    rounds: u32,
}

/// Measures each database and prints its tables.
pub fn run(options: &Options) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite://{}", folder.path().join("pipeline.db").display());
    measure("SQLite", &sqlite, options)?;
    let server = postgres::start(Durability::Full)?;
    measure("PostgreSQL", &server.url(), options)
}

fn measure(database: &str, url: &str, options: &Options) -> Result<()> {
    let rounds = options.rounds.to_string();
    let arguments =
        ["bench", "--package", "score-worker", "--bench", "pipeline", "--", url, "--rounds", &rounds];
    let output = shell::output(&mut shell::cargo(&arguments))?;
    print!("{}", table(database, &output)?);
    Ok(())
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
