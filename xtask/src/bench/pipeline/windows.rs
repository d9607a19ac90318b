//! What a leaderboard costs after a week, and after many.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{bench, number};

/// Measures windows over a week of a database, and with so many weeks before it; prints a table.
pub fn measure(database: &str, url: &str, weeks: u32) -> Result<()> {
    let output = bench(url, &["--weeks", &weeks.to_string()])?;
    print!("{}", table(database, &output)?);
    Ok(())
}

/// From lines of JSON to a table for people.
fn table(database: &str, output: &str) -> Result<String> {
    let mut text = format!(
        "| {database}: scored predictions stored | from a cold start | a cycle | a cycle on the full hour | rolled up at first |\n\
         |--:|--:|--:|--:|--:|\n"
    );
    for line in output.lines() {
        let line: Value =
            serde_json::from_str(line).with_context(|| format!("the line is no JSON: {line}"))?;
        let [start, cycle, hour] =
            [times(&line, "start_ms")?, times(&line, "cycle_ms")?, times(&line, "hour_ms")?];
        let (stored, made) = (number(&line, "stored")? / 1e6, number(&line, "made_s")?);
        text.push_str(&format!("| {stored:.1} M | {start} | {cycle} | {hour} | {made:.1} s |\n"));
    }
    text.push_str("\nTimes are the median, and the longest.\n\n");
    Ok(text)
}

fn times(line: &Value, key: &str) -> Result<String> {
    let [median, longest] = [number(&line[key], "median")?, number(&line[key], "longest")?];
    Ok(format!("{median:.0} ms ({longest:.0} ms)"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_become_a_table() {
        let output = r#"{"stored":4032000,"made_s":12.34,"start_ms":{"median":120.4,"longest":140.0},
            "cycle_ms":{"median":20.2,"longest":29.9},"hour_ms":{"median":40.0,"longest":50.6}}"#;
        let table = super::table("SQLite", &output.replace('\n', " ")).unwrap();
        assert!(
            table.contains("| 4.0 M | 120 ms (140 ms) | 20 ms (30 ms) | 40 ms (51 ms) | 12.3 s |\n"),
            "{table}"
        );
        assert!(super::table("SQLite", r#"{"stored":1}"#).is_err());
    }
}
