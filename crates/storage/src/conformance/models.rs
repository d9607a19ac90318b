//! Participants' models.

use domain::{Cruncher, DeploymentId, Model, Span};

use super::TestDatabase;
use super::samples::*;
use crate::Deployment;

pub async fn models_are_replaced_and_keep_when_they_answered(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let (alpha, zeta) = (model("alpha"), model("Zeta"));
    store.save_models(&[alpha.clone(), zeta.clone()]).await.unwrap();
    assert_eq!(store.models().await.unwrap(), [zeta.clone(), alpha.clone()], "in the order of ids as bytes");

    close_all(&*store, &[question(0)]).await;
    let mut changed = alpha.clone();
    changed.deployment_id = DeploymentId::new("d-9").unwrap();
    changed.name = None;
    changed.cruncher = Cruncher { id: None, name: Some("somebody".to_owned()) };
    changed.joined_at = minute(3);
    changed.last_connected_at = minute(4);
    store.save_models(&[alpha, changed.clone()]).await.unwrap();
    assert_eq!(store.model(&changed.id).await.unwrap(), Some(changed), "of two the last is stored");
    assert_eq!(store.model(&model_id("nobody")).await.unwrap(), None);
    assert_eq!(store.counts(start()).await.unwrap().active_models, 1);
    assert_eq!(store.models().await.unwrap().len(), 2);
}

pub async fn every_deployment_of_a_model_stays_with_when_it_was_seen(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let seen = |deployment: &str, at| Model {
        deployment_id: DeploymentId::new(deployment).unwrap(),
        last_connected_at: minute(at),
        ..model("alpha")
    };
    let other = Model { last_connected_at: minute(7), ..model("beta") };
    // What is stored late or twice changes nothing; of two in one call both count.
    for models in
        [vec![seen("b", 3)], vec![seen("b", 4), seen("a", 6), other], vec![seen("b", 2)], vec![seen("b", 3)]]
    {
        store.save_models(&models).await.unwrap();
    }
    let of = async |model: &str| store.deployments(&model_id(model), None, 9).await.unwrap();
    let deployment = |id: &str, first, last| Deployment {
        id: DeploymentId::new(id).unwrap(),
        first_seen_at: minute(first),
        last_seen_at: minute(last),
    };
    assert_eq!(of("alpha").await, [deployment("a", 6, 6), deployment("b", 2, 4)]);
    assert_eq!(of("beta").await, [deployment("d-1", 7, 7)]);
    assert_eq!(of("nobody").await, []);
}

pub async fn deployments_are_listed_portion_by_portion(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let starts = [("a", 1), ("Z", 2), ("é", 2), ("z", 2), ("0", 3)];
    for (deployment, at) in starts {
        let deployment_id = DeploymentId::new(deployment).unwrap();
        let model = Model { deployment_id, last_connected_at: minute(at), ..model("alpha") };
        store.save_models(&[model]).await.unwrap();
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let portion = store.deployments(&model_id("alpha"), after.as_ref(), 2).await.unwrap();
        let Some(last) = portion.last() else { break };
        after = Some((last.first_seen_at, last.id.clone()));
        listed.extend(portion.into_iter().map(|deployment| deployment.id.to_string()));
    }
    assert_eq!(listed, ["0", "é", "z", "Z", "a"]);
}

pub async fn odd_names_of_models_survive(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    for (i, text) in odd_texts().into_iter().enumerate() {
        let mut odd = model(&format!("modèle '{i}\" %"));
        odd.name = Some(text.clone());
        odd.cruncher = Cruncher { id: Some(text.clone()), name: Some(text) };
        store.save_models(std::slice::from_ref(&odd)).await.unwrap();
        assert_eq!(store.model(&odd.id).await.unwrap(), Some(odd));
    }
    let mut with_nul = model("nul");
    with_nul.name = Some("a\0b".to_owned());
    store.save_models(std::slice::from_ref(&with_nul)).await.unwrap();
    assert_eq!(store.model(&with_nul.id).await.unwrap().unwrap().name.as_deref(), Some("a\u{fffd}b"));
}

pub async fn only_valid_answers_to_later_slots_move_the_last_answer(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    store.save_models(&["alpha", "beta", "delta", "gamma"].map(model)).await.unwrap();
    let active_since = async |at| store.counts(at).await.unwrap().active_models;
    assert_eq!(active_since(start()).await, 0);
    close_all(&*store, &[question(9)]).await;
    close_all(&*store, &[question(4)]).await;
    assert_eq!(active_since(start()).await, 1, "alpha alone gave a valid answer");
    assert_eq!(active_since(minute(9)).await, 1, "a round that is stored late does not turn back the time");
    assert_eq!(active_since(minute(9) + Span::seconds(1)).await, 0);
}

pub async fn a_model_is_a_baseline_for_as_long_as_it_is_announced_as_one(database: &impl TestDatabase) {
    let store = database.open_migrated().await;
    let baseline = Model { is_baseline: true, ..model("alpha") };
    for announced in [baseline.clone(), model("alpha"), baseline] {
        store.save_models(&[announced.clone(), model("beta")]).await.unwrap();
        assert_eq!(store.model(&announced.id).await.unwrap(), Some(announced.clone()));
        assert_eq!(store.models().await.unwrap(), [announced, model("beta")]);
    }
}
