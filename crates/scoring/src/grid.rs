//! The bounded grid integral of existing games: an approximation of the CRPS, kept number for number.

use crate::{Density, Distribution};

/// Equally spaced points from `t_min` to `t_max`, in the unit of the move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    t_min: f64,
    t_max: f64,
    points: u32,
}

/// Bounds or a count that make no grid.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "a grid needs finite bounds, the lower one first, and at least 2 points: got {t_min} to {t_max}, {points} points"
)]
pub struct InvalidGrid {
    t_min: f64,
    t_max: f64,
    points: u32,
}

impl Grid {
    /// `points` of them, at least 2, with both ends.
    pub fn new(t_min: f64, t_max: f64, points: u32) -> Result<Self, InvalidGrid> {
        let is_grid = (t_max - t_min).is_finite() && t_min < t_max && points >= 2;
        if is_grid { Ok(Grid { t_min, t_max, points }) } else { Err(InvalidGrid { t_min, t_max, points }) }
    }

    /// The points as numpy's `linspace` gives them: an ulp decides on which side of an outcome a point is.
    fn points(self) -> impl Iterator<Item = f64> {
        let last = self.points - 1;
        let step = (self.t_max - self.t_min) / f64::from(last);
        (0..last).map(move |i| f64::from(i) * step + self.t_min).chain([self.t_max])
    }
}

/// The trapezoidal sum over (F - 1{t ≥ x})², where F is the running sum of the density over the grid after its integral
/// over the grid was made 1. Undefined (NaN) where the density is infinite at a point.
pub fn grid_crps(density: &Density, x: f64, grid: Grid) -> f64 {
    let points: Vec<f64> = grid.points().collect();
    let densities: Vec<f64> = points.iter().map(|&t| density.pdf(t)).collect();
    let mass = trapezoid(&points, &densities);
    let first_width = points[1] - points[0];
    let unit = if mass > 0.0 { first_width / mass } else { first_width };
    let mut sum = 0.0;
    let squares: Vec<f64> = points
        .iter()
        .zip(densities)
        .map(|(&t, density)| {
            sum += density;
            let step = if t >= x { 1.0 } else { 0.0 };
            let distance = (unit * sum).clamp(0.0, 1.0) - step;
            distance * distance
        })
        .collect();
    trapezoid(&points, &squares)
}

fn trapezoid(points: &[f64], values: &[f64]) -> f64 {
    let panels = points.windows(2).zip(values.windows(2));
    panels.map(|(t, value)| 0.5 * (t[1] - t[0]) * (value[0] + value[1])).sum()
}
