//! The local orchestrator over a real WebSocket.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::CrunchId;
use futures::{SinkExt, StreamExt};
use orchestrator::logs::ModelLogs;
use orchestrator::runner::Runner;
use orchestrator::{
    CountedIds, InProcessRunner, LocalOrchestrator, ModelEntry, ModelSource, ProcessRunner, RandomIds,
    roster, set_roster,
};
use protocol::cluster::{ClusterMessage, ModelState, RunState};
use protocol::dynamic_subclass::SetupRequest;
use protocol::dynamic_subclass::dynamic_subclass_service_client::DynamicSubclassServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

fn condor() -> CrunchId {
    CrunchId::new("condor").unwrap()
}

fn entries(n: usize) -> ModelSource {
    ModelSource::Fixed(roster(n).into_iter().map(ModelEntry::from).collect())
}

async fn start(source: ModelSource, runner: Arc<dyn Runner>) -> LocalOrchestrator {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    LocalOrchestrator::start(listener, source, condor(), runner, RandomIds).await.unwrap()
}

async fn start_in_process(source: ModelSource) -> LocalOrchestrator {
    start(source, Arc::new(InProcessRunner)).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("within 30 s")
}

struct Coordinator(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Coordinator {
    async fn connect(orchestrator: &LocalOrchestrator) -> Self {
        Self::connect_to(orchestrator, "/condor").await
    }

    async fn connect_to(orchestrator: &LocalOrchestrator, path: &str) -> Self {
        let address = orchestrator.local_addr();
        Coordinator(within(connect_async(format!("ws://{address}{path}"))).await.unwrap().0)
    }

    async fn next_text(&mut self) -> Option<String> {
        match within(self.0.next()).await? {
            Ok(Message::Text(text)) => Some(text.to_string()),
            Ok(Message::Close(_)) | Err(_) => None,
            Ok(other) => panic!("unexpected message {other:?}"),
        }
    }

    async fn next(&mut self, event: &str) -> Vec<ModelState> {
        let message: ClusterMessage = serde_json::from_str(&self.next_text().await.unwrap()).unwrap();
        assert_eq!(message.event, event);
        message.data.into_iter().map(|model| serde_json::from_value(model).unwrap()).collect()
    }

    async fn update(&mut self) -> ModelState {
        let mut data = self.next("update").await;
        assert_eq!(data.len(), 1);
        data.remove(0)
    }

    async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }
}

fn ids(models: &[ModelState]) -> BTreeSet<&str> {
    models.iter().map(|model| model.model_id.as_str()).collect()
}

async fn can_be_called(model: &ModelState) -> bool {
    let (host, port) = model.address().unwrap();
    let Ok(mut client) = DynamicSubclassServiceClient::connect(format!("http://{host}:{port}")).await else {
        return false;
    };
    let request = SetupRequest { class_name: "x.TrackerBase".into(), ..Default::default() };
    client.setup(request).await.is_ok_and(|response| response.into_inner().status.unwrap().code == "SUCCESS")
}

#[tokio::test]
async fn every_client_gets_all_running_models_first_and_can_call_them() {
    let orchestrator = start_in_process(entries(5)).await;
    within(orchestrator.all_running()).await;
    let (mut one, mut two) =
        (Coordinator::connect(&orchestrator).await, Coordinator::connect(&orchestrator).await);
    let init = one.next("init").await;
    assert_eq!(init, two.next("init").await);
    assert_eq!(init.len(), 5);
    for model in &init {
        assert_eq!(model.state, RunState::Running);
        assert!(model.baseline, "it is built in");
        assert!(can_be_called(model).await, "{}", model.model_id);
    }
    let walk = init.iter().find(|model| model.model_id == "random-walk").unwrap();
    assert_eq!(walk.infos.as_ref().unwrap().model_name.as_deref(), Some("Random walk"));

    within(orchestrator.shutdown()).await;
    for mut client in [one, two] {
        let mut told = Vec::new();
        while let Some(text) = client.next_text().await {
            assert!(text.contains("STOPPED"), "{text}");
            told.push(text);
        }
        assert_eq!(told.len(), 5, "clients hear of every stop before they are let go");
    }
    assert!(!can_be_called(walk).await, "a shut down orchestrator leaves no model behind");
}

#[tokio::test]
async fn counted_deployment_ids_are_the_same_in_every_run() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ids = CountedIds::default();
        let runner = Arc::new(InProcessRunner);
        let orchestrator =
            LocalOrchestrator::start(listener, entries(5), condor(), runner, ids).await.unwrap();
        within(orchestrator.all_running()).await;
        let init = Coordinator::connect(&orchestrator).await.next("init").await;
        runs.push(init.into_iter().map(|m| (m.model_id, m.deployment_id)).collect::<BTreeSet<_>>());
        within(orchestrator.shutdown()).await;
    }
    assert_eq!(runs[0], runs[1]);
    let deployments: BTreeSet<_> = runs[0].iter().map(|(_, deployment)| deployment).collect();
    assert_eq!(deployments.len(), 5);
}

fn write(path: &Path, entries: &[&str]) {
    let list: String = entries.iter().map(|entry| format!("  - {{{entry}}}\n")).collect();
    std::fs::write(path, format!("models:\n{list}")).unwrap();
}

const A: &str = "id: a, builtin: random-walk, desired_state: RUNNING, model_name: first";
/// The same program as the other's: neither may stop the other.
const B: &str = "id: b, builtin: random-walk, desired_state: RUNNING";

#[tokio::test]
async fn changes_of_the_file_are_announced_and_touch_only_the_models_that_they_concern() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.yml");
    write(&path, &[A, "id: bad, builtin: no-such, desired_state: RUNNING", B]);
    let orchestrator = start_in_process(ModelSource::File(path.clone())).await;
    within(orchestrator.all_running()).await;
    let mut client = Coordinator::connect(&orchestrator).await;
    let init = client.next("init").await;
    assert_eq!(ids(&init), BTreeSet::from(["a", "b"]), "the bad entry stops nobody else");
    let a = init.iter().find(|model| model.model_id == "a").unwrap();
    let b = init.iter().find(|model| model.model_id == "b").unwrap();

    write(&path, &["id: a, builtin: random-walk, desired_state: RUNNING, model_name: second", B]);
    let renamed = client.update().await;
    assert_eq!(renamed.infos.as_ref().unwrap().model_name.as_deref(), Some("second"));
    assert_eq!((&renamed.deployment_id, renamed.address()), (&a.deployment_id, a.address()));

    write(&path, &["id: a, builtin: ewma-volatility, desired_state: RUNNING", B]);
    let replacing = loop {
        let update = client.update().await;
        if update.deployment_id != a.deployment_id {
            break update;
        }
        assert_eq!(update.state, RunState::Running, "the new deployment runs before the old one stops");
    };
    assert_eq!((replacing.model_id.as_str(), replacing.state), ("a", RunState::Running));
    let replaced = client.update().await;
    assert_eq!((&replaced.deployment_id, replaced.state), (&a.deployment_id, RunState::Stopped));
    assert_eq!(replaced.address(), None);

    write(&path, &["id: a, builtin: ewma-volatility, desired_state: STOPPED", B]);
    let stopped = client.update().await;
    assert_eq!((stopped.deployment_id, stopped.state), (replacing.deployment_id, RunState::Stopped));

    write(&path, &[A]);
    let mut last_two = [client.update().await, client.update().await];
    last_two.sort_by(|one, other| one.model_id.cmp(&other.model_id));
    assert_eq!((last_two[0].model_id.as_str(), last_two[0].state), ("a", RunState::Running));
    assert_eq!((&last_two[1].deployment_id, last_two[1].state), (&b.deployment_id, RunState::Stopped));
    assert!(last_two[0].deployment_id != a.deployment_id, "each start has an id of its own");
    assert_eq!(ids(&Coordinator::connect(&orchestrator).await.next("init").await), BTreeSet::from(["a"]));
    within(orchestrator.shutdown()).await;
}

#[tokio::test]
async fn a_file_that_appears_later_and_one_written_by_the_program_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.yml");
    let orchestrator = start_in_process(ModelSource::File(path.clone())).await;
    within(orchestrator.all_running()).await;
    let mut client = Coordinator::connect(&orchestrator).await;
    assert!(client.next("init").await.is_empty());
    set_roster(&path, &roster(2)).unwrap();
    let started = [client.update().await, client.update().await];
    assert_eq!(ids(&started), BTreeSet::from(["random-walk", "ewma-volatility"]));
}

#[tokio::test]
async fn a_reported_model_stays_stopped_until_its_entry_changes_and_unknown_ones_drop_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.yml");
    write(&path, &[A, B]);
    let orchestrator = start_in_process(ModelSource::File(path.clone())).await;
    within(orchestrator.all_running()).await;
    let mut client = Coordinator::connect(&orchestrator).await;
    client.next("init").await;
    client
        .say(
            r#"{"event": "report_failure", "data": [
            {"model_id": "nobody", "failure_code": "MULTIPLE_FAILED", "failure_reason": null, "ip": "h"},
            "nonsense", {"model_id": 7}, null,
            {"model_id": "a", "failure_code": "BAD_IMPLEMENTATION", "failure_reason": "no such class", "ip": "h"}]}"#,
        )
        .await;
    let stopped = client.update().await;
    assert_eq!((stopped.model_id.as_str(), stopped.state), ("a", RunState::Stopped));
    within(orchestrator.all_running()).await;

    // a change elsewhere in the file does not bring it back, one of its own entry does
    let b = "id: b, builtin: random-walk, desired_state: RUNNING, model_name: new";
    write(&path, &[A, b]);
    assert_eq!(client.update().await.model_id, "b");
    assert_eq!(ids(&Coordinator::connect(&orchestrator).await.next("init").await), BTreeSet::from(["b"]));
    write(&path, &["id: a, builtin: random-walk:scale=2, desired_state: RUNNING", b]);
    let back = client.update().await;
    assert_eq!((back.model_id.as_str(), back.state), ("a", RunState::Running));
    assert_ne!(back.deployment_id, stopped.deployment_id);
    within(orchestrator.shutdown()).await;
}

#[tokio::test]
async fn malformed_messages_never_close_the_connection() {
    let orchestrator = start_in_process(entries(1)).await;
    within(orchestrator.all_running()).await;
    let mut client = Coordinator::connect(&orchestrator).await;
    client.next("init").await;
    for text in
        ["", "{", "[]", "7", r#"{"event": "dance"}"#, r#"{"event": "report_failure"}"#, r#"{"event": 5}"#]
    {
        client.say(text).await;
    }
    client.0.send(Message::binary(vec![0xff, 0])).await.unwrap();
    client.say(r#"{"event": "report_failure", "data": [{"model_id": "random-walk"}]}"#).await;
    assert_eq!(client.update().await.state, RunState::Stopped);
}

#[tokio::test]
async fn a_path_without_our_crunch_gets_an_error_that_says_what_to_ask_for() {
    let orchestrator = start_in_process(entries(1)).await;
    for (path, word) in [("/", "names no crunch"), ("/other", "no crunch `other`")] {
        let mut client = Coordinator::connect_to(&orchestrator, path).await;
        let answer: serde_json::Value = serde_json::from_str(&client.next_text().await.unwrap()).unwrap();
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(word) && error.contains("/condor"), "{error}");
        assert_eq!(client.next_text().await, None, "the connection is closed");
    }
}

async fn http(orchestrator: &LocalOrchestrator, request: &str) -> String {
    let mut stream = TcpStream::connect(orchestrator.local_addr()).await.unwrap();
    // in two pieces: a request may come in any
    let (head, tail) = request.split_at(request.len() / 2);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    stream.write_all(tail.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn plain_http_is_told_to_upgrade_and_pages_in_a_browser_are_kept_out() {
    let orchestrator = start_in_process(entries(1)).await;
    for request in [
        "GET /condor HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /condor HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    ] {
        let answer = http(&orchestrator, request).await;
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
        assert!(answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    }
    let answer = http(&orchestrator, "\u{1}\u{2}nonsense\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut request = format!("ws://{}/condor", orchestrator.local_addr()).into_client_request().unwrap();
    request.headers_mut().insert("Origin", "http://somewhere.example".parse().unwrap());
    match connect_async(request).await {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("expected 403, got {other:?}"),
    }
}

/// A stand-in for the program: notes its arguments and its process id, and says that it listens.
const FAKE_HOST: &str = r#"#!/bin/sh
echo "$@" >> "$0.arguments"
echo $$ >> "$0.pids"
echo "a line before"
echo "listening on 127.0.0.1:7001"
exec cat > /dev/null
"#;

fn executable(folder: &Path, script: &str) -> ProcessRunner {
    let executable = folder.join("host");
    std::fs::write(&executable, script).unwrap();
    std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
    ProcessRunner::new(executable, ModelLogs::in_folder(folder.join("logs")).unwrap())
}

fn pids(folder: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(folder.join("host.pids")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn is_alive(pid: i32) -> bool {
    let kill =
        std::process::Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    kill.unwrap().success()
}

#[tokio::test]
async fn a_process_that_dies_is_started_again_under_the_same_deployment_and_ends_with_the_orchestrator() {
    let folder = tempfile::tempdir().unwrap();
    let runner = executable(folder.path(), FAKE_HOST);
    let orchestrator = start(entries(1), Arc::new(runner)).await;
    within(orchestrator.all_running()).await;
    let mut client = Coordinator::connect(&orchestrator).await;
    let running = client.next("init").await.remove(0);
    assert_eq!(running.address(), Some(("127.0.0.1", 7001)));
    let arguments = std::fs::read_to_string(folder.path().join("host.arguments")).unwrap();
    assert_eq!(arguments.trim(), "model-host --builtin random-walk --listen 127.0.0.1:0 --exit-with-parent");

    let first = pids(folder.path())[0];
    let killed = std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    let recovering = client.update().await;
    assert_eq!((recovering.state, recovering.address()), (RunState::Recovering, None));
    let recovered = client.update().await;
    assert_eq!(recovered, running, "the same deployment, announced again");

    let second = pids(folder.path())[1];
    assert!(is_alive(second));
    within(orchestrator.shutdown()).await;
    assert!(!is_alive(second), "a clean shutdown leaves no child behind");
    assert_eq!(client.update().await.state, RunState::Stopped);
}

#[tokio::test]
async fn a_model_that_never_comes_up_holds_up_no_other_and_not_the_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"#!/bin/sh
case "$3" in
  random-walk) echo "no luck" >&2; exit 3 ;;
  ewma-volatility) exec cat > /dev/null ;;
  *) echo "listening on 127.0.0.1:7002"; exec cat > /dev/null ;;
esac
"#;
    let orchestrator = start(entries(3), Arc::new(executable(folder.path(), script))).await;
    let mut client = Coordinator::connect(&orchestrator).await;
    let mut running = client.next("init").await;
    if running.is_empty() {
        running.push(client.update().await);
    }
    assert_eq!(ids(&running), BTreeSet::from(["student-t"]));
    within(orchestrator.shutdown()).await;
}
