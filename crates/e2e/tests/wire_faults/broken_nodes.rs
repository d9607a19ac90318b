//! A node of each fault beside good ones.

use std::time::Duration;

use e2e::{Database, databases};
use protocol::cluster::ModelState;
use testkit::{Behaviour, BrokenNode, Delivery, FakeModel, FakeOrchestrator, Reply, WireFault};

use crate::play::{Play, Record, check_flat};
use crate::{first_start, four_densities, models, names};

const GIBIBYTE: usize = 1 << 30;

/// Past the deadline, which is after two seconds.
const LATE: Duration = Duration::from_secs(3);

const SLOTS: usize = 11;

/// Less than a tenth of the gigabyte. Each of the 13 connections to bad nodes may hold a window (1 MiB) of what nobody has
/// looked at, and some of them a part of an answer besides (4 MiB at most); the allocator keeps what it had once.
const MOST_GROWTH_MIB: u64 = 64;

/// A bad model, and how its outcomes and the log tell its fault.
struct Bad {
    name: &'static str,
    node: Node,
    status: &'static str,
    words: &'static [&'static str],
}

enum Node {
    /// It is set up well and breaks the rules in its answers.
    Fake(FakeModel),
    /// It cannot even be set up.
    Broken(BrokenNode),
}

impl Bad {
    fn running(&self) -> ModelState {
        match &self.node {
            Node::Fake(model) => model.running(self.name, &first_start(self.name)),
            Node::Broken(node) => node.running(self.name, &first_start(self.name)),
        }
    }
}

/// The Setup's patience has passed, that of the next one behind it, or neither yet.
const NOT_SET_UP: &[&str] = &[
    "set-up: no answer to setup within 4s",
    "set-up: setup was not sent: still busy with setup",
    "its set-up has not finished after",
];
/// A call in flight is told of by the round that it belongs to and by those that pass while it goes on.
const NO_ANSWER: &[&str] = &["no answer to predict within", "busy with predict", "no answer by the deadline"];

async fn bad_fleet() -> Vec<Bad> {
    let mut fleet = Vec::new();
    let answers: [(_, _, _, &'static [&'static str]); 6] = [
        (
            "drips",
            Behaviour::answer_badly(Delivery::Drip(Duration::from_secs(1)), four_densities()),
            "TIMEOUT",
            NO_ANSWER,
        ),
        ("unended", Behaviour::answer_badly(Delivery::Unended, four_densities()), "TIMEOUT", NO_ANSWER),
        ("late", Behaviour::answer_late(LATE, four_densities()), "TIMEOUT", NO_ANSWER),
        ("gigabyte", Behaviour::huge(GIBIBYTE), "FAILED", &["bytes, more than the 4194304 that are allowed"]),
        (
            "endless",
            Behaviour::answer_badly(Delivery::Endless, four_densities()),
            "FAILED",
            &["the answer goes on after its message"],
        ),
        (
            "resets",
            Behaviour::answer_badly(Delivery::Reset, four_densities()),
            "ABSENT",
            &["stream error received"],
        ),
    ];
    for (name, behaviour, status, words) in answers {
        fleet.push(Bad { name, node: Node::Fake(FakeModel::start(behaviour).await), status, words });
    }
    let speechless = FakeModel::start(Behaviour::never_answer()).await;
    speechless.on_setup(Reply::Held(Box::new(Reply::Value(protocol::Value::None))));
    fleet.push(Bad { name: "speechless", node: Node::Fake(speechless), status: "ABSENT", words: NOT_SET_UP });
    let faults: [(_, _, _, &'static [&'static str]); 6] = [
        ("silent", WireFault::Silent, "ABSENT", NOT_SET_UP),
        ("mute", WireFault::Mute, "ABSENT", NOT_SET_UP),
        ("trickles", WireFault::Trickle, "ABSENT", NOT_SET_UP),
        ("garbage", WireFault::Garbage, "ABSENT", &["cannot be reached", "http2 error"]),
        ("goaway", WireFault::GoAway, "ABSENT", &["cannot be reached", "http2 error"]),
        (
            "floods",
            WireFault::Flood(GIBIBYTE as u32),
            "FAILED",
            &["bytes, more than the 4194304 that are allowed"],
        ),
    ];
    for (name, fault, status, words) in faults {
        fleet.push(Bad { name, node: Node::Broken(BrokenNode::start(fault).await), status, words });
    }
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_break_every_rule_cost_the_others_nothing_and_each_fault_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut plays = Vec::new();
    for database in databases(folder.path(), "broken_nodes").await {
        plays.push(tokio::spawn(play(database)));
    }
    for play in plays {
        play.await.unwrap();
    }
}

async fn play(database: Database) {
    let orchestrator = FakeOrchestrator::start().await;
    let mut good_names = names("good", 8);
    let mut good = models(&good_names, Behaviour::answer(four_densities())).await;
    // No fault at all: nodes may end connections whenever they are through with the requests.
    let polite = FakeModel::start(Behaviour::answer(four_densities())).await;
    polite.hang_up_after_each_answer();
    good_names.push("polite".to_owned());
    good.push(("polite".to_owned(), polite));
    let bad = bad_fleet().await;
    let states = good.iter().map(|(name, model)| model.running(name, &first_start(name)));
    orchestrator.announce(states.chain(bad.iter().map(Bad::running)));

    let url = database.url.clone();
    let settings = [("MODELS__REPORT_FAILURES", "false"), ("MODELS__SETUP_TIMEOUT", "4s")];
    let (record, warm, memory) = {
        let mut game = Play::start(&url, &orchestrator, &settings);
        tokio::task::spawn_blocking(move || {
            let warm = game.until_closed(2);
            let memory = game.until_closed(SLOTS);
            (game.finish(), warm, memory)
        })
        .await
        .unwrap()
    };

    println!("{}", database.kind);
    record.check_no_round_is_late(2 * SLOTS);
    record.check_success_of(&good_names);
    bad.iter().for_each(|model| check_bad(&record, model));
    check_flat(warm, memory, MOST_GROWTH_MIB);
}

/// Each round tells the model's own fault, or that it was spared for it.
fn check_bad(record: &Record, bad: &Bad) {
    let mut own = 0;
    for round in &record.rounds {
        let (status, reason) = round.status(bad.name);
        let is_own = status == bad.status && bad.words.iter().any(|words| reason.contains(words));
        let is_spared = status == "ABSENT" && reason.starts_with("cooling down after");
        assert!(is_own || is_spared, "{}: {}", bad.name, round.outcome(bad.name));
        own += usize::from(is_own);
    }
    assert!(own >= 3, "{} was told of its own fault in {own} of {} rounds", bad.name, record.rounds.len());
    let is_told = |words: &&&str| !record.lines(&["WARN", &format!("model={} ", bad.name), words]).is_empty();
    assert!(bad.words.iter().any(|words| is_told(&words)), "the log does not tell of {}", bad.name);
}
