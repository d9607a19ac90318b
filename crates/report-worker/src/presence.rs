//! Whether a model is there.

use domain::{Model, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// That a model is connected is stored once an hour, and when it goes.
const SEEN_WITHIN: Span = Span::hours(2);

/// Whether a model is there, as far as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// It was seen connected within the last two hours.
    Running,
    /// It was not, and counts as absent.
    Stopped,
    /// It was not for so long that it has left the field.
    Left,
}

impl Presence {
    /// As words.
    pub(crate) const WORDS: [&str; 3] = ["running", "stopped", "left"];

    /// That of a model at `now`, where models leave after `leave_after` unconnected.
    pub(crate) fn of(model: &Model, now: Timestamp, leave_after: Span) -> Self {
        match (model.is_in_field(now, SEEN_WITHIN), model.is_in_field(now, leave_after)) {
            (true, _) => Presence::Running,
            (false, true) => Presence::Stopped,
            (false, false) => Presence::Left,
        }
    }

    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        Presence::WORDS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use domain::{Cruncher, DeploymentId, ModelId};

    use super::*;

    #[test]
    fn a_model_runs_while_it_was_seen_lately_and_leaves_when_it_was_not_for_long() {
        let seen: Timestamp = "2025-05-29T00:00:00Z".parse().unwrap();
        let model = Model {
            id: ModelId::new("a").unwrap(),
            deployment_id: DeploymentId::new("d").unwrap(),
            name: None,
            cruncher: Cruncher::default(),
            joined_at: seen,
            last_connected_at: seen,
            is_baseline: false,
        };
        let after = |minutes, leave_after| Presence::of(&model, seen + Span::minutes(minutes), leave_after);
        let day = Span::days(1);
        assert_eq!([0, 119].map(|minutes| after(minutes, day)), [Presence::Running; 2]);
        assert_eq!([120, 1439].map(|minutes| after(minutes, day)), [Presence::Stopped; 2]);
        assert_eq!(after(1440, day), Presence::Left);
        assert_eq!(after(119, Span::minutes(5)), Presence::Running, "it may be seen an hour ago and run");
        let words = [Presence::Running, Presence::Stopped, Presence::Left].map(Presence::as_str);
        assert_eq!(words, Presence::WORDS);
    }
}
