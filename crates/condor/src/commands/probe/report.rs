//! What a probe prints: a line for each phase on standard output, progress and causes on standard error.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::ModelId;
use serde::Serialize;

use super::action::Fault;
use super::fleet::Round;
use super::usage::Meter;

/// So many models are named in each phase.
const NAMED_MODELS: usize = 5;

/// The longest cause that is printed, in characters.
const MAX_CAUSE_CHARS: usize = 300;

/// One phase. The names of the fields are those of the JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Line {
    phase: &'static str,
    models: usize,
    rounds: usize,
    ok: usize,
    failed: usize,
    timeout: usize,
    wall_median_s: f64,
    wall_max_s: f64,
    cpu_per_call_us: f64,
    rss_mb: f64,
}

/// Prints, and counts what did not succeed.
pub struct Report {
    is_json: bool,
    has_header: bool,
    calls: usize,
    faults: usize,
}

impl Report {
    /// A report of JSON Lines, or as a table.
    pub fn new(is_json: bool) -> Self {
        Report { is_json, has_header: false, calls: 0, faults: 0 }
    }

    /// Calls in all phases so far, those included that were not made.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Those of them that did not succeed.
    pub fn not_succeeded(&self) -> usize {
        self.faults
    }

    /// A phase begins.
    pub fn begins(&self, phase: &str, models: usize, rounds: usize) {
        eprintln!("probe: {phase}: models {models}, rounds {rounds}");
    }

    /// The round `number` of a phase, from 1, has ended.
    pub fn progress(&self, phase: &str, number: usize, round: &Round) {
        let (ok, models, wall) = (round.models - round.faults.len(), round.models, round.wall);
        eprintln!("probe: {phase}: round {number}: {ok} of {models} ok in {wall:.3?}");
    }

    /// A phase has ended: prints its line, and why calls did not succeed.
    pub fn ends(
        &mut self,
        phase: &'static str,
        models: usize,
        rounds: Vec<Round>,
        meter: &Meter,
    ) -> anyhow::Result<()> {
        let line = Line::new(phase, models, &rounds, meter.cpu()?, meter.peak_resident_bytes()?);
        self.calls += models * rounds.len();
        self.faults += line.failed + line.timeout;
        self.print(&line)?;
        print_causes(phase, rounds);
        Ok(())
    }

    fn print(&mut self, line: &Line) -> anyhow::Result<()> {
        if self.is_json {
            println!("{}", serde_json::to_string(line)?);
            return Ok(());
        }
        if !std::mem::replace(&mut self.has_header, true) {
            println!(
                "{:<13}{:>8}{:>8}{:>9}{:>8}{:>9}{:>14}{:>11}{:>17}{:>8}",
                "phase",
                "models",
                "rounds",
                "ok",
                "failed",
                "timeout",
                "wall median s",
                "wall max s",
                "CPU per call µs",
                "RSS MB"
            );
        }
        let Line { phase, models, rounds, ok, failed, timeout, .. } = line;
        println!(
            "{phase:<13}{models:>8}{rounds:>8}{ok:>9}{failed:>8}{timeout:>9}{:>14.3}{:>11.3}{:>17.1}{:>8.1}",
            line.wall_median_s, line.wall_max_s, line.cpu_per_call_us, line.rss_mb
        );
        Ok(())
    }
}

impl Line {
    fn new(
        phase: &'static str,
        models: usize,
        rounds: &[Round],
        cpu: Duration,
        peak_resident_bytes: u64,
    ) -> Self {
        let faults = || rounds.iter().flat_map(|round| round.faults.values());
        let timeout = faults().filter(|fault| fault.is_timeout).count();
        let failed = faults().count() - timeout;
        let calls = models * rounds.len();
        let mut walls: Vec<f64> = rounds.iter().map(|round| round.wall.as_secs_f64()).collect();
        walls.sort_by(f64::total_cmp);
        Line {
            phase,
            models,
            rounds: rounds.len(),
            ok: calls - failed - timeout,
            failed,
            timeout,
            wall_median_s: rounded(median(&walls), 6),
            wall_max_s: rounded(walls.last().copied().unwrap_or_default(), 6),
            cpu_per_call_us: rounded(cpu.as_secs_f64() * 1e6 / calls.max(1) as f64, 1),
            rss_mb: rounded(peak_resident_bytes as f64 / 1e6, 1),
        }
    }
}

/// Of values in order; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

/// The first fault of each of the first few models, and how many more there are.
fn print_causes(phase: &str, rounds: Vec<Round>) {
    let mut first: BTreeMap<ModelId, Fault> = BTreeMap::new();
    for (model, fault) in rounds.into_iter().flat_map(|round| round.faults) {
        first.entry(model).or_insert(fault);
    }
    for (model, fault) in first.iter().take(NAMED_MODELS) {
        let kind = if fault.is_timeout { "timeout" } else { "failed" };
        eprintln!("probe: {phase}: {kind}: model {}: {}", printable(model.as_str()), printable(&fault.cause));
    }
    if let Some(more) = first.len().checked_sub(NAMED_MODELS).filter(|more| *more > 0) {
        eprintln!("probe: {phase}: and {more} more models did not succeed");
    }
}

/// Nothing that a model says moves the cursor of somebody's terminal.
fn printable(text: &str) -> String {
    text.chars().take(MAX_CAUSE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(seconds: f64, faults: &[(&str, bool)]) -> Round {
        let fault = |is_timeout| Fault { is_timeout, cause: "why".into() };
        let faults = faults.iter().map(|(id, is_timeout)| (ModelId::new(id).unwrap(), fault(*is_timeout)));
        Round { wall: Duration::from_secs_f64(seconds), models: 3, faults: faults.collect() }
    }

    #[test]
    fn a_line_counts_calls_and_takes_the_median_and_the_maximum_over_rounds() {
        let rounds = [round(0.5, &[("a", true)]), round(0.1, &[("a", true), ("b", false)]), round(0.2, &[])];
        let line = Line::new("predict", 3, &rounds, Duration::from_micros(900), 12_345_678);
        let expected = Line {
            phase: "predict",
            models: 3,
            rounds: 3,
            ok: 6,
            failed: 1,
            timeout: 2,
            wall_median_s: 0.2,
            wall_max_s: 0.5,
            cpu_per_call_us: 100.0,
            rss_mb: 12.3,
        };
        assert_eq!(line, expected);
        assert_eq!(median(&[1.0, 2.0]), 1.5);
    }

    #[test]
    fn what_a_model_says_is_printed_on_one_line_and_cut() {
        assert_eq!(printable("a\u{1b}[2J\nb\r"), "a [2J b ");
        assert_eq!(printable(&"é".repeat(1000)).chars().count(), MAX_CAUSE_CHARS);
    }
}
