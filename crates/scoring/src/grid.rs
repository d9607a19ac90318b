//! The bounded grid integral of existing games: an approximation of the CRPS, kept number for number.

use std::ops::Range;

use crate::vectors::{Kernel, Vectors};
use crate::{Density, Distribution};

/// Equally spaced points, in the unit of the move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    t_min: f64,
    t_max: f64,
    points: u32,
    spacing: f64,
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
    /// From `t_min` to `t_max` with both ends, at least 2 points.
    pub fn new(t_min: f64, t_max: f64, points: u32) -> Result<Self, InvalidGrid> {
        let is_grid = (t_max - t_min).is_finite() && t_min < t_max && points >= 2;
        if !is_grid {
            return Err(InvalidGrid { t_min, t_max, points });
        }
        let spacing = (t_max - t_min) / f64::from(points - 1);
        Ok(Grid { t_min, t_max, points, spacing })
    }

    /// The first point.
    pub fn first(&self) -> f64 {
        self.t_min
    }

    /// The last point.
    pub fn last(&self) -> f64 {
        self.t_max
    }

    /// From one point to the next.
    pub fn spacing(&self) -> f64 {
        self.spacing
    }

    /// A point as numpy's `linspace` gives it: an ulp decides on which side of an outcome it is.
    #[inline(always)]
    fn point(&self, index: usize) -> f64 {
        if index as u32 == self.points - 1 { self.t_max } else { self.inner_point(index as u32) }
    }

    #[inline(always)]
    fn inner_point(&self, index: u32) -> f64 {
        f64::from(index) * self.spacing + self.t_min
    }

    /// The points from the one at `start` on.
    fn write_points(&self, start: usize, out: &mut [f64]) {
        for (k, point) in out.iter_mut().enumerate() {
            *point = self.inner_point(start as u32 + k as u32);
        }
        let end = self.point(start + out.len() - 1);
        if let Some(last) = out.last_mut() {
            *last = end;
        }
    }

    /// How many points are below `x`.
    fn count_below(&self, x: f64) -> usize {
        let estimate = ((x - self.t_min) / self.spacing).ceil();
        let mut count = (estimate.max(0.0) as usize).min(self.points as usize);
        while count > 0 && self.point(count - 1) >= x {
            count -= 1;
        }
        while count < self.points as usize && self.point(count) < x {
            count += 1;
        }
        count
    }

    /// The places of the points from `a` to `b` and of the next one on either side.
    fn around(&self, (a, b): (f64, f64)) -> Range<usize> {
        let start = self.count_below(a).saturating_sub(1);
        let end = (self.count_below(b) + 2).min(self.points as usize);
        start.min(end - 1)..end
    }
}

/// The trapezoidal sum over (F - 1{t ≥ x})², where F is the running sum of the density over the grid after its integral
/// over the grid was made 1. Undefined (NaN) where the density is infinite at a point.
pub fn grid_crps(density: &Density, x: f64, grid: Grid) -> f64 {
    let bulk = grid.around(density.bulk_on(&grid));
    let mut buffer = vec![0.0; 2 * bulk.len()];
    let (points, values) = buffer.split_at_mut(bulk.len());
    grid.write_points(bulk.start, points);
    density.add_pdf(1.0, points, values);

    let outcome = grid.count_below(x);
    let steps = outcome.clamp(bulk.start, bulk.end) - bulk.start;
    let first_width = grid.point(1) - grid.point(0);
    let (within, total) = Vectors::widest().run(SquaredDistance { points, values, first_width, steps });
    let below = Flat { grid, outcome, cdf: 0.0 }.area(0, bulk.start);
    let beyond = Flat { grid, outcome, cdf: total }.area(bulk.end - 1, grid.points as usize - 1);
    below + within + beyond
}

/// The integral over the bulk of the density, and F at its end.
struct SquaredDistance<'a> {
    points: &'a [f64],
    /// The density at each point; spent.
    values: &'a mut [f64],
    /// Between the first two points of the whole grid.
    first_width: f64,
    /// How many points are below the outcome.
    steps: usize,
}

impl Kernel for SquaredDistance<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run(self) -> (f64, f64) {
        let SquaredDistance { points, values, first_width, steps } = self;
        let mass = trapezoid(points, values);
        let unit = if mass > 0.0 { first_width / mass } else { first_width };
        accumulate(values);
        let cdf = |sum: f64| if unit * sum > 1.0 { 1.0 } else { unit * sum };
        let total = cdf(values[values.len() - 1]);
        let (below, above) = values.split_at_mut(steps);
        for value in below {
            *value = cdf(*value) * cdf(*value);
        }
        for value in above {
            *value = (cdf(*value) - 1.0) * (cdf(*value) - 1.0);
        }
        (trapezoid(points, values), total)
    }
}

/// A stretch of the grid where the distribution function does not change.
struct Flat {
    grid: Grid,
    /// The place of the first point at or above the outcome.
    outcome: usize,
    cdf: f64,
}

impl Flat {
    /// The integral from one point to a later one.
    fn area(&self, from: usize, to: usize) -> f64 {
        let (before, after) = (self.cdf * self.cdf, (1.0 - self.cdf) * (1.0 - self.cdf));
        let width = |a: usize, b: usize| self.grid.point(b) - self.grid.point(a);
        if self.outcome <= from {
            after * width(from, to)
        } else if self.outcome > to {
            before * width(from, to)
        } else {
            let step = 0.5 * (before + after) * width(self.outcome - 1, self.outcome);
            before * width(from, self.outcome - 1) + step + after * width(self.outcome, to)
        }
    }
}

/// Turns values into their running sum. Within a block the sums do not wait for the one before the block.
#[inline(always)]
fn accumulate(values: &mut [f64]) {
    let mut sum = 0.0;
    let mut blocks = values.chunks_exact_mut(4);
    for block in &mut blocks {
        let (two, last_two) = (block[0] + block[1], block[2] + block[3]);
        let sums = [block[0], two, two + block[2], two + last_two];
        for (value, within) in block.iter_mut().zip(sums) {
            *value = sum + within;
        }
        sum = block[3];
    }
    for value in blocks.into_remainder() {
        sum += *value;
        *value = sum;
    }
}

/// Sums side by side, so that an addition need not wait for the one before.
const LANES: usize = 8;

#[inline(always)]
fn trapezoid(points: &[f64], values: &[f64]) -> f64 {
    let panel = |t: &[f64], value: &[f64], k: usize| 0.5 * (t[k + 1] - t[k]) * (value[k] + value[k + 1]);
    let mut sums = [0.0; LANES];
    let mut done = 0;
    while done + LANES < points.len() {
        let (t, value) = (&points[done..=done + LANES], &values[done..=done + LANES]);
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += panel(t, value, lane);
        }
        done += LANES;
    }
    let mut total = sums.iter().sum();
    for k in done..points.len() - 1 {
        total += panel(points, values, k);
    }
    total
}
