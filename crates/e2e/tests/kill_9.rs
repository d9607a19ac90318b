//! kill -9 of every worker at random moments: nothing that was stored is lost, doubled or half there, every answer that
//! was complete 100 ms before a kill is stored, and the leaderboard is the one that the stored rounds give.
//!
//! `cargo xtask soak kills` runs it with many kills and models; by itself it is small.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Clock, SystemClock};
use e2e::{
    BusyDisk, Crowd, Database, Game, Process, Random, check_afresh, check_answers, databases, instant,
    prediction_key, setting,
};
use serde_json::Value;

const WORKERS: [&str; 3] = ["predict", "score", "report"];

/// How large the test is.
#[derive(Clone, Copy)]
struct Scale {
    kills: usize,
    models: usize,
    /// The longest pause between two kills; the shortest is half a second.
    pause: Duration,
}

impl Scale {
    /// As the environment says, or small.
    fn of_this_run() -> Self {
        Scale {
            kills: setting("E2E_KILLS", 30),
            models: setting("E2E_MODELS", 10),
            pause: Duration::from_millis(setting("E2E_LONGEST_PAUSE_MS", 2000)),
        }
    }

    /// True for more models than a machine may have time for: some are asked so late then that they time out.
    fn may_overload(self) -> bool {
        self.models > 20
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_again_and_again_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let scale = Scale::of_this_run();
    for database in databases(folder.path(), "kill_9").await {
        let crowd = Crowd::start(scale.models).await;
        let game = tokio::task::spawn_blocking(move || play(&database, &crowd, scale)).await.unwrap();
        check_afresh(&game).await;
    }
}

/// Kills workers while they work, then checks what they have left behind.
fn play(database: &Database, crowd: &Crowd, scale: Scale) -> Game {
    let game = Game::new(tempfile::tempdir().unwrap(), &database.url, &crowd.orchestrator_url());
    let start = |worker: &str| match worker {
        "report" => {
            Process::start(worker, ["report", "--listen", "127.0.0.1:0", "--config", game.config_text()])
        }
        worker => game.start(worker),
    };
    let _busy_disk = setting("E2E_BUSY_DISK", false).then(|| BusyDisk::start(game.folder()));
    let mut workers: Vec<Process> = WORKERS.iter().map(|worker| start(worker)).collect();
    let mut seen = Seen::default();
    let mut predict_kills = Vec::new();
    let mut random = Random::of(database.kind);
    for kill in 0..scale.kills {
        std::thread::sleep(random.duration(Duration::from_millis(500), scale.pause));
        for worker in &mut workers {
            worker.check_runs();
        }
        let victim = random.below(WORKERS.len());
        let before = SystemClock.now();
        workers[victim].kill_9();
        if WORKERS[victim] == "predict" {
            predict_kills.push(before..SystemClock.now());
        }
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
    check(&game, &seen, scale, database.kind);
    let answers = check_answers(&game, crowd, &predict_kills);
    assert!(answers > 50, "{}: {answers}", database.kind);
    game
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

fn check(game: &Game, seen: &Seen, scale: Scale, kind: &str) {
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
                assert!((1..=scale.models).contains(&answers), "{kind}: a model has one outcome: {round}");
                assert_eq!(scored, answers, "{kind}: every outcome has one score: {round}");
                let is_sound =
                    if scale.may_overload() { round["failed"] == 0 } else { round["success"] == answers };
                assert!(is_sound, "{kind}: no model is at fault here: {round}");
            }
            // On a machine that is too busy for its models.
            "void" if scale.may_overload() => {
                assert_eq!((&round["success"], scored), (&0.into(), 0), "{kind}: {round}");
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
                assert!((1..=scale.models).contains(&answers), "{kind}: {round}");
                assert!(instant(round, "resolves_at") > newest, "{kind}: its prices were there: {round}");
            }
            state => panic!("{kind}: no round ends as {state}: {round}"),
        }
    }
    println!("{kind}: {} rounds {by_state:?}", rounds.len());
    assert!(by_state["scored"] > 10, "{kind}: rounds went on between the kills: {by_state:?}");
    assert!(by_state.contains_key("interrupted"), "{kind}: a kill hit a round in flight: {by_state:?}");
    game.check_slots(&rounds);
    let stored: BTreeSet<String> = predictions.values().flatten().map(prediction_key).collect();
    assert!(seen.predicted.is_subset(&stored), "{kind}: a stored prediction was lost");
    let last: BTreeMap<String, &Value> =
        scores.values().flatten().map(|score| (prediction_key(score), score)).collect();
    assert!(!seen.scored.is_empty());
    for (key, score) in &seen.scored {
        assert_eq!(last.get(key), Some(&score), "{kind}: a stored score was lost or changed");
    }
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap().to_owned()
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
