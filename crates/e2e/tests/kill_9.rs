//! kill -9 of every worker at random moments: nothing that was stored is lost, doubled or half there, and every answer that
//! was complete 100 ms before a kill is stored.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Clock, Span, SystemClock, Timestamp, TimestampExt};
use e2e::{Database, Game, Process, databases, instant};
use serde_json::Value;
use testkit::{Answered, Behaviour, FakeModel, FakeOrchestrator};

const KILLS_OF_EACH: usize = 20;
const WORKERS: [&str; 3] = ["predict", "score", "report"];
const MODELS: [&str; 3] = ["one", "two", "three"];

/// Long enough that many a kill hits a round in flight.
const THINKING_TIME: Duration = Duration::from_millis(700);

/// An answer that was complete so long before a kill is not lost.
const JOURNALED_AFTER: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_again_and_again_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for database in databases(folder.path(), "kill_9").await {
        let fleet = Fleet::start().await;
        runs.push(tokio::task::spawn_blocking(move || run(&database, &fleet)));
    }
    for run in runs {
        run.await.unwrap();
    }
}

/// Models that think for a while, and who announces them.
struct Fleet {
    orchestrator: FakeOrchestrator,
    models: Vec<FakeModel>,
}

impl Fleet {
    async fn start() -> Self {
        let density = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.001}}"#;
        let answer = format!("[{}]", [density; 4].join(", "));
        let orchestrator = FakeOrchestrator::start().await;
        let mut models = Vec::new();
        for _ in MODELS {
            models.push(FakeModel::start(Behaviour::answer_late(THINKING_TIME, answer.as_str())).await);
        }
        orchestrator.announce(
            MODELS.iter().zip(&models).map(|(name, model)| model.running(name, &format!("start-of-{name}"))),
        );
        Fleet { orchestrator, models }
    }
}

fn run(database: &Database, fleet: &Fleet) {
    let url = fleet.orchestrator.url();
    let game = Game::new(tempfile::tempdir().unwrap(), &database.url, url.trim_end_matches("/condor"));

    let start = |worker: &str| match worker {
        "report" => {
            Process::start(worker, ["report", "--listen", "127.0.0.1:0", "--config", game.config_text()])
        }
        worker => game.start(worker),
    };
    let mut workers: Vec<Process> = WORKERS.iter().map(|worker| start(worker)).collect();
    let mut seen = Seen::default();
    let mut predict_killed_at = Vec::new();
    let mut random = 7_u64 + database.url.len() as u64;
    for kill in 0..KILLS_OF_EACH * WORKERS.len() {
        random = random * 48_271 % 2_147_483_647;
        std::thread::sleep(Duration::from_millis(500 + random % 1500));
        let victim = kill % WORKERS.len();
        if WORKERS[victim] == "predict" {
            predict_killed_at.push(SystemClock.now());
        }
        workers[victim].kill_9();
        workers[victim] = start(WORKERS[victim]);
        if kill % 10 == 9 {
            seen.look(&game);
        }
    }
    std::thread::sleep(Duration::from_secs(8));
    for worker in workers {
        assert!(worker.terminate(Duration::from_secs(20)).success(), "{}", database.kind);
    }
    game.score_the_rest();
    check(&game, &seen, database.kind);
    check_answers(&game, fleet, &predict_killed_at, database.kind);
}

/// Every answer to a worker that lived for 100 ms after it is stored.
fn check_answers(game: &Game, fleet: &Fleet, killed_at: &[Timestamp], kind: &str) {
    let ids: BTreeMap<(String, Timestamp), String> = game
        .export("rounds")
        .iter()
        .map(|round| ((text(round, "asset"), instant(round, "performed_at")), text(round, "round_id")))
        .collect();
    let is_success = |row: &&Value| row["status"] == "SUCCESS";
    let stored: BTreeSet<String> =
        game.export("predictions").iter().filter(is_success).map(prediction_key).collect();
    let mut checked = 0;
    for (name, model) in MODELS.iter().zip(&fleet.models) {
        let answers: Vec<Answered> =
            model.answered().into_iter().filter(|answered| answered.call.method == "predict").collect();
        for answered in answers.iter().filter(|answered| counts(answered, killed_at)) {
            let id = &ids[&(asset_of(answered), slot_of(answered))];
            assert!(
                stored.contains(&format!("{id}/{name}")),
                "{kind}: lost, killed at {killed_at:?}: {answered:?}"
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "{kind}: {checked} answers");
}

/// True for an answer in time, unless the worker was killed meanwhile or too soon after.
fn counts(answered: &Answered, killed_at: &[Timestamp]) -> bool {
    let was_killed =
        |killed: &Timestamp| answered.asked_at < *killed && answered.at + JOURNALED_AFTER > *killed;
    let deadline = slot_of(answered) + Game::CALL_TIMEOUT;
    answered.at + JOURNALED_AFTER < deadline && !killed_at.iter().any(was_killed)
}

fn asset_of(answered: &Answered) -> String {
    match &answered.call.arguments[0] {
        protocol::Value::String(asset) => asset.clone(),
        other => panic!("no asset: {other:?}"),
    }
}

/// The assets are asked every two seconds, the second one a second after the first.
fn slot_of(answered: &Answered) -> Timestamp {
    let phase = Span::seconds(if asset_of(answered) == Game::ASSETS[0] { 0 } else { 1 });
    (answered.asked_at - phase).floor_to(Span::seconds(2)) + phase
}

/// What was stored at some moment of the run.
#[derive(Default)]
struct Seen {
    scored: BTreeMap<String, Value>,
    predicted: BTreeSet<String>,
}

impl Seen {
    fn look(&mut self, game: &Game) {
        self.predicted.extend(game.export("predictions").iter().map(prediction_key));
        for score in game.export("scores") {
            self.scored.insert(prediction_key(&score), score);
        }
    }
}

fn check(game: &Game, seen: &Seen, kind: &str) {
    let (rounds, newest) = (game.export("rounds"), game.newest_price_at());
    let predictions = group_by_round(game.export("predictions"));
    let scores = group_by_round(game.export("scores"));
    let mut by_state = BTreeMap::<String, usize>::new();
    for round in &rounds {
        let (id, state) = (text(round, "round_id"), text(round, "state"));
        *by_state.entry(state.clone()).or_default() += 1;
        let (answers, scored) =
            (predictions.get(&id).map_or(0, Vec::len), scores.get(&id).map_or(0, Vec::len));
        match state.as_str() {
            "scored" => {
                // Fewer only where a kill came between them.
                assert!((1..=MODELS.len()).contains(&answers), "{kind}: a model has one outcome: {round}");
                assert_eq!(scored, answers, "{kind}: every outcome has one score: {round}");
                assert_eq!(round["success"], answers, "{kind}: no model is at fault here: {round}");
            }
            "interrupted" => {
                assert_eq!((answers, scored), (0, 0), "{kind}: never half-stored: {round}");
                assert!(round["closed_at"].is_string(), "{kind}: with the time: {round}");
            }
            "missed" => {
                assert_eq!((answers, scored), (0, 0), "{kind}: {round}");
                assert!(round["reason"].is_string(), "{kind}: with the reason: {round}");
            }
            "closed" => {
                assert!((1..=MODELS.len()).contains(&answers), "{kind}: {round}");
                assert!(instant(round, "resolves_at") > newest, "{kind}: its prices were there: {round}");
            }
            state => panic!("{kind}: no round ends as {state}: {round}"),
        }
    }
    println!("{kind}: {} rounds {by_state:?}", rounds.len());
    assert!(by_state["scored"] > 20, "{kind}: rounds went on between the kills: {by_state:?}");
    assert!(by_state.contains_key("interrupted"), "{kind}: a kill hit a round in flight: {by_state:?}");
    check_slots(&rounds, kind);
    let stored: BTreeSet<String> = predictions.values().flatten().map(prediction_key).collect();
    assert!(seen.predicted.is_subset(&stored), "{kind}: a stored prediction was lost");
    let last: BTreeMap<String, &Value> =
        scores.values().flatten().map(|score| (prediction_key(score), score)).collect();
    assert!(!seen.scored.is_empty());
    for (key, score) in &seen.scored {
        assert_eq!(last.get(key), Some(&score), "{kind}: a stored score was lost or changed");
    }
}

/// Between the first and the last slot on record each slot of each asset is there once.
fn check_slots(rounds: &[Value], kind: &str) {
    for asset in Game::ASSETS {
        let of_asset = rounds.iter().filter(|round| round["asset"] == asset);
        let slots: Vec<i64> = of_asset.map(|round| instant(round, "performed_at").timestamp()).collect();
        let gaps: Vec<&[i64]> = slots.windows(2).filter(|pair| pair[1] - pair[0] != 2).collect();
        assert!(gaps.is_empty(), "{kind}: {asset}: slots are lost or doubled: {gaps:?}");
    }
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap().to_owned()
}

fn prediction_key(row: &Value) -> String {
    format!("{}/{}", text(row, "round_id"), text(row, "model_id"))
}

fn group_by_round(rows: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut groups = BTreeMap::<String, Vec<Value>>::new();
    for row in rows {
        let key = prediction_key(&row);
        let group = groups.entry(text(&row, "round_id")).or_default();
        assert!(group.iter().all(|other| prediction_key(other) != key), "doubled: {key}");
        group.push(row);
    }
    groups
}
