//! The outcomes for a reader, and for a program.

use serde_json::{Value, json};

use super::comparison::{Comparison, Outcome};
use crate::bench::machine::Machine;
use crate::bench::numbers::three_digits;

/// A Markdown table, and the machine.
pub fn table(machine: &Machine, outcomes: &[Outcome]) -> String {
    let head =
        "| case | ours | peer | | ratio (lowest to highest) | wanted | |\n|---|--:|---|--:|--:|--:|---|\n";
    let rows: String = outcomes.iter().map(row).collect();
    let rounds = outcomes.first().map_or(0, |outcome| outcome.rounds.len());
    format!("{head}{rows}\nMachine: {}. Rounds: {rounds}.\n", machine.describe())
}

fn row(outcome: &Outcome) -> String {
    let (low, high) = outcome.ratio_range();
    format!(
        "| {} | {} | {} | {} | {} ({} to {}) | {} | {} |\n",
        outcome.comparison.what,
        duration(outcome.ours_ns()),
        outcome.peer_name,
        duration(outcome.peer_ns()),
        three_digits(outcome.ratio()),
        three_digits(low),
        three_digits(high),
        wanted(outcome.comparison),
        match outcome.is_met() {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "",
        }
    )
}

fn wanted(comparison: &Comparison) -> String {
    let ratio = comparison.least_ratio.map(|least| format!("≥ {least}"));
    let time = comparison.most_us.map(|most| format!("≤ {most} µs"));
    [ratio, time].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn duration(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{} ns", three_digits(ns)),
        ns if ns < 1e6 => format!("{} µs", three_digits(ns / 1e3)),
        ns => format!("{} ms", three_digits(ns / 1e6)),
    }
}

/// Everything, each round included.
pub fn json(machine: &Machine, outcomes: &[Outcome]) -> Value {
    json!({
        "machine": {
            "cores": machine.cores,
            "processor": machine.processor,
            "architecture": std::env::consts::ARCH,
            "avx2": machine.avx2,
            "pinned_to": machine.pinned_to,
            "load_before": machine.load,
        },
        "comparisons": outcomes.iter().map(outcome_json).collect::<Vec<_>>(),
    })
}

fn outcome_json(outcome: &Outcome) -> Value {
    let Comparison { what, ours, least_ratio, most_us, .. } = outcome.comparison;
    let rounds: Vec<Value> = outcome
        .rounds
        .iter()
        .map(|round| json!({"ours_ns": round.ours_ns, "peer_ns": round.peer_ns, "ratio": round.ratio()}))
        .collect();
    json!({
        "what": what,
        "case": ours,
        "peer": outcome.peer_name,
        "ours_ns": outcome.ours_ns(),
        "peer_ns": outcome.peer_ns(),
        "ratio": outcome.ratio(),
        "rounds": rounds,
        "least_ratio": least_ratio,
        "most_us": most_us,
        "met": outcome.is_met(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_in_the_unit_that_fits() {
        assert_eq!(duration(4.8), "4.80 ns");
        assert_eq!(duration(9.996), "10.0 ns");
        assert_eq!(duration(117_345.0), "117 µs");
        assert_eq!(duration(33_524_065.5), "33.5 ms");
    }
}
