//! `condor probe`: every call of every model is accounted for, phase by phase, and what went wrong is told with its cause.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::collections::BTreeMap;
use std::process::{Command, Output};

use e2e::{condor, json_lines};
use protocol::{Value, method};
use serde_json::json;
use testkit::{Behaviour, FakeModel, FakeOrchestrator, Reply};

const ASKED: [&str; 8] = ["--rounds", "2", "--horizon", "3600", "--step", "900", "--assets", "BTC,ETH"];

/// The keys of a line, in the order in which scripts know them.
const KEYS: [&str; 10] = [
    "phase",
    "models",
    "rounds",
    "ok",
    "failed",
    "timeout",
    "wall_median_s",
    "wall_max_s",
    "cpu_per_call_us",
    "rss_mb",
];

fn good() -> Behaviour {
    let density = r#"{"type": "builtin", "name": "norm", "params": {"loc": 0.0, "scale": 0.001}}"#;
    Behaviour::answer(format!("[{}]", [density; 4].join(", ")))
}

/// An orchestrator and its models, which stay for as long as this is held.
struct World {
    orchestrator: FakeOrchestrator,
    models: BTreeMap<String, FakeModel>,
}

impl World {
    async fn start(behaviours: impl IntoIterator<Item = (String, Behaviour)>) -> Self {
        let orchestrator = FakeOrchestrator::start().await;
        let mut models = BTreeMap::new();
        for (name, behaviour) in behaviours {
            models.insert(name, FakeModel::start(behaviour).await);
        }
        orchestrator
            .announce(models.iter().map(|(name, model)| model.running(name, &format!("start-of-{name}"))));
        World { orchestrator, models }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let url = format!("{}/condor", self.orchestrator.url());
        condor(["probe", "--orchestrator", &url].iter().chain(&ASKED).chain(arguments))
    }

    async fn probe(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_mixed_fleet_is_counted_and_each_fault_has_its_cause() {
    let behaviours = [
        ("good-1", good()),
        ("good-2", good()),
        ("raises", Behaviour::raise("no forecast \u{1b}[2Jtoday")),
        ("hangs", Behaviour::never_answer()),
        ("garbage", Behaviour::garbage()),
        ("nan", Behaviour::nan()),
        ("broken", good()),
        ("gone", good()),
    ];
    let world = World::start(behaviours.map(|(name, behaviour)| (name.to_owned(), behaviour))).await;
    let fault = Reply::Status { code: protocol::status::SETUP_FAILED, message: "no such file".into() };
    world.models["broken"].on_setup(fault);
    world.models["gone"].stop().await;

    // Good models answer in milliseconds; on a busy machine they may take a while.
    let output = world.probe(&["--json", "--timeout", "5s"]).await;
    let (lines, told) = (text(&output.stdout), text(&output.stderr));

    // Those without a good Setup, `broken` and `gone`, count in each phase.
    let counts = |line: &serde_json::Value| {
        json!([line["phase"], line["models"], line["rounds"], line["ok"], line["failed"], line["timeout"]])
    };
    let counted: Vec<serde_json::Value> = json_lines(lines).iter().map(counts).collect();
    let expected = [
        json!(["connect", 8, 1, 6, 2, 0]),
        json!(["tick_minute", 8, 1, 4, 3, 1]),
        json!(["predict", 8, 2, 4, 10, 2]),
        json!(["tick_history", 8, 1, 4, 3, 1]),
    ];
    assert_eq!(counted, expected, "{told}");
    assert_eq!(output.status.code(), Some(1), "{told}");
    check_keys(lines);

    for cause in [
        "connect: failed: model broken: raised (SETUP_FAILED): no such file",
        "connect: failed: model gone: cannot be reached: ",
        "predict: failed: model nan: ",
        "predict: failed: model garbage: ",
        "predict: timeout: model hangs: predict was not sent: still busy with tick",
        "tick_minute: failed: model raises: raised (MODEL_FAILED): no forecast  [2Jtoday",
        "predict: and 1 more models did not succeed",
        "error: 20 of 40 calls did not succeed",
    ] {
        assert!(told.contains(cause), "`{cause}` is missing in:\n{told}");
    }
    assert!(world.orchestrator.reports().is_empty(), "a probe gets no model stopped");
    assert!(world.models["broken"].methods().iter().all(|method| method == "Setup"));
    check_calls(&world.models["good-1"]);
}

fn check_keys(lines: &str) {
    for line in lines.lines() {
        let places: Vec<usize> = KEYS
            .iter()
            .map(|key| line.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{line}")))
            .collect();
        assert!(places.is_sorted(), "{line}");
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value.as_object().unwrap().len(), KEYS.len(), "{line}");
        for key in ["wall_median_s", "wall_max_s", "cpu_per_call_us", "rss_mb"] {
            assert!(value[key].as_f64().is_some_and(|figure| figure > 0.0), "{key} in {line}");
        }
        assert!(value["wall_max_s"].as_f64() >= value["wall_median_s"].as_f64(), "{line}");
    }
}

/// What a model hears: one minute of both assets, a question about each, and history of a megabyte that ends before that
/// minute.
fn check_calls(model: &FakeModel) {
    assert_eq!(model.methods(), ["Setup", method::TICK, method::PREDICT, method::PREDICT, method::TICK]);
    let calls = model.calls();
    let told = |index: usize| match &calls[index].arguments[..] {
        [Value::Json(text)] => text.clone(),
        other => panic!("{other:?}"),
    };
    let times = |text: &str, asset: &str| -> Vec<i64> {
        let prices: serde_json::Value = serde_json::from_str(text).unwrap();
        prices[asset].as_array().unwrap().iter().map(|entry| entry[0].as_i64().unwrap()).collect()
    };
    let (minute, history) = (told(1), told(4));
    assert!(history.len().abs_diff(1_000_000) < 1_000, "{} bytes", history.len());
    for asset in ["BTC", "ETH"] {
        let (now, past) = (times(&minute, asset), times(&history, asset));
        assert_eq!(now.len(), 1);
        assert!(past.is_sorted() && past.last().copied() == Some(now[0] - 60), "{now:?}, {:?}", past.last());
    }
    for (index, asset) in [(2, "BTC"), (3, "ETH")] {
        let question = [Value::String(asset.into()), Value::Int(3600), Value::Int(900)];
        assert_eq!(calls[index].arguments, question);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_fleet_ends_with_0_and_a_table() {
    let world = World::start([("1", good()), ("2", good())].map(|(name, b)| (name.to_owned(), b))).await;
    let output = world.probe(&[]).await;
    let (table, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    let phases: Vec<&str> = table.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(phases, ["phase", "connect", "tick_minute", "predict", "tick_history"], "{table}");
    assert!(told.contains("sends its models made-up prices"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_models_than_the_soft_limit_of_open_files_are_reached() {
    let world = World::start((0..80).map(|n| (format!("model-{n}"), good()))).await;
    let output = limited(world.command(&["--json"]), "ulimit -S -n 64").await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(json_lines(text(&output.stdout))[0]["ok"], 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_models_than_the_hard_limit_of_open_files_are_warned_about() {
    let world = World::start((0..60).map(|n| (format!("model-{n}"), good()))).await;
    let output = limited(world.command(&["--json"]), "ulimit -S -n 64; ulimit -H -n 120").await;
    let told = text(&output.stderr);
    let warning = "60 models run and this process may have 120 files and connections open";
    assert!(told.contains(warning) && told.contains("ulimit -n 160"), "{told}");
}

/// Runs it with limits as a shell sets them.
async fn limited(command: Command, limits: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{limits}; exec \"$0\" \"$@\"")).arg(command.get_program());
    shell.args(command.get_args());
    tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap()
}
