//! How who only reads learns of changes.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{ModelStanding, PerWindow, RoundState, Span, Standings, rank};

use super::TestDatabase;
use super::samples::*;
use crate::{Action, ChangeNumber, ChangeWatch, HolderId, LeaseName, Store, Topic};

/// More than any database takes to tell, on any machine.
const SOON: Duration = Duration::from_secs(20);

async fn changed(watch: &mut dyn ChangeWatch) -> BTreeSet<Topic> {
    tokio::time::timeout(SOON, watch.changed()).await.expect("nothing is told").unwrap()
}

pub async fn who_watches_is_told_what_others_commit(database: &impl TestDatabase) {
    let writer = database.open_migrated().await;
    let reader = database.open_for_report().await;
    let mut watch = reader.watch();
    assert_eq!(changed(&mut *watch).await, Topic::ALL.into(), "at first anything may be new");

    writer.save_models(&[model("alpha"), model("beta")]).await.unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Models));
    writer.mark_asked(&[question(0)], minute(0)).await.unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Rounds));
    writer.close_round(&question(0), minute(1), &outcomes()).await.unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Rounds));
    writer.store_scores(&scores(&question(0), 0.5)).await.unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Scores));
    writer.void_round(question(0).id, "other/1", UNPRICED, minute(90), "no prices").await.unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Scores));
    writer.record_missed(&[question(12)], "starting", minute(12)).await.unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Rounds));
    save_leaderboard(&*writer).await;
    assert!(changed(&mut *watch).await.contains(&Topic::Leaderboard));
    writer.carry_out(&order(5, Action::Pause)).await.unwrap().unwrap();
    assert!(changed(&mut *watch).await.contains(&Topic::Audit));
}

async fn save_leaderboard(store: &dyn Store) {
    let standing = ModelStanding {
        model_id: model_id("alpha"),
        first_scored_at: None,
        windows: PerWindow::default(),
        parameters: Vec::new(),
    };
    let standings = Standings { as_of: minute(60), models: vec![standing] };
    let hold = hold(&HolderId::random(), minute(60), Span::HOUR);
    let lease = store.take_lease(LeaseName::Ranking, &hold).await.unwrap().unwrap();
    store.save_leaderboard(&rank(&standings, "crps/1"), &standings, ChangeNumber(1), &lease).await.unwrap();
}

pub async fn the_newest_rounds_and_those_judged_since_are_listed(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let reader = database.open_for_report().await;
    assert!(reader.newest_rounds(5).await.unwrap().is_empty());
    assert_eq!(reader.last_change().await.unwrap(), ChangeNumber(0));
    let questions = [question(0), question(12), question(24)];
    for question in &questions {
        store.close_round(question, minute(30), &outcomes()).await.unwrap();
    }
    let newest = reader.newest_rounds(2).await.unwrap();
    let ids: Vec<_> = newest.iter().map(|round| round.question.id).collect();
    assert_eq!(ids, [questions[2].id, questions[1].id]);

    store.store_scores(&scores(&questions[1], 0.5)).await.unwrap();
    store.store_scores(&scores(&questions[0], 0.5)).await.unwrap();
    let judged = reader.judged_rounds(ChangeNumber(0), 10).await.unwrap();
    let ids: Vec<_> = judged.iter().map(|(_, round)| (round.question.id, round.state)).collect();
    assert_eq!(ids, [(questions[1].id, RoundState::Scored), (questions[0].id, RoundState::Scored)]);
    let last = reader.last_change().await.unwrap();
    assert_eq!(judged[1].0, last);
    assert_eq!(reader.judged_rounds(ChangeNumber(0), 1).await.unwrap(), judged[..1]);
    assert_eq!(reader.judged_rounds(judged[0].0, 10).await.unwrap(), judged[1..]);
    assert!(reader.judged_rounds(last, 10).await.unwrap().is_empty());
}
