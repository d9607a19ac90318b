//! Two predict workers over one database: one asks, the other takes its place, and no round is asked twice.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use domain::{Clock, SystemClock, Timestamp, TimestampExt};
use e2e::{Database, Game, Process, condor, databases, eventually, instant, questions, setting};
use testkit::{Behaviour, FakeModel, FakeOrchestrator};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const PATIENT: Duration = Duration::from_secs(30);

/// From a kill to the first question of the next leader.
const AFTER_A_KILL: Duration = Duration::from_secs(10);
/// From SIGTERM until the next leader asks.
const AFTER_A_STOP: Duration = Duration::from_secs(2);

const LEADS: &str = "this predict worker leads";
const ASKS: &str = "asking first_slot";
const STANDS_BY: &str = "standing by: another predict worker leads";
const IS_DEPOSED: &str = "another predict worker leads by now";

/// Models, and who announces them.
struct Fleet {
    orchestrator: FakeOrchestrator,
    models: BTreeMap<String, FakeModel>,
}

/// What a model was asked: about which asset, in which slot.
type Slot = (String, Timestamp);

impl Fleet {
    async fn start() -> Self {
        let density = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.001}}"#;
        let answer = format!("[{}]", [density; 4].join(", "));
        let orchestrator = FakeOrchestrator::start().await;
        let mut models = BTreeMap::new();
        for number in 0..setting("E2E_MODELS", 3) {
            let thinking = Duration::from_millis(100);
            let model = FakeModel::start(Behaviour::answer_late(thinking, answer.as_str())).await;
            models.insert(format!("model-{number:03}"), model);
        }
        let running = |(id, model): (&String, &FakeModel)| model.running(id, &format!("start-of-{id}"));
        orchestrator.announce(models.iter().map(running));
        Fleet { orchestrator, models }
    }

    /// When the first model was asked first after `at`.
    fn first_question_after(&self, at: Timestamp) -> Timestamp {
        eventually("a question", PATIENT, || {
            questions(&self.models["model-000"]).iter().map(|it| it.asked_at).find(|asked| *asked > at)
        })
    }

    /// How often each model was asked in each slot.
    fn times_asked(&self) -> Vec<BTreeMap<Slot, usize>> {
        let count = |model| {
            let mut times = BTreeMap::new();
            for question in questions(model) {
                *times.entry((question.asset, question.slot)).or_default() += 1;
            }
            times
        };
        self.models.values().map(count).collect()
    }

    fn check_nothing_was_asked_twice(&self) {
        for (name, times) in self.models.keys().zip(self.times_asked()) {
            assert!(!times.is_empty());
            let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{name} was asked again: {twice:?}");
        }
    }
}

/// A predict worker with a journal of its own.
struct Worker {
    name: &'static str,
    process: Process,
}

impl Worker {
    fn start(game: &Game, name: &'static str, database: &str) -> Self {
        let journal = game.folder().join(format!("{name}.journal"));
        let mut command = condor(["predict", "--config", game.config_text(), "--database", database]);
        command.env("CONDOR_PREDICT__JOURNAL", journal);
        Worker { name, process: Process::spawn(name, command) }
    }

    /// The time of the first line with this text from the line number `from` on.
    fn says(&self, text: &str, from: usize) -> Timestamp {
        eventually(&format!("{} says: {text}", self.name), PATIENT, || {
            let log = self.process.log();
            let line = log.iter().skip(from).find(|line| line.contains(text))?;
            Some(line.split_whitespace().next().unwrap().parse().unwrap())
        })
    }

    fn lines(&self) -> usize {
        self.process.log().len()
    }
}

async fn postgres(folder: &Path, name: &str) -> Option<Database> {
    databases(folder, name).await.into_iter().find(|database| database.kind == "postgres")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_from_a_leader_that_is_killed_or_stopped_and_asks_no_round_twice() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = postgres(folder.path(), "takeover").await else { return };
    let fleet = Fleet::start().await;
    tokio::task::spawn_blocking(move || play_takeovers(&database.url, &fleet)).await.unwrap();
}

/// A leader's end and what followed.
#[derive(Debug)]
struct Takeover {
    is_kill: bool,
    at: Timestamp,
    /// The next leader is ready to ask.
    asks_at: Timestamp,
    first_question_at: Timestamp,
}

fn play_takeovers(database: &str, fleet: &Fleet) {
    let game = Game::new(tempfile::tempdir().unwrap(), database, &fleet.orchestrator.url());
    let began = Worker::start(&game, "left", database);
    began.says(ASKS, 0);
    fleet.first_question_after(Timestamp::UNIX_EPOCH);
    let began_at = SystemClock.now();
    let mut leader = began;
    let mut standby = Worker::start(&game, "right", database);
    let mut takeovers = Vec::new();
    for number in 0..setting("E2E_TAKEOVERS", 20) {
        standby.says(STANDS_BY, 0);
        // At another place between two slots each time.
        std::thread::sleep(Duration::from_millis(1000 + 370 * number % 1000));
        let is_kill = number % 2 == 0;
        let takeover = take_over(is_kill, &mut leader, &standby, fleet);
        println!("{takeover:?}");
        takeovers.push(takeover);
        let Worker { name, process } = leader;
        if !is_kill {
            assert!(
                process.terminate(Duration::from_secs(20)).success(),
                "it closes its rounds in flight and ends"
            );
        }
        (leader, standby) = (standby, Worker::start(&game, name, database));
    }
    standby.says(STANDS_BY, 0);
    for worker in [standby, leader] {
        assert!(worker.process.terminate(Duration::from_secs(20)).success());
    }
    fleet.check_nothing_was_asked_twice();
    check_rounds(&game, &takeovers, began_at);
    check_times(&takeovers);
}

fn take_over(is_kill: bool, leader: &mut Worker, standby: &Worker, fleet: &Fleet) -> Takeover {
    let from = standby.lines();
    let at = SystemClock.now();
    if is_kill {
        leader.process.kill_9();
    } else {
        leader.process.ask_to_stop();
    }
    standby.says(LEADS, from);
    let asks_at = standby.says(ASKS, from);
    let first_question_at = fleet.first_question_after(asks_at);
    Takeover { is_kill, at, asks_at, first_question_at }
}

/// Each slot is on record once, and none is missed that a leader was there for.
fn check_rounds(game: &Game, takeovers: &[Takeover], began_at: Timestamp) {
    let rounds = game.export("rounds");
    for asset in Game::ASSETS {
        let of_asset = rounds.iter().filter(|round| round["asset"] == asset);
        let slots: Vec<i64> = of_asset.map(|round| instant(round, "performed_at").timestamp()).collect();
        assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == 2), "{asset}: {slots:?}");
    }
    for round in rounds.iter().filter(|round| instant(round, "performed_at") > began_at) {
        assert_eq!(round["contested"], false, "{round}");
        let slot = instant(round, "performed_at");
        let is_excused = |it: &Takeover| slot + Game::CALL_TIMEOUT > it.at && slot <= it.first_question_at;
        assert!(
            round["state"] == "closed" || takeovers.iter().any(is_excused),
            "there was a leader: {round}"
        );
        assert!(["closed", "missed", "interrupted"].contains(&round["state"].as_str().unwrap()), "{round}");
    }
}

fn check_times(takeovers: &[Takeover]) {
    let longest = |is_kill: bool, until: fn(&Takeover) -> Timestamp| {
        let of_kind = takeovers.iter().filter(|it| it.is_kill == is_kill);
        of_kind.map(|it| until(it).since(it.at)).max().unwrap()
    };
    let (asks, asked) = (|it: &Takeover| it.asks_at, |it: &Takeover| it.first_question_at);
    println!(
        "{} takeovers, longest: after kill -9 ready to ask in {:.1?}, first question in {:.1?}; after SIGTERM {:.1?} and {:.1?}",
        takeovers.len(),
        longest(true, asks),
        longest(true, asked),
        longest(false, asks),
        longest(false, asked),
    );
    assert!(longest(true, asked) <= AFTER_A_KILL);
    assert!(longest(false, asks) <= AFTER_A_STOP);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_sleeps_through_its_lease_asks_nothing_more_and_stands_by() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = postgres(folder.path(), "sleeper").await else { return };
    let fleet = Fleet::start().await;
    tokio::task::spawn_blocking(move || play_sleeper(&database.url, &fleet)).await.unwrap();
}

fn play_sleeper(database: &str, fleet: &Fleet) {
    let game = Game::new(tempfile::tempdir().unwrap(), database, &fleet.orchestrator.url());
    let sleeper = Worker::start(&game, "sleeper", database);
    fleet.first_question_after(Timestamp::UNIX_EPOCH);
    let other = Worker::start(&game, "other", database);
    other.says(STANDS_BY, 0);
    sleeper.process.suspend();
    fleet.first_question_after(other.says(ASKS, 0));
    let from = sleeper.lines();
    sleeper.process.resume();
    sleeper.says(IS_DEPOSED, from);
    sleeper.says(STANDS_BY, from);
    std::thread::sleep(Duration::from_secs(3));
    other.process.ask_to_stop();
    fleet.first_question_after(sleeper.says(ASKS, from));
    for worker in [sleeper, other] {
        assert!(worker.process.terminate(Duration::from_secs(20)).success());
    }
    fleet.check_nothing_was_asked_twice();
    assert!(game.export("rounds").iter().all(|round| round["contested"] == false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_from_the_database_goes_on_asking_and_what_both_asked_is_contested() {
    let folder = tempfile::tempdir().unwrap();
    let Some(database) = postgres(folder.path(), "partition").await else { return };
    let fleet = Fleet::start().await;
    let proxy = Proxy::start(&database.url).await;
    tokio::task::spawn_blocking(move || play_partition(&database.url, &proxy, &fleet)).await.unwrap();
}

fn play_partition(database: &str, proxy: &Proxy, fleet: &Fleet) {
    let game = Game::new(tempfile::tempdir().unwrap(), database, &fleet.orchestrator.url());
    let cut_off = Worker::start(&game, "cut-off", &proxy.url(database));
    fleet.first_question_after(Timestamp::UNIX_EPOCH);
    let other = Worker::start(&game, "other", database);
    other.says(STANDS_BY, 0);
    let from = cut_off.lines();
    proxy.cut(true);
    let cut_at = SystemClock.now();
    cut_off.says("cannot renew the lead", from);
    let led_at = other.says(LEADS, 0);
    assert!(led_at.since(cut_at) < AFTER_A_KILL, "a connection that hangs keeps nobody from leading");
    fleet.first_question_after(other.says(ASKS, 0));
    std::thread::sleep(Duration::from_secs(8));
    proxy.cut(false);
    cut_off.says(IS_DEPOSED, from);
    cut_off.says(STANDS_BY, from);
    for worker in [cut_off, other] {
        assert!(worker.process.terminate(Duration::from_secs(20)).success());
    }
    check_contested(&game, fleet, cut_at);
}

/// What both asked is contested, all else is not; each model has one outcome in each round.
fn check_contested(game: &Game, fleet: &Fleet, cut_at: Timestamp) {
    let times_asked = fleet.times_asked();
    let mut outcomes = BTreeMap::<String, Vec<String>>::new();
    for prediction in game.export("predictions") {
        let model = prediction["model_id"].as_str().unwrap().to_owned();
        outcomes.entry(prediction["round_id"].as_str().unwrap().to_owned()).or_default().push(model);
    }
    let mut contested = 0;
    for round in game.export("rounds").iter().filter(|it| instant(it, "performed_at") > cut_at) {
        let slot = (round["asset"].as_str().unwrap().to_owned(), instant(round, "performed_at"));
        let was_asked_twice =
            times_asked.iter().any(|times| times.get(&slot).is_some_and(|times| *times > 1));
        assert_eq!(round["contested"], was_asked_twice, "{round}");
        contested += usize::from(was_asked_twice);
        // The leader that is cut off went on: no slot was missed.
        assert_eq!(round["state"], "closed", "{round}");
        let models = &outcomes[round["round_id"].as_str().unwrap()];
        let expected: BTreeSet<&String> = fleet.models.keys().collect();
        assert_eq!(models.iter().collect::<BTreeSet<_>>(), expected, "{round}");
        assert_eq!(models.len(), expected.len(), "one outcome of each: {round}");
    }
    println!("{contested} rounds were asked by both");
    assert!(contested >= 3);
}

/// A way to the database that can be cut: then nothing passes, and who waits is not told.
struct Proxy {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
}

impl Proxy {
    async fn start(database: &str) -> Self {
        let server = authority(database).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy { address: listener.local_addr().unwrap(), is_cut: watch::Sender::new(false) };
        let is_cut = proxy.is_cut.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), is_cut.clone()));
            }
        });
        proxy
    }

    fn url(&self, database: &str) -> String {
        database.replace(authority(database), &self.address.to_string())
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

/// The `host:port` of an address.
fn authority(url: &str) -> &str {
    url.split('@').nth(1).and_then(|rest| rest.split('/').next()).unwrap()
}

/// Passes everything on until the line is cut; then holds both ends until it is mended.
async fn pass(mut client: TcpStream, server: String, mut is_cut: watch::Receiver<bool>) {
    let _ = is_cut.wait_for(|is_cut| !is_cut).await;
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    tokio::select! {
        // Either end may hang up.
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
    let _ = is_cut.wait_for(|is_cut| !is_cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_second_predict_worker_refuses_to_start_until_the_first_is_gone_however_that_ended() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("condor.db").display());
    let fleet = Fleet::start().await;
    tokio::task::spawn_blocking(move || {
        let game = Game::new(tempfile::tempdir().unwrap(), &database, &fleet.orchestrator.url());
        let mut first = Worker::start(&game, "first", &database);
        first.says(ASKS, 0);
        let refused = condor(["predict", "--config", game.config_text()])
            .env("CONDOR_PREDICT__JOURNAL", game.folder().join("second.journal"))
            .output()
            .unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains("another predict worker or replay writes to"), "{error}");
        assert!(error.contains("stop it first"), "{error}");
        first.process.kill_9();
        let second = Worker::start(&game, "second", &database);
        second.says(ASKS, 0);
        assert!(second.process.terminate(Duration::from_secs(20)).success());
    })
    .await
    .unwrap();
}
