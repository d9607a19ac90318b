//! Which (asset, horizon, steps) is asked how often, and at which instants.

use serde::{Deserialize, Serialize};

use crate::round::words;
use crate::{Asset, CrunchId, Question, Span, Timestamp, TimestampExt};

/// Which method of a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// `predict(asset, horizon, step)`: one list of densities.
    #[default]
    Predict,
    /// `predict_all(asset, horizon, steps)`: an object from step to such a list.
    PredictAll,
}
words!(Method, "method", { Predict => "predict", PredictAll => "predict_all" });

/// What of the price is forecast over each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Target {
    /// ln P(t) - ln P(t - step).
    #[default]
    LogReturn,
    /// P(t) / P(t - step) - 1.
    Return,
    /// P(t) - P(t - step), in quote currency.
    PriceChange,
}
words!(Target, "target", { LogReturn => "log_return", Return => "return", PriceChange => "price_change" });

/// One line of the timetable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The assets asked, in order; their slots are spread over `every`.
    pub assets: Vec<Asset>,
    /// How far ahead.
    pub horizon: Span,
    /// The spacings of the answers within the horizon.
    pub steps: Vec<Span>,
    /// How often each asset is asked.
    pub every: Span,
    /// Where in `every` the first asset's slot lies.
    #[serde(default)]
    pub phase: Span,
    /// Which method of a model answers.
    #[serde(default)]
    pub method: Method,
    /// What is forecast.
    #[serde(default)]
    pub target: Target,
}

impl Schedule {
    /// Slots of the asset at `index` are the instants congruent to this offset, modulo `every`.
    fn offset(&self, index: usize, interval: Span) -> Span {
        let spread = index as u64 * u64::from(self.every.as_secs()) / self.assets.len() as u64;
        let on_grid = spread as u32 / interval.as_secs() * interval.as_secs();
        Span::seconds((self.phase.as_secs() + on_grid) % self.every.as_secs())
    }

    /// True when the asset at `index` is asked at `at`.
    fn is_slot(&self, index: usize, at: Timestamp, interval: Span) -> bool {
        let origin = at - self.offset(index, interval);
        origin.floor_to(self.every) == origin
    }

    fn check(&self, interval: Span) -> Result<(), String> {
        if self.assets.is_empty() {
            return Err("it has no assets".into());
        }
        if self.steps.is_empty() {
            return Err("it has no steps".into());
        }
        if self.method == Method::Predict && self.steps.len() > 1 {
            return Err("method predict takes one step: use predict_all for several".into());
        }
        if self.every.is_zero() {
            return Err("`every` is zero".into());
        }
        for (name, span) in [("every", self.every), ("phase", self.phase)] {
            if !span.is_multiple_of(interval) {
                return Err(format!("{name} {span} is no multiple of the price interval {interval}"));
            }
        }
        for (i, &step) in self.steps.iter().enumerate() {
            if step.is_zero() || !step.is_multiple_of(interval) {
                return Err(format!("step {step} is no multiple of the price interval {interval}"));
            }
            if self.horizon.is_zero() || !self.horizon.is_multiple_of(step) {
                return Err(format!("step {step} does not divide the horizon {}", self.horizon));
            }
            if self.steps[..i].contains(&step) {
                return Err(format!("step {step} is given twice"));
            }
        }
        Ok(())
    }
}

/// A timetable that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// One schedule is at fault.
    #[error("schedule {number} (horizon {horizon}): {fault}")]
    Invalid {
        /// Counted from 1, as in the configuration file.
        number: usize,
        /// Its horizon.
        horizon: Span,
        /// What is wrong.
        fault: String,
    },
    /// The price interval is zero.
    #[error("the price interval is zero")]
    NoInterval,
    /// There is nothing to ask.
    #[error("there is no schedule: add a [[schedules]] section")]
    Empty,
}

/// A checked timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedules {
    schedules: Vec<Schedule>,
    interval: Span,
}

impl Schedules {
    /// Checks a timetable: no (asset, horizon) twice, steps that divide their horizon, everything on the price grid.
    pub fn new(schedules: Vec<Schedule>, interval: Span) -> Result<Self, ScheduleError> {
        if interval.is_zero() {
            return Err(ScheduleError::NoInterval);
        }
        if schedules.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let mut seen = Vec::new();
        for (i, schedule) in schedules.iter().enumerate() {
            let invalid = |fault| ScheduleError::Invalid { number: i + 1, horizon: schedule.horizon, fault };
            schedule.check(interval).map_err(invalid)?;
            for asset in &schedule.assets {
                if seen.contains(&(asset, schedule.horizon)) {
                    return Err(invalid(format!("{asset} is asked for this horizon twice")));
                }
                seen.push((asset, schedule.horizon));
            }
        }
        Ok(Schedules { schedules, interval })
    }

    /// The default game: 1 h in steps of 1 min every 12 min, 4 h in one step every 30 min, 24 h in steps of 5 min
    /// every hour.
    pub fn standard(assets: &[Asset]) -> Vec<Schedule> {
        let line = |horizon, step, every, phase| Schedule {
            assets: assets.to_vec(),
            horizon,
            steps: vec![step],
            every,
            phase,
            method: Method::Predict,
            target: Target::LogReturn,
        };
        vec![
            line(Span::hours(1), Span::minutes(1), Span::minutes(12), Span::ZERO),
            line(Span::hours(4), Span::hours(4), Span::minutes(30), Span::minutes(1)),
            line(Span::hours(24), Span::minutes(5), Span::hours(1), Span::minutes(2)),
        ]
    }

    /// The spacing of prices, and so of the instants at which a slot can lie.
    pub fn interval(&self) -> Span {
        self.interval
    }

    /// The schedules, in configuration order.
    pub fn iter(&self) -> impl Iterator<Item = &Schedule> {
        self.schedules.iter()
    }

    /// Every asset that is asked, in configuration order.
    pub fn assets(&self) -> Vec<Asset> {
        let mut assets = Vec::new();
        for asset in self.schedules.iter().flat_map(|schedule| &schedule.assets) {
            if !assets.contains(asset) {
                assets.push(asset.clone());
            }
        }
        assets
    }

    /// Every horizon that is asked, shortest first.
    pub fn horizons(&self) -> Vec<Span> {
        let mut horizons: Vec<Span> = self.schedules.iter().map(|schedule| schedule.horizon).collect();
        horizons.sort();
        horizons.dedup();
        horizons
    }

    /// The questions whose slot is exactly `at`, in configuration order.
    pub fn questions_at(&self, crunch: &CrunchId, at: Timestamp) -> Vec<Question> {
        let mut questions = Vec::new();
        for schedule in &self.schedules {
            for (i, asset) in schedule.assets.iter().enumerate() {
                if !schedule.is_slot(i, at, self.interval) {
                    continue;
                }
                questions.push(Question::new(
                    crunch,
                    asset.clone(),
                    schedule.horizon,
                    schedule.steps.clone(),
                    schedule.method,
                    schedule.target,
                    at,
                ));
            }
        }
        questions
    }

    /// True when a round of the timetable resolves exactly at `at`.
    pub fn resolves_any(&self, at: Timestamp) -> bool {
        self.schedules.iter().any(|schedule| {
            let slot = at - schedule.horizon;
            (0..schedule.assets.len()).any(|index| schedule.is_slot(index, slot, self.interval))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assets(names: &[&str]) -> Vec<Asset> {
        names.iter().map(|name| Asset::new(name).unwrap()).collect()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn standard() -> Schedules {
        Schedules::new(Schedules::standard(&assets(&["BTC", "ETH", "SOL", "XAU"])), Span::minutes(1)).unwrap()
    }

    #[test]
    fn slots_are_anchored_to_the_epoch_and_spread_over_the_interval() {
        let crunch = CrunchId::new("condor").unwrap();
        let schedules = standard();
        let asked = |text: &str| -> Vec<String> {
            let questions = schedules.questions_at(&crunch, at(text));
            questions.iter().map(|q| format!("{} {}", q.asset, q.horizon)).collect()
        };
        assert_eq!(asked("2025-05-20T00:00:00Z"), ["BTC 1h"]);
        assert_eq!(asked("2025-05-20T00:01:00Z"), ["BTC 4h"]);
        assert_eq!(asked("2025-05-20T00:02:00Z"), ["BTC 24h"]);
        assert_eq!(asked("2025-05-20T00:03:00Z"), ["ETH 1h"]);
        // floor(1 * 30 min / 4) is 7 min 30 s, on the price grid 7 min, plus the phase of 1 min.
        assert_eq!(asked("2025-05-20T00:08:00Z"), ["ETH 4h"]);
        assert_eq!(asked("2025-05-20T00:17:00Z"), ["ETH 24h"]);
        assert_eq!(asked("2025-05-20T00:00:30Z"), Vec::<String>::new());
    }

    #[test]
    fn the_default_game_asks_192_times_a_day_and_asset() {
        let crunch = CrunchId::new("condor").unwrap();
        let start = at("2025-05-20T00:00:00Z");
        let day =
            (0..1440).flat_map(|minute| standard().questions_at(&crunch, start + Span::minutes(minute)));
        let mut per_asset = std::collections::BTreeMap::<String, usize>::new();
        for question in day {
            *per_asset.entry(question.asset.to_string()).or_default() += 1;
        }
        assert_eq!(per_asset.into_values().collect::<Vec<_>>(), [192; 4]);
    }

    #[test]
    fn rounds_resolve_where_a_slot_lies_a_horizon_before() {
        let (crunch, schedules, start) =
            (CrunchId::new("condor").unwrap(), standard(), at("2025-05-20T00:00:00Z"));
        let minutes = |count: u32| (0..count).map(move |minute| start + Span::minutes(minute));
        let slots = minutes(2880).flat_map(|minute| schedules.questions_at(&crunch, minute));
        let resolved: std::collections::BTreeSet<Timestamp> =
            slots.map(|question| question.resolves_at()).collect();
        // From the longest horizon on nothing of before is left.
        for minute in minutes(2880).skip(1440) {
            assert_eq!(schedules.resolves_any(minute), resolved.contains(&minute), "{minute}");
        }
    }

    #[test]
    fn timetables_that_cannot_be_kept_are_refused_with_the_place() {
        let refused = |change: fn(&mut Vec<Schedule>)| {
            let mut schedules = Schedules::standard(&assets(&["BTC", "ETH"]));
            change(&mut schedules);
            Schedules::new(schedules, Span::minutes(1)).unwrap_err().to_string()
        };
        assert_eq!(
            refused(|s| s[1].horizon = Span::hours(1)),
            "schedule 2 (horizon 1h): step 4h does not divide the horizon 1h"
        );
        assert_eq!(
            refused(|s| s[2].steps[0] = Span::seconds(90)),
            "schedule 3 (horizon 24h): step 90s is no multiple of the price interval 1m"
        );
        assert_eq!(
            refused(|s| s[0].phase = Span::seconds(1)),
            "schedule 1 (horizon 1h): phase 1s is no multiple of the price interval 1m"
        );
        assert_eq!(
            refused(|s| s.push(s[0].clone())),
            "schedule 4 (horizon 1h): BTC is asked for this horizon twice"
        );
        assert!(refused(|s| s[0].assets.clear()).contains("no assets"));
        assert!(refused(|s| s.clear()).contains("[[schedules]]"));
    }
}
