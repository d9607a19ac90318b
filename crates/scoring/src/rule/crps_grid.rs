//! The bounded grid integral of existing games, for games that need those numbers.

use std::collections::BTreeMap;

use domain::{Asset, Span};
use serde::{Deserialize, Serialize};

use super::Rule;
use crate::{Density, Grid, grid_crps};

pub(super) const ID: &str = "crps_grid";

const MOST_POINTS: u32 = 1_000_000;

/// The grid of each asset: equally spaced points from -KT to KT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GridSettings {
    /// T by asset, in the unit of the move.
    pub bounds: BTreeMap<Asset, f64>,
    /// How many points.
    pub points: u32,
    /// K is the root of the step over this for longer steps, else 1.
    pub base_step: Span,
}

impl Default for GridSettings {
    fn default() -> Self {
        GridSettings { bounds: BTreeMap::new(), points: 1024, base_step: Span::minutes(5) }
    }
}

/// Settings that make no grid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidGridSettings {
    /// A bound that is none.
    #[error("the bound of {asset} is {bound}: write a number from 1e-100 to 1e100")]
    Bound {
        /// Whose.
        asset: Asset,
        /// What it is.
        bound: f64,
    },
    /// Too few or too many points.
    #[error("{0} points: write a number from 2 to {MOST_POINTS}")]
    Points(u32),
    /// No unit for longer steps.
    #[error("base_step is zero: write the step whose grid is not widened, such as \"5m\"")]
    NoBaseStep,
}

/// An approximation of the CRPS: narrow densities are off by up to the width of the window, and what lies outside it
/// counts as if at its edge.
pub(super) struct CrpsGrid(GridSettings);

impl CrpsGrid {
    pub(super) fn new(settings: GridSettings) -> Result<Self, InvalidGridSettings> {
        let is_bound = |bound: f64| (1e-100..=1e100).contains(&bound);
        if let Some((asset, &bound)) = settings.bounds.iter().find(|(_, bound)| !is_bound(**bound)) {
            return Err(InvalidGridSettings::Bound { asset: asset.clone(), bound });
        }
        if !(2..=MOST_POINTS).contains(&settings.points) {
            return Err(InvalidGridSettings::Points(settings.points));
        }
        if settings.base_step.is_zero() {
            return Err(InvalidGridSettings::NoBaseStep);
        }
        Ok(CrpsGrid(settings))
    }

    fn grid(&self, asset: &Asset, step: Span) -> Option<Grid> {
        let GridSettings { bounds, points, base_step } = &self.0;
        let ratio = f64::from(step.as_secs()) / f64::from(base_step.as_secs());
        let bound = bounds.get(asset)? * ratio.max(1.0).sqrt();
        Grid::new(-bound, bound, *points).ok()
    }
}

impl Rule for CrpsGrid {
    fn id(&self) -> &'static str {
        ID
    }

    fn version(&self) -> u32 {
        1
    }

    fn score(&self, density: &Density, x: f64, asset: &Asset, step: Span) -> f64 {
        self.grid(asset, step).map_or(f64::NAN, |grid| grid_crps(density, x, grid))
    }

    fn can_be_negative(&self) -> bool {
        false
    }

    fn covers(&self, asset: &Asset) -> bool {
        self.0.bounds.contains_key(asset)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let GridSettings { bounds, points, base_step } = &self.0;
        let bounds: Vec<String> = bounds.iter().map(|(asset, bound)| format!("{asset}={bound}")).collect();
        vec![
            ("bounds", bounds.join(",")),
            ("points", points.to_string()),
            ("base_step", base_step.to_string()),
        ]
    }
}
