//! What operators change.

use domain::RoundState;

use super::TestDatabase;
use super::samples::*;
use crate::{Action, AuditEntry, BY_HAND, OutdatedRounds, Store, Unchanged};

async fn give(store: &dyn Store, at: u32, action: Action) -> Result<(), Unchanged> {
    store.carry_out(&order(at, action)).await.unwrap()
}

pub async fn a_round_voided_by_hand_is_judged_by_no_rule_until_it_is_rescored(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let asked = question(0);
    close_all(&*store, std::slice::from_ref(&asked)).await;
    store.store_scores(&scores(&asked, 0.5)).await.unwrap();

    give(&*store, 70, Action::VoidRound(asked.id)).await.unwrap();
    let round = store.round(asked.id).await.unwrap().unwrap();
    assert_eq!((round.state, round.rule.as_deref()), (RoundState::Void, Some(BY_HAND)));
    assert_eq!((round.reason.as_deref(), round.scored_at), (Some("by ann: reason 70"), Some(minute(70))));
    assert_eq!(store.export_scores(asked.id).await.unwrap(), []);
    let outdated = store.outdated_rounds("log_score/1", start(), minute(500)).await.unwrap();
    assert_eq!(outdated, OutdatedRounds::default());
    assert_eq!(outdated_at(&*store, "log_score/1", start(), minute(500), 9).await, []);
    store.store_scores(&scores(&asked, 0.5)).await.unwrap();
    store.void_round(asked.id, CRPS, UNPRICED, minute(80), "no prices").await.unwrap();
    assert_eq!(store.round(asked.id).await.unwrap(), Some(round));
    assert_eq!(give(&*store, 75, Action::VoidRound(asked.id)).await, Err(Unchanged::Already));

    store.defer_scoring(asked.id, minute(900)).await.unwrap();
    give(&*store, 90, Action::RescoreRound(asked.id)).await.unwrap();
    let round = store.round(asked.id).await.unwrap().unwrap();
    assert_eq!((round.state, round.reason, round.rule), (RoundState::Closed, None, None));
    assert_eq!(ready(&*store, minute(500), 9).await, std::slice::from_ref(&asked), "at once");
    store.store_scores(&scores(&asked, 0.5)).await.unwrap();
    give(&*store, 95, Action::RescoreRound(asked.id)).await.unwrap();
    assert_eq!(store.export_scores(asked.id).await.unwrap(), []);
    let changes = store.score_changes(crate::ChangeNumber(0), start(), CRPS, 9).await.unwrap();
    assert_eq!((changes.len(), changes[0].number.0, &changes[0].scored), (1, 5, &None));
}

pub async fn only_what_was_asked_and_is_kept_can_be_judged_by_hand(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (open, missed, pruned) = (question(0), question(1), question(2));
    store.mark_asked(std::slice::from_ref(&open), minute(0)).await.unwrap();
    store.record_missed(std::slice::from_ref(&missed), "starting", minute(1)).await.unwrap();
    close_all(&*store, std::slice::from_ref(&pruned)).await;
    database.execute("DELETE FROM predictions").await;
    for (id, why) in [
        (open.id, Unchanged::State(RoundState::Asked)),
        (missed.id, Unchanged::State(RoundState::Missed)),
        (question(9).id, Unchanged::Unknown),
    ] {
        assert_eq!(give(&*store, 5, Action::VoidRound(id)).await, Err(why.clone()));
        assert_eq!(give(&*store, 5, Action::RescoreRound(id)).await, Err(why));
    }
    let rescored = give(&*store, 5, Action::RescoreRound(pruned.id)).await;
    assert_eq!(rescored, Err(Unchanged::PredictionsGone));
}

pub async fn a_model_is_excluded_until_it_is_included(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.save_models(&["alpha", "beta"].map(model)).await.unwrap();
    let exclude = |name: &str| Action::ExcludeModel(model_id(name));
    let include = |name: &str| Action::IncludeModel(model_id(name));
    assert_eq!(give(&*store, 1, exclude("nobody")).await, Err(Unchanged::Unknown));
    assert_eq!(give(&*store, 1, include("alpha")).await, Err(Unchanged::Already));
    for action in [exclude("beta"), exclude("alpha"), include("beta"), exclude("beta"), include("beta")] {
        give(&*store, 2, action).await.unwrap();
    }
    assert_eq!(give(&*store, 3, exclude("alpha")).await, Err(Unchanged::Already));
    assert!(store.excluded_models().await.unwrap().into_iter().eq([model_id("alpha")]));
}

pub async fn a_pause_lasts_until_it_is_resumed(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    assert_eq!(store.pause().await.unwrap(), None);
    assert_eq!(give(&*store, 1, Action::Resume).await, Err(Unchanged::Already));
    give(&*store, 2, Action::Pause).await.unwrap();
    assert_eq!(give(&*store, 3, Action::Pause).await, Err(Unchanged::Already));
    let pause = store.pause().await.unwrap().unwrap();
    assert_eq!((pause.at, pause.by.as_str(), pause.reason.as_str()), (minute(2), "ann", "reason 2"));
    give(&*store, 4, Action::Resume).await.unwrap();
    assert_eq!(store.pause().await.unwrap(), None);
}

pub async fn what_operators_do_is_on_record_newest_first_and_what_changes_nothing_is_not(
    database: &impl TestDatabase,
) {
    let store = database.open_migrated().await;
    close_all(&*store, &[question(0)]).await;
    for (at, action) in
        [Action::Pause, Action::Pause, Action::VoidRound(question(0).id)].into_iter().enumerate()
    {
        let _ = give(&*store, at as u32, action).await;
    }
    let entry = |number, at, action: &str, subject: Option<String>| AuditEntry {
        number,
        at: minute(at),
        by: "ann".to_owned(),
        action: action.to_owned(),
        subject,
        reason: format!("reason {at}"),
    };
    let all = [entry(2, 2, "void_round", Some(question(0).id.to_string())), entry(1, 0, "pause", None)];
    assert_eq!(store.audit(9).await.unwrap(), all);
    assert_eq!(store.audit(1).await.unwrap(), all[..1]);
}
