//! SIGHUP: the configuration is read again while everything runs.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use domain::{Clock, SystemClock, Timestamp};
use e2e::{Database, Game, Process, condor_output, databases, eventually, instant, json_lines};
use protocol::cluster::ModelState;
use serde_json::Value;
use testkit::{Behaviour, FakeModel, FakeOrchestrator};

const WORKERS: [&str; 3] = ["predict", "score", "report"];
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn schedules_limits_and_weights_change_under_play_and_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for database in databases(folder.path(), "reload").await {
        let fleet = Fleet::start().await;
        runs.push(tokio::task::spawn_blocking(move || run(&database, &fleet)));
    }
    for run in runs {
        run.await.unwrap();
    }
}

/// A participant's model, and one that the orchestrator says is its own.
struct Fleet {
    orchestrator: FakeOrchestrator,
    _models: [FakeModel; 2],
}

impl Fleet {
    async fn start() -> Self {
        let density = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.001}}"#;
        let answer = format!("[{}]", [density; 4].join(", "));
        let orchestrator = FakeOrchestrator::start().await;
        let entry = FakeModel::start(Behaviour::answer(answer.as_str())).await;
        let house = FakeModel::start(Behaviour::answer(answer.as_str())).await;
        let announced = ModelState { baseline: true, ..house.running("house", "h1") };
        orchestrator.announce([entry.running("entry", "e1"), announced]);
        Fleet { orchestrator, _models: [entry, house] }
    }
}

fn run(database: &Database, fleet: &Fleet) {
    let url = fleet.orchestrator.url();
    let game = Game::new(tempfile::tempdir().unwrap(), &database.url, url.trim_end_matches("/condor"));
    let settings = std::fs::read_to_string(game.config()).unwrap();
    let workers = start(&game);
    eventually("rounds of both assets", SOON, || {
        Game::ASSETS.iter().all(|asset| closed(&game, asset).len() > 2).then_some(())
    });

    refuse(&game, &workers, &settings);
    let first_slot = change(&game, &workers, &settings);
    check_slots(&game, first_slot);
    check_record(&game, &workers);
    check_marks(&workers);

    for worker in workers {
        assert!(worker.terminate(Duration::from_secs(20)).success(), "{}", database.kind);
    }
    // What is not asked any more was priced until its last round had resolved.
    game.score_the_rest();
    let rounds = game.export("rounds");
    let left: Vec<&Value> =
        rounds.iter().filter(|round| round["asset"] == "BBB" && round["state"] == "closed").collect();
    assert!(left.is_empty(), "{}: {left:?}", database.kind);

    // The next start works with the same settings: nothing has changed.
    let again = game.start("score");
    std::thread::sleep(Duration::from_secs(1));
    assert!(again.terminate(Duration::from_secs(20)).success());
    assert_eq!(audit(&game).len(), CHANGED.len());
}

fn start(game: &Game) -> [Process; 3] {
    WORKERS.map(|worker| match worker {
        "report" => {
            Process::start(worker, ["report", "--listen", "127.0.0.1:0", "--config", game.config_text()])
        }
        worker => game.start(worker),
    })
}

/// A file that cannot be taken is refused by each worker in one line, and everything goes on as it was.
fn refuse(game: &Game, workers: &[Process], settings: &str) {
    let bad = settings
        .replace("every = \"2s\"", "every = \"2 seconds\"")
        .replace("[scoring]", "[scoring]\nleave_after = \"3d\"");
    std::fs::write(game.config(), bad).unwrap();
    let now = SystemClock.now();
    workers.iter().for_each(Process::hang_up);
    for worker in workers {
        let refusal = "the configuration is refused and nothing has changed: condor.toml: ";
        let line = line_with(worker, refusal);
        assert!(line.contains("2 seconds") && line.contains("schedules"), "the place: {line}");
        assert!(line.contains("90s, 15m") && line.contains("condor config check"), "the cure: {line}");
        assert_eq!(worker.log().iter().filter(|line| line.contains("SIGHUP")).count(), 1);
    }
    // The commands below read it too.
    std::fs::write(game.config(), settings).unwrap();
    eventually("slots after the refusal", SOON, || {
        Game::ASSETS.iter().all(|asset| closed(game, asset).iter().any(|slot| *slot > now)).then_some(())
    });
    assert_eq!(audit(game), [""; 0]);
}

/// What is on record after the change.
const CHANGED: [&str; 3] = ["models.max_consecutive_failures", "schedules", "scoring.asset_weights"];

/// AAA alone is asked, every three seconds; gives the first slot of the new timetable.
fn change(game: &Game, workers: &[Process], settings: &str) -> Timestamp {
    let changed = settings
        .replace("assets = [\"AAA\", \"BBB\"]", "assets = [\"AAA\"]")
        .replace("every = \"2s\"", "every = \"3s\"")
        .replace("[models]", "[models]\nmax_consecutive_failures = 3\nbase_class = \"other.Base\"")
        .replace("[scoring]", "[scoring]\noutlier_cap = 7.0\nasset_weights = { AAA = 2.0 }");
    std::fs::write(game.config(), changed).unwrap();
    workers.iter().for_each(Process::hang_up);
    let [predict, score, report] = workers else { panic!("three workers") };
    line_with(predict, "restart to apply: models.base_class worker=");
    line_with(score, "restart to apply: scoring.outlier_cap worker=");
    line_with(report, "scoring.asset_weights changes from {} to { AAA = 2.0 }");
    let in_force = line_with(predict, "the changed settings are in force from the slot of ");
    let slot = in_force.split("from the slot of ").nth(1).unwrap().split(" on").next().unwrap();
    slot.replace(" UTC", "Z").replacen(' ', "T", 1).parse().unwrap()
}

/// Up to the change each asset has every slot of the old timetable, and from then on every slot of the new one.
fn check_slots(game: &Game, first_slot: Timestamp) {
    let new_slots = || Vec::from_iter(closed(game, "AAA").into_iter().filter(|slot| *slot >= first_slot));
    let new =
        eventually("slots of the new timetable", SOON, || Some(new_slots()).filter(|slots| slots.len() > 3));
    let seconds = |slots: &[Timestamp]| Vec::from_iter(slots.iter().map(|slot| slot.timestamp()));
    let new = seconds(&new);
    assert!(new[0] < first_slot.timestamp() + 3, "from the next slot on: {new:?}");
    assert!(new.iter().all(|slot| slot % 3 == 0) && is_every(3, &new), "{new:?}");
    for (asset, phase) in [("AAA", 0), ("BBB", 1)] {
        let old = Vec::from_iter(closed(game, asset).into_iter().filter(|slot| *slot < first_slot));
        let old = seconds(&old);
        assert!(*old.last().unwrap() >= first_slot.timestamp() - 2, "no slot is lost: {old:?}");
        assert!(old.iter().all(|slot| slot % 2 == phase) && is_every(2, &old), "{asset}: {old:?}");
    }
    assert!(closed(game, "BBB").iter().all(|slot| *slot < first_slot), "not asked any more");
    let is_interrupted = |round: &Value| round["state"] == "interrupted" || round["timeout"] != 0;
    assert!(!game.export("rounds").iter().any(is_interrupted), "rounds in flight were closed");
}

fn is_every(seconds: i64, slots: &[i64]) -> bool {
    slots.windows(2).all(|pair| pair[1] - pair[0] == seconds)
}

/// Each change is on record once, although three workers were told: with who, when, from what and to what.
fn check_record(game: &Game, workers: &[Process]) {
    let lines =
        eventually("the record", SOON, || Some(audit(game)).filter(|lines| lines.len() >= CHANGED.len()));
    let keys: BTreeSet<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(lines.len() == CHANGED.len() && keys.iter().eq(&CHANGED), "{lines:?}");
    let has = |line: &str| assert!(lines.iter().any(|it| it == line), "{line}: {lines:?}");
    has("models.max_consecutive_failures SIGHUP (condor.toml): from 10 to 3");
    has("scoring.asset_weights SIGHUP (condor.toml): from {} to { AAA = 2.0 }");
    let schedules = lines.iter().find(|line| line.starts_with("schedules ")).unwrap();
    let (from, to) = schedules.split_once(" to ").unwrap();
    assert!(from.contains("BBB") && from.contains("\"2s\""), "{schedules}");
    assert!(!to.contains("BBB") && to.contains("\"3s\""), "{schedules}");

    let shown = get(&workers[2], "/api/v1/audit");
    let entries = shown["entries"].as_array().unwrap();
    assert_eq!(entries.len(), CHANGED.len());
    assert!(entries.iter().all(|entry| entry["action"] == "change_setting" && entry["at"].is_string()));
    assert_eq!(get(&workers[2], "/api/v1/status")["assets"], serde_json::json!(["AAA"]));
}

/// The orchestrator alone says which models are its own.
fn check_marks(workers: &[Process]) {
    for (model, is_marked) in [("house", true), ("entry", false)] {
        assert_eq!(get(&workers[2], &format!("/model/{model}/metrics"))["baseline"], is_marked);
    }
}

/// The slots of an asset that were asked and closed, in their order.
fn closed(game: &Game, asset: &str) -> Vec<Timestamp> {
    let rounds = game.export("rounds");
    let is_closed =
        |round: &&Value| round["asset"] == asset && round["state"] != "missed" && round["state"] != "asked";
    rounds.iter().filter(is_closed).map(|round| instant(round, "performed_at")).collect()
}

/// `KEY BY: REASON`
fn audit(game: &Game) -> Vec<String> {
    let entries = json_lines(&condor_output(["audit", "--json", "--config", game.config_text()]));
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    let line = |entry: &Value| {
        format!("{} {}: {}", text(entry, "subject"), text(entry, "by"), text(entry, "reason"))
    };
    entries.iter().map(line).collect()
}

fn line_with(worker: &Process, words: &str) -> String {
    eventually(words, SOON, || worker.log().into_iter().find(|line| line.contains(words)))
}

/// The JSON behind a path of the report worker.
fn get(report: &Process, path: &str) -> Value {
    let address = line_with(report, "listening on http://");
    let address = address.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    serde_json::from_str(body).unwrap()
}
