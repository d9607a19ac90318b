//! A game on prices of every second, so that rounds resolve in seconds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{Clock, Span, SystemClock, Timestamp, TimestampExt};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, condor, condor_output, json_lines};

/// Seconds of prices before the test starts, and after.
const RECORDED_BEFORE: i64 = 600;
const RECORDED_AFTER: i64 = 1800;

/// A folder with prices and settings: two assets, each asked every two seconds for the next four, in steps of one.
pub struct Game {
    folder: TempDir,
    database: String,
}

impl Game {
    /// How long models have for an answer.
    pub const CALL_TIMEOUT: Span = Span::seconds(2);
    /// How long workers wait for one answer of the database.
    pub const ANSWER_TIMEOUT: Span = Span::seconds(5);
    /// The assets.
    pub const ASSETS: [&'static str; 2] = ["AAA", "BBB"];

    /// Writes the prices and the settings of a game on an empty, migrated database.
    pub fn new(folder: TempDir, database: &str, orchestrator_url: &str) -> Self {
        let game = Game { folder, database: database.to_owned() };
        std::fs::create_dir(game.prices()).unwrap();
        for (seed, asset) in Self::ASSETS.iter().enumerate() {
            std::fs::write(game.prices().join(format!("{asset}-1s.csv")), prices(seed as u64 + 1)).unwrap();
        }
        std::fs::write(game.config(), game.settings(orchestrator_url)).unwrap();
        condor_output(["db", "migrate", "--config", game.config_text()]);
        game
    }

    /// The settings file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("condor.toml")
    }

    /// The same as text.
    pub fn config_text(&self) -> &'static str {
        Box::leak(self.config().display().to_string().into_boxed_str())
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The predict worker's journal.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    /// The address of its database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Starts a worker.
    pub fn start(&self, worker: &str) -> Process {
        Process::start(worker, [worker, "--config", self.config_text()])
    }

    /// Starts a worker with settings that differ from the file's: the names of environment variables without `CONDOR_`.
    pub fn start_with(&self, worker: &str, settings: &[(&str, &str)]) -> Process {
        let mut command = condor([worker, "--config", self.config_text()]);
        command.envs(settings.iter().map(|(name, value)| (format!("CONDOR_{name}"), value)));
        Process::spawn(worker, command)
    }

    /// Rows as `condor db export` prints them.
    pub fn export(&self, what: &str) -> Vec<Value> {
        json_lines(&condor_output(["db", "export", what, "--json", "--config", self.config_text()]))
    }

    /// Scores what is due until nothing is left but rounds that resolve after the newest price.
    pub fn score_the_rest(&self) {
        crate::eventually("every closed round is scored", Duration::from_secs(60), || {
            self.score_once();
            let newest = self.newest_price_at();
            let is_due =
                |round: &Value| round["state"] == "closed" && instant(round, "resolves_at") <= newest;
            (!self.export("rounds").iter().any(is_due)).then_some(())
        });
    }

    /// Scores what is due, and ranks.
    pub fn score_once(&self) {
        condor_output(["score", "--once", "--config", self.config_text()]);
    }

    /// Each round on record by its asset and slot.
    pub fn rounds_by_slot(&self) -> BTreeMap<(String, Timestamp), Value> {
        let slot =
            |round: &Value| (round["asset"].as_str().unwrap().to_owned(), instant(round, "performed_at"));
        self.export("rounds").into_iter().map(|round| (slot(&round), round)).collect()
    }

    /// Between the first and the last slot on record each slot of each asset is there once.
    pub fn check_slots(&self, rounds: &[Value]) {
        for asset in Self::ASSETS {
            let of_asset = rounds.iter().filter(|round| round["asset"] == asset);
            let slots: Vec<i64> = of_asset.map(|round| instant(round, "performed_at").timestamp()).collect();
            let gaps: Vec<&[i64]> = slots.windows(2).filter(|pair| pair[1] - pair[0] != 2).collect();
            assert!(gaps.is_empty(), "{}: {asset}: slots are lost or doubled: {gaps:?}", self.database);
        }
    }

    /// The newest slot of an asset up to `at`: the assets are asked every two seconds, the second one a second after the first.
    pub fn slot_by(asset: &str, at: Timestamp) -> Timestamp {
        let phase = Span::seconds(if asset == Self::ASSETS[0] { 0 } else { 1 });
        (at - phase).floor_to(Span::seconds(2)) + phase
    }

    /// The instant of the newest price in the ledger.
    pub fn newest_price_at(&self) -> Timestamp {
        self.export("prices").iter().map(|price| instant(price, "at")).max().unwrap()
    }

    fn prices(&self) -> PathBuf {
        self.folder.path().join("prices")
    }

    fn settings(&self, orchestrator_url: &str) -> String {
        format!(
            r#"
            [database]
            url = "{database}"
            answer_timeout = "{patience}"
            [predict]
            journal = "{journal}"
            [orchestrator]
            url = "{orchestrator_url}"
            [models]
            call_timeout = "{timeout}"
            join_grace = "3s"
            [prices]
            interval = "1s"
            history = "2m"
            open_grace = "1s"
            [[prices.sources]]
            kind = "files"
            dir = "{prices}"
            [[schedules]]
            assets = ["AAA", "BBB"]
            horizon = "4s"
            steps = ["1s"]
            every = "2s"
            [scoring]
            settle_timeout = "5s"
            "#,
            database = self.database,
            patience = Self::ANSWER_TIMEOUT,
            journal = self.journal().display(),
            timeout = Self::CALL_TIMEOUT,
            prices = self.prices().display(),
        )
    }
}

/// The instant in a field of an exported row.
pub fn instant(row: &Value, field: &str) -> Timestamp {
    row[field].as_str().unwrap().parse().unwrap()
}

/// A random walk of seconds around now, from a multiplicative congruential generator (Park & Miller 1988).
fn prices(seed: u64) -> String {
    let start = SystemClock.now().floor_to(Span::seconds(1)).timestamp() - RECORDED_BEFORE;
    let mut state = seed;
    let mut price = 100.0 * seed as f64;
    let mut text = String::from("timestamp,price\n");
    for second in start..start + RECORDED_BEFORE + RECORDED_AFTER {
        state = state * 48_271 % 2_147_483_647;
        price *= 1.0 + (state as f64 / 2_147_483_647.0 - 0.5) * 1e-3;
        writeln!(text, "{second},{price:.6}").unwrap();
    }
    text
}
