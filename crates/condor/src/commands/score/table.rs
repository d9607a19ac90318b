//! An explanation for people.

use std::fmt::Write;

use domain::{PricePoint, Timestamp};
use report_worker::why::{Outcome, Report, exact, instant};
use scoring::{Aggregation, ExplainedIncrement, ExplainedStep, Explanation, Place};

/// The whole report: first what it comes to, then every increment.
pub fn text(report: &Report) -> String {
    let mut text = Sections::default();
    let round = &report.round;
    let steps = round.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    text.line("prediction", &report.prediction_id);
    text.line(
        "question",
        format!(
            "{} over {} in steps of {steps}, {}, asked at {}, resolved at {}",
            round.asset,
            round.horizon,
            round.target,
            instant(round.performed_at),
            instant(round.resolves_at)
        ),
    );
    text.line("round", &report.standing);
    if let Some(outcome) = &report.outcome {
        text.line("outcome", outcome_in_words(outcome));
    }
    if let Some(explanation) = &report.explanation {
        summary(&mut text, explanation, &report.rule);
    }
    if let Some(stored) = &report.stored {
        match report.agrees {
            Some(true) => text.line("on record", "the same to the last bit"),
            Some(false) => {
                report.differences.iter().for_each(|difference| text.line("on record", difference));
            }
            None => text.line(
                "on record",
                format!("relative {}, raw {}", exact(Some(stored.relative)), exact(stored.raw)),
            ),
        }
    }
    for step in report.explanation.iter().flat_map(|explanation| &explanation.steps) {
        text.table(step);
    }
    text.0
}

fn outcome_in_words(outcome: &Outcome) -> String {
    let mut words = outcome.status.to_string();
    if let Some(took) = outcome.took_us {
        // Writing to a string cannot fail.
        let _ = write!(words, " after {} ms", significant(took as f64 / 1000.0));
    }
    if let Some(deployment) = &outcome.deployment_id {
        let _ = write!(words, ", deployment {deployment}");
    }
    if let Some(reason) = &outcome.reason {
        let _ = write!(words, ": {}", reason.escape_debug());
    }
    words
}

fn summary(text: &mut Sections, explanation: &Explanation, rule: &str) {
    if let Some(void) = &explanation.void {
        text.line("score", format!("none: the round is void ({void})"));
    }
    if let Some(reason) = &explanation.left_out {
        text.line("score", format!("none: the round leaves it out, for a fault of ours ({reason})"));
    }
    let Some(place) = &explanation.place else { return };
    text.line("rule", rule);
    match (explanation.raw, place.rank) {
        (Some(raw), Some(rank)) => {
            text.line("raw score", format!("{raw:?}, rank {rank} of {} (lower is better)", place.valid));
            text.line("", made_of(explanation));
            text.line("relative", relative_in_words(raw, place));
        }
        _ => {
            if let Some(failure) = &explanation.failure {
                text.line("raw score", format!("none: {}", failure.escape_debug()));
            }
            let worst = significant(place.worst);
            text.line(
                "relative",
                format!(
                    "0, as for everybody without a valid answer; in q95 it counts with the worst, {worst}"
                ),
            );
        }
    }
    text.line("field", field_in_words(place));
}

fn made_of(explanation: &Explanation) -> String {
    let whole = match explanation.aggregation {
        Aggregation::Mean => "the mean over the steps of the mean over their moves",
        Aggregation::Sum => "the sum over all moves of all steps",
    };
    match explanation.scale {
        1.0 => whole.to_owned(),
        scale => format!("{whole}, divided by the asset's scale of {scale}"),
    }
}

/// The formula with its numbers.
fn relative_in_words(raw: f64, place: &Place) -> String {
    let relative = format!("{:?}", place.relative);
    if place.q95 == place.best {
        return format!("{relative}, as for everybody with a valid answer where q95 = best");
    }
    let (own, capped) = match place.cap.filter(|cap| raw > *cap) {
        Some(cap) => (cap, " (capped)"),
        None => (raw, ""),
    };
    let [own, best, q95] = [own, place.best, place.q95].map(significant);
    format!(
        "{relative} = (q95 - raw) / (q95 - best) within 0 and 1 = ({q95} - {own}{capped}) / ({q95} - {best})"
    )
}

fn field_in_words(place: &Place) -> String {
    let cap = place.cap.map_or_else(|| "no cap".to_owned(), |cap| format!("cap {}", significant(cap)));
    let [best, median, worst, q95] = [place.best, place.median, place.worst, place.q95].map(significant);
    format!(
        "{} models, {} with a score: best {best}, median {median}, {cap}, worst {worst}, q95 {q95}",
        place.field, place.valid
    )
}

/// Lines of a label and a value, then tables.
#[derive(Default)]
struct Sections(String);

impl Sections {
    fn line(&mut self, label: &str, value: impl AsRef<str>) {
        let _ = writeln!(self.0, "{label:<12}{}", value.as_ref());
    }

    fn table(&mut self, step: &ExplainedStep) {
        let counted = step.increments.iter().filter(|increment| increment.move_.is_some()).count();
        let left_out = step.increments.len() - counted;
        let result = match (&step.left_out, step.mean) {
            (Some(reason), _) => format!("left out: {reason}"),
            (None, Some(mean)) => format!("mean {mean:?} over {counted} moves, {left_out} left out"),
            (None, None) => format!("{counted} moves, {left_out} left out"),
        };
        let _ = writeln!(self.0, "\n{:<12}{result}", format!("step {}", step.step));
        let rows: Vec<[String; COLUMNS]> =
            step.increments.iter().enumerate().map(|(place, increment)| row(place, increment)).collect();
        aligned(&mut self.0, &rows);
    }
}

const COLUMNS: usize = 8;
const HEADER: [&str; COLUMNS] = ["#", "from", "price", "to", "price", "move", "cdf", "score"];

fn row(place: usize, increment: &ExplainedIncrement) -> [String; COLUMNS] {
    let at = |price: Option<PricePoint>, instant: Timestamp| {
        price.map_or(instant, |price| price.at).format("%d %H:%M:%S").to_string()
    };
    let price = |price: Option<PricePoint>| price.map_or("-".to_owned(), |it| it.price.value().to_string());
    let number = |number: Option<f64>| number.map_or_else(|| "-".to_owned(), significant);
    [
        (place + 1).to_string(),
        at(increment.from_price, increment.from),
        price(increment.from_price),
        at(increment.to_price, increment.to),
        price(increment.to_price),
        number(increment.move_),
        number(increment.cdf),
        increment.left_out.as_ref().map_or_else(|| number(increment.score), |why| format!("left out: {why}")),
    ]
}

/// Columns as wide as they need be, to the right; the reasons at the end stick out.
fn aligned(text: &mut String, rows: &[[String; COLUMNS]]) {
    let widest = |column: usize| {
        let is_reason = |cell: &&String| column == COLUMNS - 1 && cell.contains(' ');
        let cells = rows.iter().map(|row| &row[column]).filter(|cell| !is_reason(cell));
        cells.map(String::len).chain([HEADER[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..COLUMNS).map(widest).collect();
    let mut print = |cells: [&str; COLUMNS]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}"));
        let _ = writeln!(text, "  {}", padded.collect::<Vec<_>>().join("  "));
    };
    print(HEADER);
    for row in rows {
        print(row.each_ref().map(String::as_str));
    }
}

/// Six significant digits, enough to follow a calculation.
fn significant(number: f64) -> String {
    let scientific = format!("{number:.5e}");
    let exponent = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse::<i32>().ok());
    match exponent {
        Some(exponent @ -4..=8) => format!("{number:.*}", (5 - exponent).max(0) as usize),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits_whatever_their_size() {
        let numbers = [0.0, 1.0, -0.25, 123456.7, 999999.96, 1e-4, 9.999999e-5, 1.23456789e-7, 1e300];
        let expected = [
            "0.00000",
            "1.00000",
            "-0.250000",
            "123457",
            "1000000",
            "0.000100000",
            "0.000100000",
            "1.23457e-7",
            "1.00000e300",
        ];
        assert_eq!(numbers.map(significant), expected);
        assert_eq!(significant(f64::INFINITY), "inf");
    }
}
