//! A game that is played for a while, and what was put on record of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use domain::{Span, Timestamp, TimestampExt};
use e2e::{Game, Memory, Process, eventually, instant};
use serde_json::Value;
use testkit::FakeOrchestrator;

/// The time between two slots of an asset.
pub const SLOT: Span = Span::seconds(2);

/// A round closes at its deadline, and then only answers that have come are checked and the line is logged: milliseconds. The
/// rest is for a machine with other things to do, and less than what waiting for any of the faults would take.
const LATEST_LINE: Span = Span::seconds(1);

const MEBIBYTE: u64 = 1 << 20;

/// The predict worker at play.
pub struct Play {
    game: Game,
    predict: Process,
}

impl Play {
    /// Starts with settings that differ from the game's; see [`Game::start_with`].
    pub fn start(database: &str, orchestrator: &FakeOrchestrator, settings: &[(&str, &str)]) -> Self {
        let game = Game::new(tempfile::tempdir().unwrap(), database, &orchestrator.url());
        let predict = game.start_with("predict", settings);
        Play { game, predict }
    }

    /// Waits until so many slots of both assets were closed, and gives the memory at that time.
    pub fn until_closed(&mut self, slots: usize) -> Memory {
        let patience = Duration::from_secs(30) + SLOT.as_duration() * slots as u32;
        eventually(&format!("{slots} slots are closed"), patience, || {
            self.predict.check_runs();
            let log = self.predict.log();
            let closed =
                |asset: &str| log.iter().filter(|line| line.contains(&format!("closed {asset}"))).count();
            Game::ASSETS.iter().all(|asset| closed(asset) >= slots).then_some(())
        });
        self.predict.memory()
    }

    /// The memory now.
    pub fn memory(&self) -> Memory {
        self.predict.memory()
    }

    /// Ends it and reads what it has stored.
    pub fn finish(self) -> Record {
        let log = self.predict.finish(Duration::from_secs(20));
        let mut predictions = HashMap::<String, BTreeMap<String, Value>>::new();
        for prediction in self.game.export("predictions") {
            let (round, model) = (text(&prediction, "round_id"), text(&prediction, "model_id"));
            predictions.entry(round).or_default().insert(model, prediction);
        }
        let asked = self.game.export("rounds").into_iter().skip_while(is_from_before_the_start);
        let rounds = asked.map(|row| Round {
            slot: instant(&row, "performed_at"),
            predictions: predictions.remove(&text(&row, "round_id")).unwrap_or_default(),
            row,
        });
        Record { rounds: rounds.collect(), log }
    }
}

fn is_from_before_the_start(round: &Value) -> bool {
    round["state"] == "missed" && text(round, "reason").starts_with("starting")
}

fn text(row: &Value, field: &str) -> String {
    row[field].as_str().unwrap_or_default().to_owned()
}

/// What was put on record.
pub struct Record {
    /// From the first that was asked, in the order of their slots.
    pub rounds: Vec<Round>,
    log: Vec<String>,
}

/// A round with its outcomes by model.
pub struct Round {
    pub slot: Timestamp,
    predictions: BTreeMap<String, Value>,
    row: Value,
}

impl Round {
    /// The outcome of a model.
    pub fn outcome(&self, model: &str) -> &Value {
        self.predictions.get(model).unwrap_or_else(|| panic!("no outcome of {model} in {}", self.row))
    }

    /// Status and reason of a model.
    pub fn status(&self, model: &str) -> (&str, &str) {
        let outcome = self.outcome(model);
        (outcome["status"].as_str().unwrap(), outcome["reason"].as_str().unwrap_or_default())
    }

    pub fn is_success(&self, model: &str) -> bool {
        self.outcome(model)["status"] == "SUCCESS"
    }

    fn deadline(&self) -> Timestamp {
        self.slot + Game::CALL_TIMEOUT
    }
}

impl Record {
    /// Each slot of each asset was asked and closed in time.
    pub fn check_no_round_is_late(&self, at_least: usize) {
        assert!(self.rounds.len() >= at_least, "only {} rounds were asked", self.rounds.len());
        for round in &self.rounds {
            assert_eq!(round.row["state"], "closed", "{}", round.row);
            // The stored time never is past the deadline: what the log says is when it really was.
            let late = self.closed_line_at(round).since(round.deadline());
            assert!(late < LATEST_LINE.as_duration(), "closed {late:?} after its deadline: {}", round.row);
        }
        for asset in Game::ASSETS {
            let slots: Vec<Timestamp> =
                self.rounds.iter().filter(|round| round.row["asset"] == asset).map(|it| it.slot).collect();
            assert!(slots.windows(2).all(|pair| pair[0] + SLOT == pair[1]), "{asset}: {slots:?}");
        }
    }

    /// These models' answers were there in time, in every round.
    pub fn check_success_of<'a>(&self, models: impl IntoIterator<Item = &'a String> + Clone) {
        for round in &self.rounds {
            for model in models.clone() {
                let outcome = round.outcome(model);
                assert!(round.is_success(model), "{outcome} in {}", round.row);
                assert!(instant(outcome, "received_at") < round.deadline(), "{outcome} in {}", round.row);
            }
        }
    }

    /// The lines that hold all of these texts.
    pub fn lines(&self, texts: &[&str]) -> Vec<&String> {
        self.log.iter().filter(|line| texts.iter().all(|text| line.contains(text))).collect()
    }

    /// The log tells this of the model, at least as a warning.
    pub fn check_logged(&self, model: &str, what: &str) {
        let field = format!("model={model} ");
        assert!(!self.lines(&["WARN", &field, what]).is_empty(), "the log does not tell of {model}: {what}");
    }

    fn closed_line_at(&self, round: &Round) -> Timestamp {
        let line = self.lines(&["closed ", &format!("round={}", text(&round.row, "round_id"))]);
        line[0].split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Memory did not grow by more than `mebibytes` since it was measured first, not even for a while.
pub fn check_flat(first: Memory, last: Memory, mebibytes: u64) {
    println!("memory: {first:?} → {last:?}");
    for bytes in [last.resident, last.peak] {
        assert!(bytes <= first.resident + mebibytes * MEBIBYTE, "it has grown: {first:?} → {last:?}");
    }
}
