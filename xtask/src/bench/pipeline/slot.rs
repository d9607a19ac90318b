//! From a slot until its round is durable, on the predict worker itself.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::fleet::{self, Ask, Fleet, example};
use crate::bench::machine::Machine;
use crate::bench::numbers::median;
use crate::shell;

const MODELS: u32 = 1000;

/// What models are asked, and how long it may take at most beyond the models' own time.
const KINDS: [(&str, Ask, f64); 2] = [("24h/5m", Ask::DAY, 600.0), ("1h/1m", Ask::HOUR, 250.0)];

/// Measures rounds of both kinds into a database; prints a table.
///
/// Models answer at once, but on the cores that the worker needs. What they and the wire take is measured by the same fan-out
/// whose answers are thrown away unread: the worker's own part in that, calling and receiving, is held in its favour, the
/// ticks that its models get are not.
pub fn measure(database: &str, url: &str) -> Result<()> {
    fleet::build(&["latencies", "slots"])?;
    let machine = Machine::find();
    let mut table = format!(
        "| {database}: a round of 1,000 models | questions out | last outcome | in the database | models alone | beyond \
         | wanted | | processor time |\n|---|--:|--:|--:|--:|--:|--:|---|--:|\n"
    );
    for (name, ask, most_ms) in KINDS {
        let fleet = Fleet::start(MODELS, 0, ask)?;
        let alone =
            shell::output(example("latencies").arg(&fleet.url).arg("--unread").args(ask.arguments()))?;
        let journal = tempfile::tempdir()?;
        let mut slots = example("slots");
        slots.args([&fleet.url, url]).arg(journal.path()).args(ask.arguments());
        table.push_str(&row(name, &alone, &shell::output(&mut slots)?, most_ms)?);
    }
    println!(
        "{table}\nTimes are from the slot, the median and the longest; processor time is the worker's. Machine: {}.\n",
        machine.describe_shared()
    );
    Ok(())
}

/// From what the two examples print.
fn row(name: &str, alone: &str, slots: &str, most_ms: f64) -> Result<String> {
    let alone = times(alone, "last_ms")?;
    let [asked, closed, stored] =
        [times(slots, "asked_ms")?, times(slots, "closed_ms")?, times(slots, "stored_ms")?];
    let cpu_ms = times(slots, "cpu_ms")?.0;
    let beyond = stored.0 - alone.0;
    let verdict = if beyond <= most_ms { "met" } else { "**not met**" };
    let [asked, closed, stored, alone] =
        [asked, closed, stored, alone].map(|(median, longest)| format!("{median:.0} ms ({longest:.0} ms)"));
    Ok(format!(
        "| {name} | {asked} | {closed} | {stored} | {alone} | {beyond:.0} ms | ≤ {most_ms:.0} ms | {verdict} | {cpu_ms:.0} ms |\n"
    ))
}

/// The median and the longest.
fn times(line: &str, key: &str) -> Result<(f64, f64)> {
    let line: Value = serde_json::from_str(line).with_context(|| format!("the line is no JSON: {line}"))?;
    let times = line[key].as_array().with_context(|| format!("`{key}` is missing in {line}"))?;
    let times: Vec<f64> = times.iter().filter_map(Value::as_f64).collect();
    let longest = times.iter().copied().max_by(f64::total_cmp).context("no round was measured")?;
    Ok((median(times.into_iter()), longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_models_own_time_is_judged() {
        let alone = r#"{"last_ms":[90.0,100.0,130.0]}"#;
        let slots = r#"{"asked_ms":[20.0],"closed_ms":[250.0,300.0,310.0],"stored_ms":[350.0,360.0,390.4],"cpu_ms":[280.0]}"#;
        let expected = "| 1h/1m | 20 ms (20 ms) | 300 ms (310 ms) | 360 ms (390 ms) | 100 ms (130 ms) | 260 ms | ≤ 250 ms | **not met** | 280 ms |\n";
        assert_eq!(row("1h/1m", alone, slots, 250.0).unwrap(), expected);
        assert!(row("1h/1m", alone, slots, 260.0).unwrap().ends_with("| met | 280 ms |\n"));
        assert!(row("1h/1m", "{}", slots, 260.0).is_err());
        assert!(row("1h/1m", r#"{"last_ms":[]}"#, slots, 260.0).is_err());
    }
}
