//! What was measured, for a reader and for a program.

use serde_json::{Value, json};

use super::comparison::{Measure, Row, Wanted, rows};
use super::phase::Phase;
use super::{Measured, QUESTIONS};
use crate::bench::numbers::three_digits;

/// What ours may take in memory with many models.
const MOST_HELD_MB: f64 = 400.0;

/// Markdown tables, and what was measured where.
pub fn tables(measured: &Measured) -> String {
    let compared: String = rows(&measured.pairs).iter().map(row).collect();
    format!(
        "| phase | | ours | peer | ratio (lowest to highest) | wanted | |\n|---|---|--:|--:|--:|--:|---|\n{compared}\n\
         | ours alone | | wanted | |\n|---|--:|--:|---|\n{}{}\n\
         Peer: {}. Machine: {}. Rounds: {}, with {QUESTIONS} questions each.\n",
        held_rows(&measured.held),
        hang_row(measured),
        measured.peer,
        measured.machine.describe_shared(),
        measured.pairs.len(),
    )
}

fn row(row: &Row) -> String {
    let (low, high) = row.ratio_range();
    format!(
        "| {} | {} | {} | {} | {} ({} to {}) | {} | {} |\n",
        row.phase,
        name(row.measure),
        with_unit(row.measure, row.ours()),
        with_unit(row.measure, row.peer()),
        three_digits(row.ratio()),
        three_digits(low),
        three_digits(high),
        row.wanted.map_or(String::new(), |wanted| in_words(wanted, row.measure)),
        verdict(row.is_met()),
    )
}

fn held_rows(phases: &[Phase]) -> String {
    let models = phases.first().map_or(0, |phase| phase.models);
    let cell = |what: &str, figure: String, wanted: String, met: Option<bool>| {
        format!("| {models} models: {what} | {figure} | {wanted} | {} |\n", verdict(met))
    };
    let peak = held_peak_mb(phases);
    let memory = cell(
        "peak memory over all phases",
        with_unit(Measure::Memory, peak),
        format!("< {MOST_HELD_MB} MB"),
        Some(peak < MOST_HELD_MB),
    );
    let walls = phases.iter().map(|phase| {
        let what = format!("{}, wall time of a round", phase.phase);
        cell(&what, with_unit(Measure::Wall, phase.wall_median_s), String::new(), None)
    });
    std::iter::once(memory).chain(walls).collect()
}

fn hang_row(measured: &Measured) -> String {
    let hang = &measured.hang;
    format!(
        "| predict, 99th percentile of outcomes, and what one hanging model adds to the others' | {} ms, {:+.2} ms ({:+.1} %) \
         | < 5 % or 2 ms | {} |\n",
        three_digits(hang.without_ms()),
        hang.moved_ms(),
        100.0 * hang.moved_ms() / hang.without_ms(),
        verdict(Some(hang.is_met())),
    )
}

fn held_peak_mb(phases: &[Phase]) -> f64 {
    phases.iter().map(|phase| phase.rss_mb).fold(0.0, f64::max)
}

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Cpu => "CPU per call",
        Measure::Wall => "wall time of a round",
        Measure::Memory => "peak memory",
    }
}

fn with_unit(measure: Measure, figure: f64) -> String {
    match measure {
        Measure::Cpu => format!("{} µs", three_digits(figure)),
        Measure::Wall if figure < 1.0 => format!("{} ms", three_digits(1e3 * figure)),
        Measure::Wall => format!("{} s", three_digits(figure)),
        Measure::Memory => format!("{} MB", three_digits(figure)),
    }
}

fn in_words(wanted: Wanted, measure: Measure) -> String {
    match wanted {
        Wanted::Ratio(least) => format!("≥ {least}"),
        Wanted::RatioAndGoal(least, goal) => format!("≥ {least} (goal {goal})"),
        Wanted::Below(most) => format!("< {}", with_unit(measure, most)),
    }
}

fn verdict(is_met: Option<bool>) -> &'static str {
    match is_met {
        Some(true) => "met",
        Some(false) => "**not met**",
        None => "",
    }
}

/// All figures.
pub fn json(measured: &Measured) -> Value {
    let machine = &measured.machine;
    json!({
        "machine": {"cores": machine.cores, "processor": machine.processor, "load_before": machine.load},
        "peer": measured.peer,
        "comparisons": rows(&measured.pairs).iter().map(row_json).collect::<Vec<_>>(),
        "held": {
            "phases": measured.held,
            "peak_mb": held_peak_mb(&measured.held),
            "met": held_peak_mb(&measured.held) < MOST_HELD_MB,
        },
        "hang": {
            "p99_without_ms": measured.hang.without_ms(),
            "p99_with_ms": measured.hang.with_ms(),
            "met": measured.hang.is_met(),
        },
    })
}

fn row_json(row: &Row) -> Value {
    let (lowest, highest) = row.ratio_range();
    let (unit, least_ratio, below) = (
        match row.measure {
            Measure::Cpu => "us",
            Measure::Wall => "s",
            Measure::Memory => "mb",
        },
        match row.wanted {
            Some(Wanted::Ratio(least) | Wanted::RatioAndGoal(least, _)) => Some(least),
            _ => None,
        },
        match row.wanted {
            Some(Wanted::Below(most)) => Some(most),
            _ => None,
        },
    );
    json!({
        "phase": row.phase,
        "measure": name(row.measure),
        "unit": unit,
        "ours": row.ours(),
        "peer": row.peer(),
        "ratio": row.ratio(),
        "lowest_ratio": lowest,
        "highest_ratio": highest,
        "least_ratio": least_ratio,
        "below": below,
        "met": row.is_met(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_in_the_unit_that_fits() {
        assert_eq!(with_unit(Measure::Cpu, 183.4), "183 µs");
        assert_eq!(with_unit(Measure::Wall, 0.0824), "82.4 ms");
        assert_eq!(with_unit(Measure::Wall, 4.567), "4.57 s");
        assert_eq!(with_unit(Measure::Memory, 45.04), "45.0 MB");
    }

    #[test]
    fn what_is_wanted_is_told_in_the_unit_of_its_measure() {
        assert_eq!(in_words(Wanted::Below(0.5), Measure::Wall), "< 500 ms");
        assert_eq!(in_words(Wanted::RatioAndGoal(20.0, 30.0), Measure::Cpu), "≥ 20 (goal 30)");
    }
}
