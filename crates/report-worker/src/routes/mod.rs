//! One file per resource.

pub(crate) mod audit;
pub(crate) mod health;
pub(crate) mod leaderboard;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod ranking;
pub(crate) mod statistics;
pub(crate) mod status;

use domain::{Span, WindowScore};

/// The share of scored predictions that were valid answers, 0 to 1; `None` without any.
fn success_rate(window: &WindowScore) -> Option<f64> {
    (window.predictions > 0).then(|| window.valid as f64 / window.predictions as f64)
}

/// A horizon as a key: in whole hours, else in whole minutes, else in seconds.
fn horizon_key(horizon: Span) -> String {
    let seconds = horizon.as_secs();
    let units = [(3600, 'h'), (60, 'm')];
    let (size, unit) = units.into_iter().find(|&(size, _)| seconds.is_multiple_of(size)).unwrap_or((1, 's'));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_named_in_whole_hours_else_minutes() {
        let spans = [Span::hours(1), Span::hours(24), Span::hours(48), Span::minutes(90), Span::seconds(90)];
        assert_eq!(spans.map(horizon_key), ["1h", "24h", "48h", "90m", "90s"]);
    }
}
