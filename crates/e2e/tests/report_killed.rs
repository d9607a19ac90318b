//! kill -9 of the report worker under load: the other workers do not notice, its clients come back by themselves, and what they
//! get then is what it was.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Clock, SystemClock, Timestamp};
use e2e::{Crowd, Database, Game, Process, databases, eventually, free_port, instant, setting};
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Client, StatusCode};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// What clients ask for all the time.
const PATHS: [&str; 4] = ["/leaderboard", "/api/v1/rounds?limit=100", "/api/v1/activity", "/reports/models"];
const CLIENTS_OF_EACH: usize = 3;
const STREAMS: usize = 5;

/// How long a client waits before it asks for more: together they ask some hundred times a second.
const BETWEEN: Duration = Duration::from_millis(20);
/// How long a client waits before it comes again when it was cut off.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the worker is away each time: long enough for some rounds to be asked and closed meanwhile.
const AWAY: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_report_worker_that_is_killed_under_load_is_missed_by_no_other_and_answers_the_same_when_it_is_back()
 {
    let folder = tempfile::tempdir().unwrap();
    for database in databases(folder.path(), "report_killed").await {
        let crowd = Crowd::start(5).await;
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || play(&database, &crowd, &runtime)).await.unwrap();
    }
}

fn play(database: &Database, crowd: &Crowd, runtime: &Handle) {
    let game = Game::new(tempfile::tempdir().unwrap(), &database.url, &crowd.orchestrator_url());
    let others = ["predict", "score"].map(|worker| game.start(worker));
    let mut report = Report::start(&game);
    eventually("scored rounds", SOON, || scored_rounds(&game).pop());
    let clients = Clients::start(runtime, &report.base);
    clients.all_go_on();

    let first_kill = SystemClock.now();
    for _ in 0..setting("E2E_KILLS", 3) {
        report.kill();
        std::thread::sleep(AWAY);
        report.start_again(&game);
        clients.all_go_on();
    }
    let last_return = SystemClock.now();
    for worker in others {
        let errors: Vec<String> =
            worker.finish(SOON).into_iter().filter(|line| line.contains(" ERROR ")).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", database.kind);
    }
    check_slots_met(&game, first_kill, last_return);

    // Nothing changes any more.
    report.kill();
    report.start_again(&game);
    let paths = stable_paths(&game);
    let before = runtime.block_on(answers(&report.base, &paths));
    report.kill();
    report.start_again(&game);
    assert_eq!(runtime.block_on(answers(&report.base, &paths)), before, "{}", database.kind);
    runtime.block_on(check_known(&report.base, &before));
    clients.end();
}

/// The ids of rounds that are scored, oldest first.
fn scored_rounds(game: &Game) -> Vec<String> {
    let rounds = game.export("rounds").into_iter().filter(|round| round["state"] == "scored");
    rounds.map(|round| round["round_id"].as_str().unwrap().to_owned()).collect()
}

/// Every slot in between was asked and closed.
fn check_slots_met(game: &Game, from: Timestamp, to: Timestamp) {
    let rounds = game.export("rounds");
    game.check_slots(&rounds);
    let between = |at: Timestamp| from <= at && at <= to - Game::CALL_TIMEOUT;
    let mut met = 0;
    for round in rounds.iter().filter(|round| between(instant(round, "performed_at"))) {
        assert!(["closed", "scored"].contains(&round["state"].as_str().unwrap()), "{round}");
        met += 1;
    }
    assert!(met > 2, "{met} rounds between {from} and {to}");
}

/// What does not depend on the time of asking.
fn stable_paths(game: &Game) -> Vec<String> {
    let round = scored_rounds(game).pop().unwrap();
    let of_round = ["", "/predictions", "/bands?models=model-000,model-001", "/predictions/model-000"];
    let others = [
        "/leaderboard",
        "/api/v1/leaderboard",
        "/api/v1/models/model-000",
        "/api/v1/rounds",
        "/model/model-000/metrics",
        "/reports/leaderboard",
        "/reports/models",
        "/openapi.json",
    ];
    let of_round = of_round.iter().map(|part| format!("/api/v1/rounds/{round}{part}"));
    of_round.chain(others.iter().map(|path| (*path).to_owned())).collect()
}

/// The paths, and the tag and the body of the answer to each.
async fn answers(base: &str, paths: &[String]) -> Vec<(String, String, String)> {
    let client = Client::new();
    let mut all = Vec::new();
    for path in paths {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
        all.push((path.clone(), tag, answer.text().await.unwrap()));
    }
    all
}

/// Who has an answer from before is told that it has not changed.
async fn check_known(base: &str, known: &[(String, String, String)]) {
    for (path, tag, _) in known {
        let request = Client::new().get(format!("{base}{path}")).header(IF_NONE_MATCH, tag);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NOT_MODIFIED, "{path}");
    }
}

/// The report worker, always at one address.
struct Report {
    process: Process,
    listen: String,
    base: String,
}

impl Report {
    fn start(game: &Game) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let base = format!("http://{listen}");
        Report { process: Self::process(game, &listen), listen, base }
    }

    /// Runs it until it listens.
    fn process(game: &Game, listen: &str) -> Process {
        let arguments = ["report", "--listen", listen, "--config", game.config_text()];
        let process = Process::start("report", arguments);
        process.wait_for_line("listening on ", SOON);
        process
    }

    fn kill(&mut self) {
        self.process.kill_9();
    }

    fn start_again(&mut self, game: &Game) {
        self.process = Self::process(game, &self.listen);
    }
}

/// Clients that come back whenever they are cut off.
struct Clients {
    /// How much each of them has got so far.
    got: Vec<Arc<AtomicUsize>>,
    /// Answers that nobody should get.
    odd: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Clients {
    fn start(runtime: &Handle, base: &str) -> Self {
        let (mut tasks, odd) = (JoinSet::new(), Arc::default());
        let mut got = Vec::new();
        let mut counter = || {
            got.push(Arc::default());
            Arc::clone(&got[got.len() - 1])
        };
        for path in PATHS.iter().cycle().take(PATHS.len() * CLIENTS_OF_EACH) {
            tasks.spawn_on(ask(format!("{base}{path}"), counter(), Arc::clone(&odd)), runtime);
        }
        for _ in 0..STREAMS {
            tasks.spawn_on(listen(format!("{base}/api/v1/events"), counter()), runtime);
        }
        Clients { got, odd, tasks }
    }

    /// Waits until each has got something new, and nothing odd.
    fn all_go_on(&self) {
        let count = || -> Vec<usize> { self.got.iter().map(|got| got.load(Ordering::Relaxed)).collect() };
        let before = count();
        let has_new = || count().iter().zip(&before).all(|(now, before)| now > before);
        eventually("every client gets something", SOON, || has_new().then_some(()));
        assert!(self.odd.lock().unwrap().is_empty(), "{:?}", self.odd);
    }

    fn end(mut self) {
        self.tasks.abort_all();
    }
}

/// Asks again and again, over a connection that is kept where it can be.
async fn ask(url: String, got: Arc<AtomicUsize>, odd: Arc<Mutex<Vec<String>>>) {
    let client = Client::new();
    loop {
        match client.get(&url).send().await {
            Ok(answer) if answer.status() != StatusCode::OK => {
                odd.lock().unwrap().push(format!("{url}: {}", answer.status()));
            }
            // A kill may come in the middle of the body.
            Ok(answer) => drop(answer.bytes().await.map(|_| got.fetch_add(1, Ordering::Relaxed))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

/// Listens to events, and again when the stream has ended.
async fn listen(url: String, got: Arc<AtomicUsize>) {
    let client = Client::new();
    loop {
        if let Ok(mut stream) = client.get(&url).send().await {
            while let Ok(Some(chunk)) = stream.chunk().await {
                if chunk.starts_with(b"event: ") {
                    got.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
