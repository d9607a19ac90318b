//! Scores and leaderboard, computed once more from the rounds as they are stored.

use std::time::Duration;

use domain::{RoundId, Timestamp};
use serde_json::Value;
use storage::Store;
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;

use crate::{Game, condor_output, eventually, instant, json_lines};

/// A leaderboard is of a full minute.
const NEXT_MINUTE: Duration = Duration::from_secs(90);

/// The leaderboard, the windows and every score of the game are, to the bit, those of a database that got nothing but the
/// game's models, prices and rounds. No worker runs any more, and everything that is due is scored.
pub async fn check_afresh(game: &Game) {
    let leaderboard = eventually("a leaderboard with scores", NEXT_MINUTE, || {
        game.score_once();
        Some(game.export("leaderboard")).filter(|entries| !entries.is_empty())
    });
    let as_of = instant(&leaderboard[0], "as_of");
    let fresh = Fresh::copy(game, as_of).await;
    fresh.condor(&["score", "--once"]);
    let rounds = fresh.export("rounds");
    assert!(rounds.iter().all(|round| round["state"] == "scored"), "{rounds:?}");
    for what in ["leaderboard", "windows"] {
        assert_eq!(timeless(fresh.export(what)), timeless(game.export(what)), "{what} as of {as_of}");
    }
    let ids: Vec<&Value> = rounds.iter().map(|round| &round["round_id"]).collect();
    let mut stored = game.export("scores");
    stored.retain(|score| ids.contains(&&score["round_id"]));
    assert_eq!(timeless(fresh.export("scores")), timeless(stored));
    println!("{} rounds up to {as_of} computed afresh: the same leaderboard to the bit", rounds.len());
}

/// A database of its own with the rounds of a game, none of them scored.
struct Fresh<'a> {
    game: &'a Game,
    url: String,
}

impl<'a> Fresh<'a> {
    /// Of the rounds of `game` that have resolved by `as_of`.
    async fn copy(game: &'a Game, as_of: Timestamp) -> Self {
        let url = format!("sqlite://{}", game.folder().join("afresh.db").display());
        let from = open(game.database()).await;
        let to = open(&url).await;
        to.migrate().await.unwrap();
        to.save_models(&from.models().await.unwrap()).await.unwrap();
        to.append_prices(&from.ledger_since(Timestamp::UNIX_EPOCH).await.unwrap(), Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        for round in game.export("rounds") {
            if round["state"] == "scored" && instant(&round, "resolves_at") <= as_of {
                copy_round(from.as_ref(), to.as_ref(), round["round_id"].as_str().unwrap()).await;
            }
        }
        Fresh { game, url }
    }

    fn condor(&self, arguments: &[&str]) -> String {
        let settings = ["--config", self.game.config_text(), "--database", &self.url];
        condor_output([arguments, &settings].concat())
    }

    fn export(&self, what: &str) -> Vec<Value> {
        json_lines(&self.condor(&["db", "export", what, "--json"]))
    }
}

async fn copy_round(from: &dyn Store, to: &dyn Store, id: &str) {
    let id: RoundId = id.parse().unwrap();
    let round = from.round(id).await.unwrap().unwrap();
    let predictions = from.predictions(id).await.unwrap();
    to.close_round(&round.question, round.closed_at.unwrap(), &predictions).await.unwrap();
}

async fn open(url: &str) -> Box<dyn Store> {
    if url.starts_with("sqlite://") {
        Box::new(SqliteStore::open(url).await.unwrap())
    } else {
        Box::new(PostgresStore::open(url).await.unwrap())
    }
}

/// The rows as text, every digit of it, without the instant as of which they are.
fn timeless(mut rows: Vec<Value>) -> Vec<String> {
    rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| drop(row.remove("as_of")));
    rows.iter().map(Value::to_string).collect()
}
