//! The leaderboard.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::round::words;
use crate::{ModelId, ModelStanding, PerWindow, Standings, Timestamp, Window, WindowScore};

/// By what a model is ranked: the longest window that it has filled. Better groups come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RankingGroup {
    /// By a full anchor window.
    Anchor,
    /// By a full steady window.
    Steady,
    /// By a full recent window.
    Recent,
    /// By a recent window that is not full yet.
    Provisional,
    /// No number, no rank.
    Unranked,
}
words!(RankingGroup, "ranking group", {
    Anchor => "anchor", Steady => "steady", Recent => "recent", Provisional => "provisional", Unranked => "unranked",
});

/// One model's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardEntry {
    /// From 1; `None` for models without a number.
    pub rank: Option<u32>,
    /// By what it is ranked.
    pub group: RankingGroup,
    /// Who.
    pub model_id: ModelId,
    /// When its first scored round since it joined, or came back, resolved.
    pub first_scored_at: Option<Timestamp>,
    /// Its means over all parameters.
    pub windows: PerWindow<WindowScore>,
}

/// Rounds that are being scored again because the rule has changed: until it is done windows lack them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescoring {
    /// How many of the longest window are left.
    pub rounds_left: u64,
}

/// The ranking of all models as of one instant, best first, models without a number last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leaderboard {
    /// Rounds resolved up to here count.
    pub as_of: Timestamp,
    /// The rule in force: the stamp of the scores, such as `crps/1`.
    pub rule: String,
    /// What is not scored by this rule yet; `None` when everything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescoring: Option<Rescoring>,
    /// Models that an operator has excluded: they take no part in the ranking.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub excluded: BTreeSet<ModelId>,
    /// Best first.
    pub entries: Vec<LeaderboardEntry>,
}

/// Ranks models: anchor full, by anchor; else steady full, by steady; else recent full, by recent; else by provisional
/// recent. Exact ties by the earlier first scored round, then by id as bytes.
pub fn rank(standings: &Standings, rule: &str) -> Leaderboard {
    let mut entries: Vec<(Option<f64>, LeaderboardEntry)> = standings
        .models
        .iter()
        .map(|model| {
            let (group, score) = group_of(model);
            let entry = LeaderboardEntry {
                rank: None,
                group,
                model_id: model.model_id.clone(),
                first_scored_at: model.first_scored_at,
                windows: model.windows,
            };
            (score, entry)
        })
        .collect();
    entries.sort_by(|(a_score, a), (b_score, b)| {
        a.group.cmp(&b.group).then_with(|| best_first(*a_score, *b_score)).then_with(|| break_tie(a, b))
    });
    let mut entries: Vec<LeaderboardEntry> = entries.into_iter().map(|(_, entry)| entry).collect();
    for (i, entry) in entries.iter_mut().enumerate() {
        entry.rank = (entry.group != RankingGroup::Unranked).then_some(i as u32 + 1);
    }
    Leaderboard {
        as_of: standings.as_of,
        rule: rule.to_owned(),
        rescoring: None,
        excluded: BTreeSet::new(),
        entries,
    }
}

/// The models with a number in `window`, ranked by it alone: full ones first, then provisional.
pub fn rank_by_window(leaderboard: &Leaderboard, window: Window) -> Vec<&LeaderboardEntry> {
    let mut entries: Vec<&LeaderboardEntry> =
        leaderboard.entries.iter().filter(|entry| entry.windows.get(window).score.is_some()).collect();
    entries.sort_by(|a, b| {
        let (a_window, b_window) = (a.windows.get(window), b.windows.get(window));
        b_window
            .full
            .cmp(&a_window.full)
            .then_with(|| best_first(a_window.score, b_window.score))
            .then_with(|| break_tie(a, b))
    });
    entries
}

fn group_of(model: &ModelStanding) -> (RankingGroup, Option<f64>) {
    let full = [
        (RankingGroup::Anchor, model.windows.anchor),
        (RankingGroup::Steady, model.windows.steady),
        (RankingGroup::Recent, model.windows.recent),
    ];
    for (group, window) in full {
        if window.full && window.score.is_some() {
            return (group, window.score);
        }
    }
    match model.windows.recent.score {
        Some(score) => (RankingGroup::Provisional, Some(score)),
        None => (RankingGroup::Unranked, None),
    }
}

fn best_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    let value = |score: Option<f64>| score.unwrap_or(f64::NEG_INFINITY);
    value(b).total_cmp(&value(a))
}

fn break_tie(a: &LeaderboardEntry, b: &LeaderboardEntry) -> Ordering {
    let first = |entry: &LeaderboardEntry| entry.first_scored_at.unwrap_or(Timestamp::MAX_UTC);
    first(a).cmp(&first(b)).then_with(|| a.model_id.as_str().as_bytes().cmp(b.model_id.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn window(score: Option<f64>, full: bool) -> WindowScore {
        WindowScore { score, full, ..WindowScore::default() }
    }

    fn model(
        name: &str,
        recent: WindowScore,
        steady: WindowScore,
        anchor: WindowScore,
        hour: u32,
    ) -> ModelStanding {
        let start: Timestamp = "2025-05-20T00:00:00Z".parse().unwrap();
        ModelStanding {
            model_id: ModelId::new(name).unwrap(),
            first_scored_at: Some(start + Span::hours(hour)),
            windows: PerWindow { recent, steady, anchor },
            parameters: Vec::new(),
        }
    }

    fn standings() -> Standings {
        let none = window(None, false);
        let models = vec![
            model("new-best", window(Some(0.99), false), none, none, 9),
            model("dead", window(None, true), window(None, true), window(None, true), 0),
            model("anchor-low", window(Some(0.9), true), window(Some(0.9), true), window(Some(0.1), true), 0),
            model(
                "anchor-high",
                window(Some(0.2), true),
                window(Some(0.2), true),
                window(Some(0.2), true),
                0,
            ),
            model("steady", window(Some(0.5), true), window(Some(0.8), true), window(Some(0.8), false), 0),
            model("tie-b", window(Some(0.0), true), window(Some(0.5), false), none, 1),
            model("tie-a", window(Some(0.0), true), window(Some(0.5), false), none, 1),
            model("tie-first", window(Some(0.0), true), window(Some(0.5), false), none, 0),
        ];
        Standings { as_of: "2025-05-29T00:00:00Z".parse().unwrap(), models }
    }

    #[test]
    fn models_are_ranked_in_groups_and_ties_broken_in_order() {
        let leaderboard = rank(&standings(), "crps/1");
        let order: Vec<(Option<u32>, &str)> =
            leaderboard.entries.iter().map(|entry| (entry.rank, entry.model_id.as_str())).collect();
        let expected = [
            (Some(1), "anchor-high"),
            (Some(2), "anchor-low"),
            (Some(3), "steady"),
            (Some(4), "tie-first"),
            (Some(5), "tie-a"),
            (Some(6), "tie-b"),
            (Some(7), "new-best"),
            (None, "dead"),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn one_window_ranks_full_ones_first_and_leaves_out_models_without_a_number() {
        let leaderboard = rank(&standings(), "crps/1");
        let order: Vec<&str> = rank_by_window(&leaderboard, Window::Recent)
            .iter()
            .map(|entry| entry.model_id.as_str())
            .collect();
        let expected = ["anchor-low", "steady", "anchor-high", "tie-first", "tie-a", "tie-b", "new-best"];
        assert_eq!(order, expected);
    }
}
