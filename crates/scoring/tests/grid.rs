//! The bounded grid integral against the values of the reference implementation.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Read;

use flate2::read::GzDecoder;
use scoring::{Density, Grid, Limits, grid_crps, parse_density};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Row {
    id: String,
    spec: Value,
    x: f64,
    t_min: f64,
    t_max: f64,
    num_points: u32,
    value: Value,
    tags: Vec<String>,
}

impl Row {
    fn has_pole_on_grid(&self) -> bool {
        self.tags.iter().any(|tag| tag == "edge_on_grid")
    }
}

fn rows() -> Vec<Row> {
    let mut text = String::new();
    let file: &[u8] = include_bytes!("vectors/crps_reference.jsonl.gz");
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How our value misses the reference's: a number, `nan` at a pole on the grid, or the `nan` or `error:` of a gamma
/// function out of its range, where ours is a number.
fn miss(row: &Row, ours: f64) -> Option<String> {
    let is_met = match &row.value {
        Value::String(word) if word == "nan" && row.has_pole_on_grid() => ours.is_nan(),
        Value::String(word) => (word == "nan" || word.starts_with("error:")) && ours.is_finite(),
        value => {
            let theirs = value.as_f64().unwrap();
            ours == theirs || ((ours - theirs) / theirs).abs() <= 1e-9
        }
    };
    (!is_met).then(|| format!("{}: {ours:e}, not {}", row.id, row.value))
}

fn density(spec: &str) -> Density {
    parse_density(spec.as_bytes(), &Limits::NONE).unwrap()
}

fn norm(loc: f64, scale: f64) -> Density {
    density(&format!(
        r#"{{"type": "builtin", "name": "norm", "params": {{"loc": {loc:e}, "scale": {scale:e}}}}}"#
    ))
}

#[test]
fn every_value_of_the_reference_is_met_to_1e_9() {
    let rows = rows();
    assert_eq!(rows.len(), 420);
    let mut misses = Vec::new();
    for row in &rows {
        let density = parse_density(row.spec.to_string().as_bytes(), &Limits::NONE).unwrap();
        let grid = Grid::new(row.t_min, row.t_max, row.num_points).unwrap();
        misses.extend(miss(row, grid_crps(&density, row.x, grid)));
    }
    assert!(misses.is_empty(), "{} rows are off:\n{}", misses.len(), misses.join("\n"));
}

#[test]
fn a_density_too_narrow_for_the_grid_is_scored_as_if_it_were_above_it() {
    let grid = Grid::new(-1500.0, 1500.0, 1024).unwrap();
    for x in [5.0, -5.0] {
        let score = grid_crps(&norm(0.0, 1e-3), x, grid);
        let first_above = (0..1024).map(|k| f64::from(k) * (3000.0 / 1023.0) - 1500.0).find(|t| *t >= x);
        let middle_of_the_cell = first_above.unwrap() - 0.5 * 3000.0 / 1023.0;
        assert!((score - (1500.0 - middle_of_the_cell)).abs() < 1e-9, "{x}: {score}");
    }
}

#[test]
fn an_outcome_on_a_point_counts_as_below_it() {
    let grid = Grid::new(-4.0, 4.0, 9).unwrap();
    let density = norm(0.0, 1.0);
    let at = grid_crps(&density, 1.0, grid);
    assert_eq!(at, grid_crps(&density, 1.0_f64.next_down(), grid));
    assert!((at - grid_crps(&density, 1.0_f64.next_up(), grid)).abs() > 0.1);
    assert_eq!(grid_crps(&density, -4.0, grid), grid_crps(&density, -1e300, grid));
}

#[test]
fn what_is_left_out_far_from_a_normal_does_not_count() {
    // The same density with a component that keeps every point of the grid in.
    for (loc, scale) in [(0.0, 20.0), (700.0, 0.4), (-1499.0, 3.0), (2500.0, 40.0), (0.0, 400.0)] {
        let everywhere = density(&format!(
            r#"{{"type": "mixture", "components": [
                {{"density": {{"type": "builtin", "name": "norm", "params": {{"loc": {loc:?}, "scale": {scale:?}}}}}, "weight": 1}},
                {{"density": {{"type": "builtin", "name": "laplace", "params": {{"loc": 0, "scale": 1}}}}, "weight": 1e-300}}
            ]}}"#
        ));
        let grid = Grid::new(-1500.0, 1500.0, 1024).unwrap();
        for x in [-1600.0, -30.0, 0.0, 11.0, 699.0, 1500.0] {
            let (ours, whole) = (grid_crps(&norm(loc, scale), x, grid), grid_crps(&everywhere, x, grid));
            assert!((ours / whole - 1.0).abs() < 1e-12, "{loc} {scale} {x}: {ours} {whole}");
        }
    }
}
