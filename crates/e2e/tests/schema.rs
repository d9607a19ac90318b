//! A database of another version is refused with the command that helps, at the start and when it changes under a worker.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::time::Duration;

use e2e::{Database, Game, Process, condor, databases, eventually};
use sqlx::{Connection, PgConnection, SqliteConnection};
use testkit::FakeOrchestrator;

const WORKERS: [&str; 2] = ["predict", "score"];
const SOON: Duration = Duration::from_secs(60);

/// As a newer program leaves it.
const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
     SELECT 99999, 'from the future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
const AS_IT_WAS: &str = "DELETE FROM _sqlx_migrations WHERE version = 99999";
/// As an older program leaves it.
const OLDER: &str =
    "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";

#[tokio::test(flavor = "multi_thread")]
async fn workers_refuse_a_database_of_another_version_and_end_when_theirs_becomes_one() {
    let folder = tempfile::tempdir().unwrap();
    let orchestrator = FakeOrchestrator::start().await;
    for database in databases(folder.path(), "schema").await {
        let game = Game::new(tempfile::tempdir().unwrap(), &database.url, &orchestrator.url());
        let workers = WORKERS.map(|worker| game.start(worker));
        for (worker, words) in workers.iter().zip(["asking", "this score worker writes"]) {
            said(worker, words);
        }
        execute(&database, NEWER).await;
        for worker in workers {
            let line = said(&worker, "the database was changed under this worker");
            assert!(line.ends_with("run a newer condor"), "{line}");
            assert!(!ended(worker), "{}: a worker that cannot go on says so", database.kind);
        }
        refuses(&game, "run a newer condor");
        execute(&database, AS_IT_WAS).await;
        execute(&database, OLDER).await;
        refuses(&game, "run `condor db migrate`");
    }
}

fn said(worker: &Process, words: &str) -> String {
    eventually(words, SOON, || worker.log().into_iter().find(|line| line.contains(words)))
}

/// Whether it ended well, by itself.
fn ended(mut worker: Process) -> bool {
    eventually("its end", SOON, || worker.ended()).success()
}

/// No worker starts, nor does the program write by hand.
fn refuses(game: &Game, cure: &str) {
    let config = ["--config", game.config_text()];
    let commands = [
        vec!["predict"],
        vec!["score"],
        vec!["score", "--once"],
        vec!["pause", "--by", "ann", "--reason", "a test"],
    ];
    for command in commands {
        let output = condor(command.iter().chain(&config)).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {errors}");
        assert!(errors.trim_end().ends_with(cure), "{command:?}: {errors}");
    }
}

async fn execute(database: &Database, sql: &'static str) {
    if database.kind == "sqlite" {
        let mut connection = SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
}
