//! Window scores, leaderboards and snapshots.

use domain::{
    Leaderboard, ModelStanding, Parameter, ParameterStanding, PerWindow, Span, Standings, WindowScore,
};

use super::TestDatabase;
use super::samples::*;
use crate::{ChangeNumber, ScoringChange};

/// Window scores full of odd numbers, and the ranking made from them.
pub(super) fn ranking(as_of: u32) -> (Leaderboard, Standings) {
    let windows = |number: f64| PerWindow {
        recent: WindowScore { score: Some(number), raw: None, predictions: 9, valid: 1, full: true },
        ..PerWindow::default()
    };
    let models = ODD_NUMBERS
        .iter()
        .enumerate()
        .map(|(i, number)| ModelStanding {
            model_id: model_id(&format!("modèle '{i}'")),
            first_scored_at: (i % 2 == 0).then_some(start()),
            windows: windows(*number),
            parameters: vec![ParameterStanding {
                parameter: Parameter { asset: asset("BTC"), horizon: Span::HOUR },
                windows: windows(*number),
            }],
        })
        .collect();
    let standings = Standings { as_of: minute(as_of), models };
    (domain::rank(&standings, "crps/1"), standings)
}

fn bits(standings: &Standings) -> Vec<Option<u64>> {
    standings.models.iter().map(|model| model.windows.recent.score.map(f64::to_bits)).collect()
}

pub async fn the_newest_leaderboard_is_that_of_the_latest_instant(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    assert_eq!(store.latest_leaderboard().await.unwrap(), None);
    assert_eq!(store.latest_standings().await.unwrap(), None);
    let (newer, newer_standings) = ranking(2);
    let (older, older_standings) = ranking(1);
    assert_eq!(store.ranked_up_to().await.unwrap(), ChangeNumber(0));
    store.save_leaderboard(&newer, &newer_standings, ChangeNumber(7), &lease).await.unwrap();
    store.save_leaderboard(&older, &older_standings, ChangeNumber(0), &lease).await.unwrap();
    assert_eq!(store.latest_leaderboard().await.unwrap(), Some(newer.clone()));
    assert_eq!(store.ranked_up_to().await.unwrap(), ChangeNumber(7));
    let stored = store.latest_standings().await.unwrap().unwrap();
    assert_eq!(stored, newer_standings);
    assert_eq!(bits(&stored), bits(&newer_standings));

    let (mut replaced, mut replaced_standings) = (newer, newer_standings);
    replaced.rule = "crps/2".to_owned();
    replaced_standings.models.truncate(1);
    store.save_leaderboard(&replaced, &replaced_standings, ChangeNumber(9), &lease).await.unwrap();
    assert_eq!(store.ranked_up_to().await.unwrap(), ChangeNumber(9));
    assert_eq!(store.latest_leaderboard().await.unwrap(), Some(replaced));
    assert_eq!(store.latest_standings().await.unwrap(), Some(replaced_standings));
}

pub async fn leaderboards_are_listed_oldest_first_the_newest_of_them(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    for as_of in [3, 1, 4, 2, 5] {
        let (leaderboard, standings) = ranking(as_of);
        store.save_leaderboard(&leaderboard, &standings, ChangeNumber(0), &lease).await.unwrap();
    }
    let listed = async |from, to, limit| -> Vec<_> {
        let all = store.leaderboards(minute(from), minute(to), limit).await.unwrap();
        all.iter().map(|leaderboard| leaderboard.as_of).collect()
    };
    assert_eq!(listed(2, 5, 9).await, [minute(2), minute(3), minute(4)]);
    assert_eq!(listed(0, 9, 2).await, [minute(4), minute(5)]);
    assert!(listed(6, 9, 2).await.is_empty());
    assert_eq!(store.leaderboards(minute(3), minute(4), 1).await.unwrap(), [ranking(3).0]);
}

pub async fn the_instants_of_leaderboards_are_listed_newest_first(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    for as_of in [3, 1, 4, 2, 5] {
        let (leaderboard, standings) = ranking(as_of);
        store.save_leaderboard(&leaderboard, &standings, ChangeNumber(0), &lease).await.unwrap();
    }
    let listed =
        async |from, to, limit| store.leaderboard_instants(minute(from), minute(to), limit).await.unwrap();
    assert_eq!(listed(2, 5, 9).await, [minute(4), minute(3), minute(2)]);
    assert_eq!(listed(0, 9, 2).await, [minute(5), minute(4)]);
    assert!(listed(6, 9, 2).await.is_empty());
}

pub async fn snapshots_are_kept_by_hour(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let lease = ranking_lease(&*store).await;
    assert_eq!(store.newest_snapshot_at().await.unwrap(), None);
    for as_of in [60, 180, 120] {
        store.save_snapshot(&ranking(as_of).1, &lease).await.unwrap();
    }
    let mut replaced = ranking(120).1;
    replaced.models.truncate(2);
    store.save_snapshot(&replaced, &lease).await.unwrap();
    assert_eq!(store.newest_snapshot_at().await.unwrap(), Some(minute(180)));
    let stored = store.snapshots(minute(60), minute(180)).await.unwrap();
    assert_eq!(stored, [ranking(60).1, replaced]);
    assert_eq!(bits(&stored[0]), bits(&ranking(60).1));
    assert_eq!(store.snapshots(minute(61), minute(120)).await.unwrap(), []);
}

pub async fn changes_of_scoring_are_recorded_in_order_and_a_repetition_is_none(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.scoring_changes().await.unwrap(), []);
    let first = scoring_change(5, CRPS, r#"{"outlier_cap":0.30000000000000004}"#);
    let back = scoring_change(3, CRPS, r#"{"outlier_cap":0.30000000000000004}"#);
    let all = [first.clone(), scoring_change(6, CRPS, "{}"), scoring_change(7, "crps/1;sum", "{}"), back];
    for change in &all {
        store.record_scoring_change(change).await.unwrap();
        store.record_scoring_change(&ScoringChange { at: minute(99), ..change.clone() }).await.unwrap();
    }
    assert_eq!(store.scoring_changes().await.unwrap(), all, "in the order of recording, whatever the clock");
    let line = serde_json::to_string(&first).unwrap();
    assert!(line.contains(r#""settings":{"outlier_cap":0.30000000000000004}"#), "{line}");
}
