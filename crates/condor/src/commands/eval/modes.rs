//! What is wanted of a line.

use anyhow::{Context, bail, ensure};
use scoring::{Density, Distribution, Grid, Limits, Refusal};

use super::outcome::{Number, Outcome};
use super::prediction::prediction;
use super::row::Row;
use crate::cli::EvalMode;

/// Evaluates a line; the error says what is not valid in it.
pub fn evaluate(mode: EvalMode, row: &Row<'_>) -> anyhow::Result<Outcome> {
    match mode {
        EvalMode::Density => density(row),
        EvalMode::Crps => crps(row),
        EvalMode::Grid => grid_crps(row),
        EvalMode::Validate => validate(row),
        EvalMode::Prediction => prediction(row),
        EvalMode::Round => round(row),
    }
}

fn density(row: &Row<'_>) -> anyhow::Result<Outcome> {
    let density = spec(row)?;
    let x = row.number("x")?;
    let (pdf, cdf, sf) = match x {
        // Distributions are asked about finite moves; these are their limits.
        f64::INFINITY => (0.0, 1.0, 0.0),
        f64::NEG_INFINITY => (0.0, 0.0, 1.0),
        x => (density.pdf(x), density.cdf(x), density.sf(x)),
    };
    Ok(Outcome::Density { pdf: Number(pdf), cdf: Number(cdf), sf: Number(sf) })
}

fn crps(row: &Row<'_>) -> anyhow::Result<Outcome> {
    let crps = any_format(row)?.crps(row.finite("x")?);
    Ok(Outcome::Crps { crps: Number(crps) })
}

fn grid_crps(row: &Row<'_>) -> anyhow::Result<Outcome> {
    let density = spec(row)?;
    let grid = grid(row, row.finite("t_min")?, row.finite("t_max")?)?;
    let crps = scoring::grid_crps(&density, row.finite("x")?, grid);
    Ok(Outcome::Crps { crps: Number(crps) })
}

fn validate(row: &Row<'_>) -> anyhow::Result<Outcome> {
    let kind: String = row.value("kind")?;
    let raw: String = row.value("raw")?;
    let parse = match kind.as_str() {
        "density" => scoring::parse_density,
        "bucket" => scoring::parse_buckets,
        "samples" => scoring::parse_samples,
        "quantiles" => scoring::parse_quantiles,
        _ => bail!("`kind` must be density, bucket, samples or quantiles, got {kind:?}"),
    };
    let refusal = parse(raw.as_bytes(), &Limits::default()).err();
    Ok(Outcome::Validity { valid: refusal.is_none(), reason: refusal.map(|refusal| refusal.to_string()) })
}

fn round(row: &Row<'_>) -> anyhow::Result<Outcome> {
    let crps: Vec<Option<f64>> = row.value("crps")?;
    let relative = match scoring::relative_scores(&crps, None) {
        Some(relative) => relative.scores,
        None => vec![0.0; crps.len()],
    };
    Ok(Outcome::Round { relative: relative.into_iter().map(Number).collect() })
}

/// A grid from `t_min` to `t_max` of as many points as the line says.
pub fn grid(row: &Row<'_>, t_min: f64, t_max: f64) -> anyhow::Result<Grid> {
    /// More are no approximation of anything but memory for whoever mistyped.
    const MAX_POINTS: u32 = 1_000_000;
    let points: u32 = row.value("num_points")?;
    ensure!(points <= MAX_POINTS, "`num_points` must be at most {MAX_POINTS}, got {points}");
    Ok(Grid::new(t_min, t_max, points)?)
}

fn spec(row: &Row<'_>) -> anyhow::Result<Density> {
    parsed("spec", scoring::parse_density(row.require("spec")?.as_bytes(), &Limits::NONE))
}

/// The distribution of a line that may give it in any format, but in one only.
fn any_format(row: &Row<'_>) -> anyhow::Result<Density> {
    let formats = ["spec", "buckets", "samples", "levels"].map(|name| row.get(name));
    match formats {
        [Some(_), None, None, None] => spec(row),
        [None, Some(buckets), None, None] => {
            parsed("buckets", scoring::parse_buckets(buckets.as_bytes(), &Limits::NONE))
        }
        [None, None, Some(samples), None] => {
            let weights = row.get("weights").map(|weights| format!(r#","weights":{weights}"#));
            let text = format!(r#"{{"samples":{samples}{}}}"#, weights.unwrap_or_default());
            Ok(scoring::parse_samples(text.as_bytes(), &Limits::NONE)?)
        }
        [None, None, None, Some(levels)] => {
            let text = format!(r#"{{"levels":{levels},"values":{}}}"#, row.require("values")?);
            Ok(scoring::parse_quantiles(text.as_bytes(), &Limits::NONE)?)
        }
        _ => {
            bail!("one of `spec`, `buckets`, `samples`, `levels` (with `values`) must be given, and one only")
        }
    }
}

fn parsed<T>(field: &'static str, result: Result<T, Refusal>) -> anyhow::Result<T> {
    result.with_context(|| format!("`{field}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORM: &str = r#""spec": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}"#;

    fn evaluated(mode: EvalMode, line: &str) -> String {
        let row = Row::read(line.as_bytes()).unwrap();
        match evaluate(mode, &row) {
            Ok(outcome) => serde_json::to_string(&outcome).unwrap(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn densities_are_known_at_infinity() {
        let at = |x: &str| evaluated(EvalMode::Density, &format!("{{{NORM}, \"x\": {x}}}"));
        assert_eq!(at("\"inf\""), r#"{"pdf":0.0,"cdf":1.0,"sf":0.0}"#);
        assert_eq!(at("\"-inf\""), r#"{"pdf":0.0,"cdf":0.0,"sf":1.0}"#);
        assert_eq!(at("\"nan\""), r#"`x` must be a number, "inf" or "-inf", got "nan""#);
        assert_eq!(at("null"), "`x` is missing");
    }

    #[test]
    fn a_line_gives_its_distribution_in_one_format() {
        let crps = |line: &str| evaluated(EvalMode::Crps, line);
        let wanted =
            "one of `spec`, `buckets`, `samples`, `levels` (with `values`) must be given, and one only";
        assert_eq!(crps(r#"{"x": 1}"#), wanted);
        assert_eq!(crps(&format!(r#"{{{NORM}, "buckets": {{"1": 1}}, "x": 1}}"#)), wanted);
        assert_eq!(crps(r#"{"levels": [0.5], "x": 1}"#), "`values` is missing");
        assert_eq!(crps(r#"{"buckets": {"1": 1}, "spec": null, "x": 1}"#), r#"{"crps":0.0}"#);
        assert_eq!(crps(r#"{"buckets": {"1": 1}, "x": "inf"}"#), r#"`x` must be a finite number, got "inf""#);
        assert_eq!(
            crps(
                r#"{"spec": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": -2.50}}, "x": 1}"#
            ),
            "`spec`: params.scale: must be > 0, got -2.50"
        );
    }

    #[test]
    fn limits_of_a_competition_hold_in_validate_only() {
        let leaf = r#"{"density": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}, "weight": 1}"#;
        let four = format!(r#"{{"type": "mixture", "components": [{leaf}, {leaf}, {leaf}, {leaf}]}}"#);
        let density = evaluated(EvalMode::Density, &format!(r#"{{"spec": {four}, "x": 0}}"#));
        assert!(density.starts_with(r#"{"pdf":0.39894"#), "{density}");
        let validity = |raw: &str| {
            let raw = serde_json::to_string(raw).unwrap();
            evaluated(EvalMode::Validate, &format!(r#"{{"kind": "density", "raw": {raw}}}"#))
        };
        assert!(validity(&four).starts_with(r#"{"valid":false,"reason":""#));
        assert_eq!(validity(&four.replacen(&format!("{leaf}, "), "", 1)), r#"{"valid":true,"reason":null}"#);
        assert_eq!(
            evaluated(EvalMode::Validate, r#"{"kind": "bucket list", "raw": ""}"#),
            r#"`kind` must be density, bucket, samples or quantiles, got "bucket list""#
        );
    }

    #[test]
    fn a_grid_that_is_none_or_fills_the_memory_is_refused() {
        let grid = |rest: &str| evaluated(EvalMode::Grid, &format!("{{{NORM}, \"x\": 0, {rest}}}"));
        assert_eq!(
            grid(r#""t_min": -1, "t_max": 1, "num_points": 4000000000"#),
            "`num_points` must be at most 1000000, got 4000000000"
        );
        assert!(grid(r#""t_min": 1, "t_max": -1, "num_points": 9"#).starts_with("a grid needs"));
        assert_eq!(
            grid(r#""t_min": "-inf", "t_max": 1, "num_points": 9"#),
            r#"`t_min` must be a finite number, got "-inf""#
        );
    }

    #[test]
    fn a_round_has_no_outlier_cap_and_wants_finite_scores() {
        let round = |crps: &str| evaluated(EvalMode::Round, &format!(r#"{{"crps": {crps}}}"#));
        assert_eq!(round("[1, 1, 1, 1000]"), r#"{"relative":[1.0,1.0,1.0,0.0]}"#);
        assert_eq!(round("[null, null]"), r#"{"relative":[0.0,0.0]}"#);
        assert_eq!(round("[]"), r#"{"relative":[]}"#);
        assert_eq!(round(r#"[1, "inf"]"#), r#"`crps`: invalid type: string "inf", expected f64 at column 9"#);
    }
}
