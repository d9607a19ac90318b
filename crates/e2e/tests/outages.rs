//! Whatever becomes of the database or the disk: rounds go on, nothing is lost, and all is well by itself afterwards.
//!
//! `cargo xtask soak outages` runs it with many models and PostgreSQL stopped for minutes; by itself it is small.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use domain::{Clock, Span, SystemClock};
use e2e::{
    Crowd, Game, Process, check_afresh, check_answers, condor, databases, eventually, instant,
    latest_question, setting, told_of_full_disks,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use testkit::{Line, Proxy};
use throwaway_postgres::{Durability, Server};
use tokio::task::block_in_place;
use tokio::time::sleep;

/// How long most outages last.
const OUTAGE: Duration = Duration::from_secs(6);
/// How long after the journal is free again slots may still be missed.
const AFTERMATH: Span = Span::seconds(2);
/// How long it takes until all is stored that waited.
const RECOVERY: Duration = Duration::from_secs(180);
/// What waits for the database waits on disk: an outage takes no more memory than this.
const MEMORY: u64 = 96 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn rounds_go_on_whatever_becomes_of_postgresql_and_all_is_stored_once_afterwards() {
    if std::env::var("TEST_POSTGRES_URL").is_err() {
        println!("skipped: TEST_POSTGRES_URL is not set (cargo xtask test sets it)");
        return;
    }
    let mut server = Server::start(Durability::None).unwrap();
    let proxy = Proxy::start(address_of(&server)).await;
    let mut place = Place::start(&format!("postgres://postgres@{}/postgres", proxy.address())).await;
    let memory = place.predict.memory().resident;

    proxy.refuse().await;
    place.endure("connections are refused", OUTAGE).await;
    proxy.listen().await;
    place.recover().await;

    proxy.switch(Line::Silent);
    place.endure("connections hang", OUTAGE * 2).await;
    proxy.switch(Line::Up);
    place.recover().await;

    proxy.switch(Line::Cuts(3000));
    place.endure("connections are cut in the middle", OUTAGE).await;
    proxy.switch(Line::Up);
    place.recover().await;

    set(&server, "statement_timeout = '100ms'").await;
    let mut holder = PgConnection::connect(&server.url()).await.unwrap();
    let lock = "SET statement_timeout = 0; BEGIN; LOCK TABLE rounds IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    place.endure("statements run out of time", OUTAGE).await;
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    place.recover().await;

    set(&server, "default_transaction_read_only = on").await;
    place.endure("the database takes no writes", OUTAGE).await;
    let reset = "SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL";
    sqlx::raw_sql(reset).execute(&mut holder).await.unwrap();
    place.recover().await;

    server.stop().unwrap();
    place.endure("PostgreSQL is stopped", Duration::from_secs(setting("E2E_STOPPED_S", 20))).await;
    server.restart().unwrap();
    place.recover().await;

    let grown = place.predict.memory().peak.saturating_sub(memory);
    println!("the predict worker's memory grew by {:.1} MiB at most", grown as f64 / f64::from(1 << 20));
    assert!(grown < MEMORY, "{grown} bytes");
    place.check_nothing_lost(|round| panic!("none is missed: {round}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_loudly_and_costs_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    for database in databases(folder.path(), "full_disk").await {
        let mut place = Place::start(&database.url).await;
        place.predict.fill_disk(true);
        sleep(OUTAGE).await;
        place.check_journal_fault();
        place.predict.fill_disk(false);
        place.recover().await;
        assert_eq!(place.count_logged("the journal can be written again"), 1, "{}", database.kind);
        let can_be_missed = database.kind == "sqlite";
        place
            .check_nothing_lost(|round| {
                let reason = round["reason"].as_str().unwrap();
                assert!(can_be_missed && reason.starts_with("the journal cannot be written"), "{round}");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_somebody_holds_up_may_cost_slots_and_says_why_but_costs_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    for database in databases(folder.path(), "held_journal").await {
        let mut place = Place::start(&database.url).await;
        let mut holder = SqliteConnection::connect(place.game.journal().to_str().unwrap()).await.unwrap();
        sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut holder).await.unwrap();
        sleep(OUTAGE).await;
        place.check_journal_fault();
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        let released_at = SystemClock.now();
        place.recover().await;
        assert_eq!(place.count_logged("the journal can be written again"), 1, "{}", database.kind);
        let rounds = place.game.export("rounds");
        let mut afterwards =
            rounds.iter().filter(|round| instant(round, "performed_at") > released_at + AFTERMATH).peekable();
        assert!(
            afterwards.peek().is_some() && afterwards.all(|round| round["state"] != "missed"),
            "{rounds:?}"
        );
        place
            .check_nothing_lost(|round| {
                let reason = round["reason"].as_str().unwrap();
                assert!(reason.starts_with("the journal cannot be written"), "{round}");
            })
            .await;
    }
}

/// Workers at work.
struct Place {
    game: Game,
    crowd: Crowd,
    predict: Process,
    score: Process,
    admin: SocketAddr,
}

impl Place {
    /// Starts the workers and waits until rounds are stored.
    async fn start(database: &str) -> Self {
        let crowd = Crowd::start(setting("E2E_MODELS", 10)).await;
        let game = Game::new(tempfile::tempdir().unwrap(), database, &crowd.orchestrator_url());
        let arguments = ["predict", "--config", game.config_text(), "--admin-listen", "127.0.0.1:0"];
        let predict = Process::spawn("predict", told_of_full_disks(&condor(arguments)));
        let admin = block_in_place(|| {
            eventually("the admin interface", Duration::from_secs(20), || {
                let log = predict.log();
                let line = log.iter().find(|line| line.contains("admin interface"))?;
                line.rsplit_once("address=")?.1.trim().parse().ok()
            })
        });
        let score = game.start("score");
        let place = Place { game, crowd, predict, score, admin };
        block_in_place(|| {
            eventually("rounds are closed", RECOVERY, || (place.count_logged("closed ") > 2).then_some(()));
        });
        place
    }

    /// Lets the workers do what they can for a while.
    async fn endure(&mut self, what: &str, how_long: Duration) {
        println!("── {what}");
        let complaints = self.count_logged("not stored yet, trying again");
        sleep(how_long).await;
        self.predict.check_runs();
        self.score.check_runs();
        assert!(self.count_logged("not stored yet, trying again") > complaints, "{what}: nobody complains");
    }

    /// Everything that waited is stored, without a hand, and the workers go on.
    async fn recover(&mut self) {
        block_in_place(|| {
            eventually("everything is stored", RECOVERY, || {
                // Rounds go on, so that something is always on its way.
                let age = self.readiness()["details"]["oldest_unstored_age_s"].clone();
                age.as_u64().is_none_or(|age| age < 3).then_some(())
            });
        });
        sleep(Duration::from_secs(3)).await;
        self.predict.check_runs();
        self.score.check_runs();
    }

    /// The journal cannot be written, which is told, and once.
    fn check_journal_fault(&self) {
        let fault = self.readiness()["details"]["journal_fault"].clone();
        let fault = fault.as_str().unwrap_or_else(|| panic!("{}: no fault", self.game.database()));
        assert!(fault.starts_with("the journal cannot be written: ") && fault.contains("since"), "{fault}");
        assert_eq!(self.count_logged("THE JOURNAL CANNOT BE WRITTEN"), 1, "{}", self.game.database());
        assert!(self.asked("/metrics").lines().any(|line| line == "condor_predict_journal_fault 1.0"));
    }

    fn count_logged(&self, words: &str) -> usize {
        self.predict.log().iter().filter(|line| line.contains(words)).count()
    }

    /// What `/readyz` of the predict worker says.
    fn readiness(&self) -> Value {
        serde_json::from_str(&self.asked("/readyz")).unwrap()
    }

    /// What the predict worker's admin interface answers.
    fn asked(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }

    /// Stops the workers and looks at what they have stored; `missed` judges slots that were not asked since the first was.
    async fn check_nothing_lost(self, missed: impl Fn(&Value)) {
        let Place { game, crowd, predict, score, .. } = self;
        block_in_place(|| {
            for worker in [predict, score] {
                assert!(worker.terminate(Duration::from_secs(20)).success());
            }
            game.score_the_rest();
            let (rounds, newest) = (game.export("rounds"), game.newest_price_at());
            game.check_slots(&rounds);
            let asked = rounds.iter().skip_while(|round| round["state"] == "missed");
            for round in asked {
                match round["state"].as_str().unwrap() {
                    "scored" => {}
                    // On a machine that is too busy for its models.
                    "void" => assert_eq!(round["success"], 0, "{round}"),
                    "closed" => assert!(instant(round, "resolves_at") > newest, "{round}"),
                    "missed" => missed(round),
                    state => panic!("no round ends as {state}: {round}"),
                }
            }
            let late = latest_question(&crowd);
            println!("{} rounds; the last question came {late:?} after its slot", rounds.len());
            assert!(late < Game::CALL_TIMEOUT.as_duration(), "{late:?}");
            let answers = check_answers(&game, &crowd, &[]);
            assert!(answers > 50, "{answers}");
        });
        check_afresh(&game).await;
    }
}

fn address_of(server: &Server) -> SocketAddr {
    let url = server.url();
    let (_, place) = url.split_once('@').unwrap();
    place.split('/').next().unwrap().parse().unwrap()
}

/// Sets something for all connections of the workers, which have to make new ones.
async fn set(server: &Server, setting: &str) {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let sql = format!(
        "ALTER DATABASE postgres SET {setting};
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'condor'"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}
