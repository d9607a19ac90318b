//! A whole prediction, settled and scored as existing games do: with the price nearest to each instant, however far.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use domain::{Method, Span};
use scoring::{Answer, Distribution, Expected, Grid, Limits, StepAnswer};
use serde::de::IgnoredAny;

use super::modes::grid;
use super::outcome::{Number, Outcome, StepSums};
use super::row::Row;

/// The sums of the scores over the increments of each step, under the grid integral and under the exact CRPS.
pub fn prediction(row: &Row<'_>) -> anyhow::Result<Outcome> {
    let start = row.finite("t0")?;
    let prices = Prices::read(row)?;
    let mut step_sums = StepSums::new();
    let mut exact_step_sums = StepSums::new();
    for answered in answer(row)?.steps {
        let step = answered.step;
        let grid = grid_for(row, step)?;
        let moves: Vec<Option<f64>> = prices.moves(start, step).take(answered.densities.len()).collect();
        step_sums.insert(
            step.as_secs(),
            sum(&answered, &moves, |density, x| scoring::grid_crps(density, x, grid)),
        );
        exact_step_sums.insert(step.as_secs(), sum(&answered, &moves, |density, x| density.crps(x)));
    }
    Ok(Outcome::Prediction { step_sums, exact_step_sums })
}

fn sum(
    answered: &StepAnswer,
    moves: &[Option<f64>],
    score: impl Fn(&scoring::Density, f64) -> f64,
) -> Number {
    let scores = answered.densities.iter().zip(moves).filter_map(|(density, x)| Some(score(density, (*x)?)));
    Number(scores.fold(0.0, |sum, score| sum + score))
}

/// The prediction for every step that the line has.
fn answer(row: &Row<'_>) -> anyhow::Result<Answer> {
    let (steps, text): (BTreeMap<u32, IgnoredAny>, _) =
        (row.value("predictions")?, row.require("predictions")?);
    let horizon = Span::seconds(row.value("horizon")?);
    let steps: Vec<Span> = steps.into_keys().map(Span::seconds).collect();
    for step in &steps {
        let count = horizon.divided_by(*step);
        ensure!(!step.is_zero(), "`predictions`: a step must be above 0");
        // The parser makes room for as many as are expected.
        ensure!(count <= text.len(), "`predictions`: [\"{}\"]: expected {count} densities", step.as_secs());
    }
    let expected = Expected { horizon, steps, method: Method::PredictAll };
    scoring::parse_answer(text.as_bytes(), &expected, &Limits::NONE).context("`predictions`")
}

/// The bounds grow with the square root of the step, as a random walk does.
fn grid_for(row: &Row<'_>, step: Span) -> anyhow::Result<Grid> {
    let (step, base_step) = (f64::from(step.as_secs()), row.positive("base_step")?);
    let widening = if step > base_step { (step / base_step).sqrt() } else { 1.0 };
    let bound = row.positive("bounds_t")? * widening;
    grid(row, -bound, bound)
}

/// (time, price), oldest first; never empty.
struct Prices(Vec<(f64, f64)>);

impl Prices {
    fn read(row: &Row<'_>) -> anyhow::Result<Self> {
        let prices: Vec<(f64, f64)> = row.value("prices")?;
        ensure!(!prices.is_empty(), "`prices` must hold at least one [time, price]");
        let out_of_order = prices.windows(2).position(|pair| pair[0].0 >= pair[1].0);
        if let Some(before) = out_of_order {
            anyhow::bail!("`prices`: the time of [{}] must be later than that of [{before}]", before + 1);
        }
        Ok(Prices(prices))
    }

    /// The price's change over each step from `start` on, without end; `None` where both ends have the same price
    /// point.
    fn moves(&self, start: f64, step: Span) -> impl Iterator<Item = Option<f64>> {
        let place = move |k: u32| self.nearest(start + f64::from(k) * f64::from(step.as_secs()));
        (0..).map(move |k| {
            let (from, to) = (place(k), place(k + 1));
            (from != to).then(|| self.0[to].1 - self.0[from].1)
        })
    }

    /// The place of the price nearest to an instant; of two as near, the earlier.
    fn nearest(&self, instant: f64) -> usize {
        let prices = &self.0;
        let later = prices.partition_point(|&(at, _)| at < instant);
        let Some(earlier) = later.checked_sub(1) else { return later };
        match prices.get(later) {
            Some(&(at, _)) if at - instant < instant - prices[earlier].0 => later,
            _ => earlier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_price_counts_and_of_two_as_near_the_earlier() {
        let prices = Prices(vec![(0.0, 100.0), (60.0, 101.0), (180.0, 104.0)]);
        let places = [-1e9, 0.0, 30.0, 31.0, 60.0, 120.0, 121.0, 1e9].map(|at| prices.nearest(at));
        assert_eq!(places, [0, 0, 0, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn an_increment_between_one_and_the_same_price_is_skipped() {
        let prices = Prices(vec![(0.0, 100.0), (60.0, 100.0), (240.0, 104.0)]);
        let moves: Vec<_> = prices.moves(0.0, Span::minutes(1)).take(5).collect();
        assert_eq!(moves, [Some(0.0), None, Some(4.0), None, None]);
    }

    fn evaluated(line: &str) -> String {
        match prediction(&Row::read(line.as_bytes()).unwrap()) {
            Ok(outcome) => serde_json::to_string(&outcome).unwrap(),
            Err(error) => format!("{error:#}"),
        }
    }

    /// Four minutes of prices that rise by 1, 2, 3, 4; every density certain of 0.
    fn line(prices: &str, predictions: &str) -> String {
        format!(
            r#"{{"t0": 0, "horizon": 240, "prices": {prices}, "predictions": {predictions},
                "bounds_t": 8, "base_step": 60, "num_points": 3}}"#
        )
    }

    #[test]
    fn scores_are_summed_by_step() {
        let certain = r#"{"type": "buckets", "probabilities": {"0": 1}}"#;
        let predictions = format!(
            r#"{{"60": [{certain}, {certain}, {certain}, {certain}], "120": [{certain}, {certain}]}}"#
        );
        let prices = "[[0, 100], [60, 101], [120, 103], [180, 106], [240, 110]]";
        let outcome = evaluated(&line(prices, &predictions));
        assert!(outcome.ends_with(r#""exact_step_sums":{"60":10.0,"120":10.0}}"#), "{outcome}");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let certain = r#"{"type": "buckets", "probabilities": {"0": 1}}"#;
        assert_eq!(
            evaluated(&line("[[0, 1]]", &format!(r#"{{"120": [{certain}]}}"#))),
            "`predictions`: [\"120\"]: expected 2 densities, got 1"
        );
        assert_eq!(evaluated(&line("[]", "{}")), "`prices` must hold at least one [time, price]");
        assert_eq!(
            evaluated(&line("[[0, 1], [60, 1], [60, 2]]", "{}")),
            "`prices`: the time of [2] must be later than that of [1]"
        );
        assert!(evaluated(&line("[[0, 1]]", r#"{"a": []}"#)).starts_with("`predictions`: "));
        assert_eq!(evaluated(&line("[[0, 1]]", r#"{"0": []}"#)), "`predictions`: a step must be above 0");
    }

    #[test]
    fn a_horizon_of_a_century_asks_for_no_memory() {
        let line = line("[[0, 1]]", r#"{"1": []}"#).replace("240", "4294967295");
        assert_eq!(evaluated(&line), r#"`predictions`: ["1"]: expected 4294967295 densities"#);
    }
}
