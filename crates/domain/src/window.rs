//! Rolling means of scores: what they are. [`ScoreHistory`](crate::ScoreHistory) computes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::round::words;
use crate::{Asset, ModelId, RoundId, Span, Timestamp};

/// How far back a rolling mean looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Window {
    /// 24 hours.
    #[default]
    Recent,
    /// 72 hours.
    Steady,
    /// 168 hours.
    Anchor,
}
words!(Window, "window", { Recent => "recent", Steady => "steady", Anchor => "anchor" });

impl Window {
    /// Its length.
    pub const fn span(self) -> Span {
        match self {
            Window::Recent => Span::hours(24),
            Window::Steady => Span::hours(72),
            Window::Anchor => Span::hours(168),
        }
    }
}

/// How long each window is: whole hours, the recent one shortest and the anchor one longest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowSpans(PerWindow<Span>);

/// Windows that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindows {
    /// Scores are summed by hours.
    #[error("a window of {0} is no whole number of hours")]
    NotHours(Span),
    /// Each holds the one before.
    #[error("a window of {longer} after one of {shorter}: name the shortest first")]
    NotLonger {
        /// The one before.
        shorter: Span,
        /// The one that should be longer.
        longer: Span,
    },
}

impl WindowSpans {
    /// Windows of these lengths.
    pub fn new(recent: Span, steady: Span, anchor: Span) -> Result<Self, InvalidWindows> {
        for span in [recent, steady, anchor] {
            if span.is_zero() || !span.is_multiple_of(Span::HOUR) {
                return Err(InvalidWindows::NotHours(span));
            }
        }
        for (shorter, longer) in [(recent, steady), (steady, anchor)] {
            if longer <= shorter {
                return Err(InvalidWindows::NotLonger { shorter, longer });
            }
        }
        Ok(WindowSpans(PerWindow { recent, steady, anchor }))
    }

    /// The length of one.
    pub fn of(&self, window: Window) -> Span {
        *self.0.get(window)
    }
}

impl Default for WindowSpans {
    /// Those of competitions.
    fn default() -> Self {
        WindowSpans(PerWindow::from_fn(Window::span))
    }
}

/// One value for each window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PerWindow<T> {
    /// For the last 24 hours.
    pub recent: T,
    /// For the last 72 hours.
    pub steady: T,
    /// For the last 168 hours.
    pub anchor: T,
}

impl<T> PerWindow<T> {
    /// One value from each window, the shortest first.
    pub fn from_fn(mut value: impl FnMut(Window) -> T) -> Self {
        PerWindow {
            recent: value(Window::Recent),
            steady: value(Window::Steady),
            anchor: value(Window::Anchor),
        }
    }

    /// The value for one window.
    pub fn get(&self, window: Window) -> &T {
        match window {
            Window::Recent => &self.recent,
            Window::Steady => &self.steady,
            Window::Anchor => &self.anchor,
        }
    }

    /// The value for one window, to change it.
    pub fn get_mut(&mut self, window: Window) -> &mut T {
        match window {
            Window::Recent => &mut self.recent,
            Window::Steady => &mut self.steady,
            Window::Anchor => &mut self.anchor,
        }
    }
}

/// A model's means over one window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct WindowScore {
    /// Mean relative score, 0 to 1, higher is better; `None` without a valid answer in the window.
    pub score: Option<f64>,
    /// Mean raw score over the valid answers, lower is better; `None` without one.
    pub raw: Option<f64>,
    /// Scored predictions of any status.
    pub predictions: u64,
    /// Those with a valid answer.
    pub valid: u64,
    /// False while the model's first scored round is younger than the window: the number is provisional.
    pub full: bool,
}

/// What windows are kept for: one asset and horizon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Parameter {
    /// What is forecast.
    pub asset: Asset,
    /// How far ahead.
    pub horizon: Span,
}

/// Some of the parameters: those of an asset, those of a horizon, or the one of both; all where neither is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selection {
    /// About this asset.
    pub asset: Option<Asset>,
    /// Over this horizon.
    pub horizon: Option<Span>,
}

impl Selection {
    /// True when no parameter is left out.
    pub fn is_all(&self) -> bool {
        *self == Selection::default()
    }

    /// How much a parameter counts in the mean over these; `None` for one that is not among them. What all of them have in
    /// common weighs nothing: within one horizon only the assets' weights count.
    pub fn weight(&self, parameter: &Parameter, weights: &Weights) -> Option<f64> {
        let of_asset = match &self.asset {
            None => weights.of_asset(&parameter.asset),
            Some(asset) if *asset == parameter.asset => 1.0,
            Some(_) => return None,
        };
        let of_horizon = match self.horizon {
            None => weights.of_horizon(parameter.horizon),
            Some(horizon) if horizon == parameter.horizon => 1.0,
            Some(_) => return None,
        };
        Some(of_asset * of_horizon)
    }
}

/// A model's means for one asset and horizon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParameterStanding {
    /// Which.
    #[serde(flatten)]
    pub parameter: Parameter,
    /// The means.
    pub windows: PerWindow<WindowScore>,
}

/// A model's means over all parameters, and for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelStanding {
    /// Who.
    pub model_id: ModelId,
    /// When its first scored round since it joined, or came back, resolved; `None` while there is none.
    pub first_scored_at: Option<Timestamp>,
    /// The weighted means over the parameters.
    pub windows: PerWindow<WindowScore>,
    /// In the order of asset and horizon; those with a prediction in the anchor window.
    pub parameters: Vec<ParameterStanding>,
}

impl ModelStanding {
    /// The means over some of the parameters; `full` as over all.
    pub fn over(&self, selection: &Selection, weights: &Weights) -> PerWindow<WindowScore> {
        PerWindow::from_fn(|window| {
            let chosen = self.parameters.iter().filter_map(|standing| {
                let weight = selection.weight(&standing.parameter, weights)?;
                Some((weight, standing.windows.get(window)))
            });
            WindowScore { full: self.windows.get(window).full, ..mean_over_parameters(chosen) }
        })
    }
}

/// Every model's means as of one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standings {
    /// Rounds resolved up to here count.
    pub as_of: Timestamp,
    /// In the order of model ids.
    pub models: Vec<ModelStanding>,
}

impl Standings {
    /// The means over some of the parameters, in the place of those over all: of the models with a prediction in them.
    pub fn over(&self, selection: &Selection, weights: &Weights) -> Standings {
        let models = self.models.iter().map(|model| ModelStanding {
            model_id: model.model_id.clone(),
            first_scored_at: model.first_scored_at,
            windows: model.over(selection, weights),
            parameters: Vec::new(),
        });
        let models = models.filter(|model| model.windows.anchor.predictions > 0).collect();
        Standings { as_of: self.as_of, models }
    }
}

/// How much each asset and horizon counts in the mean over parameters; 1 unless set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Weights {
    /// By asset.
    #[serde(default)]
    pub assets: BTreeMap<Asset, f64>,
    /// By horizon.
    #[serde(default)]
    pub horizons: BTreeMap<Span, f64>,
}

impl Weights {
    /// The product of the asset's and the horizon's weight.
    pub fn of(&self, parameter: &Parameter) -> f64 {
        self.of_asset(&parameter.asset) * self.of_horizon(parameter.horizon)
    }

    /// The asset's weight.
    pub fn of_asset(&self, asset: &Asset) -> f64 {
        self.assets.get(asset).copied().unwrap_or(1.0)
    }

    /// The horizon's weight.
    pub fn of_horizon(&self, horizon: Span) -> f64 {
        self.horizons.get(&horizon).copied().unwrap_or(1.0)
    }
}

/// One model's score in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPrediction {
    /// Who.
    pub model_id: ModelId,
    /// 0 to 1, higher is better; 0 without a valid answer.
    pub relative: f64,
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
}

/// A scored round, as windows need it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredRound {
    /// Which.
    pub id: RoundId,
    /// Its asset and horizon.
    pub parameter: Parameter,
    /// When it was asked.
    pub performed_at: Timestamp,
    /// When it resolved.
    pub resolves_at: Timestamp,
    /// The whole field.
    pub scores: Vec<ScoredPrediction>,
}

/// The weighted mean over the parameters in which the model was in the field of at least one round. `full` is left false.
pub fn mean_over_parameters<'a>(scores: impl Iterator<Item = (f64, &'a WindowScore)>) -> WindowScore {
    let mut mean = WindowScore::default();
    let (mut score, mut score_weight, mut raw, mut raw_weight) = (0.0, 0.0, 0.0, 0.0);
    for (weight, window) in scores.filter(|(_, window)| window.predictions > 0) {
        mean.predictions += window.predictions;
        mean.valid += window.valid;
        // A parameter without a valid answer counts 0, as each of its predictions does.
        score += weight * window.score.unwrap_or(0.0);
        score_weight += weight;
        if let Some(value) = window.raw {
            raw += weight * value;
            raw_weight += weight;
        }
    }
    mean.score = (mean.valid > 0 && score_weight > 0.0).then(|| score / score_weight);
    mean.raw = (raw_weight > 0.0).then(|| raw / raw_weight);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_whole_hours_and_each_is_longer_than_the_one_before() {
        let windows = |hours: [u32; 3]| {
            let [recent, steady, anchor] = hours.map(Span::hours);
            WindowSpans::new(recent, steady, anchor)
        };
        assert_eq!(windows([24, 72, 168]), Ok(WindowSpans::default()));
        assert_eq!(windows([0, 72, 168]), Err(InvalidWindows::NotHours(Span::ZERO)));
        let day = Span::days(1);
        assert_eq!(windows([24, 24, 168]), Err(InvalidWindows::NotLonger { shorter: day, longer: day }));
        let minutes = WindowSpans::new(Span::minutes(90), day, Span::days(2));
        assert_eq!(minutes, Err(InvalidWindows::NotHours(Span::minutes(90))));
    }
}
