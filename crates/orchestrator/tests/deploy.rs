//! The deploy API and the processes behind it, with real processes and real HTTP.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::{CrunchId, ModelId};
use orchestrator::deploy::{self, DeployApi, DeployKey, MAX_UPLOAD_BYTES};
use orchestrator::limits::Limits;
use orchestrator::logs::{LogKind, ModelLogs};
use orchestrator::{
    LocalOrchestrator, ModelSource, ProcessRunner, RandomIds, RestartPolicy, SubmissionUsers, Submissions,
};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const KEY: &str = "a-key-that-is-long-enough";

/// A stand-in for the program, which plays what the submission's main.py says. `$3` is the submission's folder.
const FAKE_HOST: &str = r#"#!/bin/sh
echo "$$ $3" >> "$0.pids"
case "$(cat "$3/main.py" 2>/dev/null)" in
  unbuildable) echo "installing"; echo "error: no such package: unobtainium" >&2; exit 1 ;;
  crashing) echo "building" >&2; echo "listening on 127.0.0.1:7001"; sleep 0.05; echo "error: it broke" >&2; exit 3 ;;
  elsewhere) echo "listening on 192.0.2.1:7001"; exec cat > /dev/null ;;
  stubborn) trap '' TERM; echo "listening on 127.0.0.1:7003"; while :; do sleep 0.05; done ;;
  environment) env >&2; echo "$@" >&2; echo "listening on 127.0.0.1:7004"; exec cat > /dev/null ;;
  *) echo "building" >&2; echo "listening on 127.0.0.1:7002"; sleep 0.05; echo "running" >&2; exec cat > /dev/null ;;
esac
"#;

struct World {
    folder: tempfile::TempDir,
    orchestrator: LocalOrchestrator,
    logs: ModelLogs,
    address: String,
    client: reqwest::Client,
    stop: CancellationToken,
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("within 30 s")
}

impl World {
    /// An orchestrator with these entries, where dead models are started again quickly.
    async fn start(entries: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (submissions, models) = (folder.path().join("submissions"), folder.path().join("models.yml"));
        std::fs::create_dir(&submissions).unwrap();
        let list: String = entries.iter().map(|entry| format!("  - {{{entry}}}\n")).collect();
        std::fs::write(&models, format!("models:\n{list}")).unwrap();
        let executable = folder.path().join("host");
        std::fs::write(&executable, FAKE_HOST).unwrap();
        std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();

        let logs = ModelLogs::in_folder(folder.path().join("logs")).unwrap();
        let runner = ProcessRunner::new(executable, logs.clone()).with_submissions(Submissions {
            folder: submissions.clone(),
            python: "python3".into(),
            base_class: "x.TrackerBase".into(),
            limits: Limits::FOR_SUBMISSIONS,
            users: SubmissionUsers::Operator("a test".into()),
        });
        let crunch_id = CrunchId::new("condor").unwrap();
        let restarts = RestartPolicy {
            first_pause: Duration::from_millis(10),
            most_failures: 3,
            ..RestartPolicy::default()
        };
        let source = ModelSource::File(models.clone());
        let orchestrator = LocalOrchestrator::start_with(
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            source,
            crunch_id.clone(),
            Arc::new(runner),
            RandomIds,
            restarts,
        )
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let api = DeployApi {
            control: orchestrator.control(),
            models_file: models,
            submissions,
            logs: logs.clone(),
            crunch_id,
            key: DeployKey::new(KEY).unwrap(),
        };
        let stop = CancellationToken::new();
        tokio::spawn(deploy::serve(listener, api, stop.clone()));
        World { folder, orchestrator, logs, address, client: reqwest::Client::new(), stop }
    }

    fn submissions(&self) -> PathBuf {
        self.folder.path().join("submissions")
    }

    fn submit_by_hand(&self, name: &str, main: &str) {
        let folder = self.submissions().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("main.py"), main).unwrap();
    }

    fn models_file(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("models.yml")).unwrap()
    }

    async fn send(&self, method: Method, path: &str, form: Option<Form>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.address)).bearer_auth(KEY);
        let request = match form {
            Some(form) => request.multipart(form),
            None => request,
        };
        let response = within(request.send()).await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn add(&self, main: &str) -> String {
        let (status, model) = self.send(Method::POST, "/models", Some(submission(main))).await;
        assert_eq!(status, 200, "{model}");
        model["id"].as_str().unwrap().to_owned()
    }

    async fn model(&self, id: &str) -> Option<Value> {
        let (_, models) = self.send(Method::GET, "/models", None).await;
        models.as_array().unwrap().iter().find(|model| model["id"] == id).cloned()
    }

    /// Waits until the model's status is this and its message contains that.
    async fn becomes(&self, id: &str, status: &str, word: &str) -> Value {
        let becoming = async {
            loop {
                let model = self.model(id).await;
                if let Some(model) = model.filter(|model| model["status"] == status)
                    && model["statusMessage"].as_str().unwrap().contains(word)
                {
                    return model;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), becoming)
            .await
            .unwrap_or_else(|_| panic!("{id} does not become {status} ({word})"))
    }

    async fn log(&self, kind: &str, id: &str) -> String {
        let model = self.model(id).await.unwrap();
        let path = model[format!("{kind}_log_uri")].as_str().unwrap();
        let url = format!("{}{path}?from_start=true", self.address);
        within(self.client.get(url).send()).await.unwrap().text().await.unwrap()
    }

    /// What a log says, once `word` is in it.
    async fn said(&self, kind: &str, id: &str, word: &str) -> String {
        let saying = async {
            loop {
                let said = self.log(kind, id).await;
                if said.contains(word) {
                    return said;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), saying)
            .await
            .unwrap_or_else(|_| panic!("the {kind} of {id} does not say {word}"))
    }

    /// The folders of submissions.
    fn uploads(&self) -> Vec<String> {
        let folders = std::fs::read_dir(self.submissions()).unwrap();
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Every host that was started: its process and its submission.
    fn hosts(&self) -> Vec<(i32, String)> {
        let text = std::fs::read_to_string(self.folder.path().join("host.pids")).unwrap_or_default();
        let host = |line: &str| {
            let (pid, folder) = line.split_once(' ')?;
            Some((pid.parse().ok()?, Path::new(folder).file_name()?.to_str()?.to_owned()))
        };
        text.lines().filter_map(host).collect()
    }

    async fn shutdown(self) {
        self.stop.cancel();
        within(self.orchestrator.shutdown()).await;
    }
}

fn file(name: &str, content: impl Into<Vec<u8>>) -> Part {
    Part::bytes(content.into()).file_name(name.to_owned())
}

fn submission(main: &str) -> Form {
    Form::new()
        .text("desired_state", "RUNNING")
        .text("model_name", "light")
        .text("crunch_id", "ignored")
        .part("files", file("main.py", main))
        .part("files", file("requirements.txt", ""))
}

fn desired(state: &'static str) -> Option<Form> {
    Some(Form::new().text("desired_state", state))
}

fn is_alive(pid: i32) -> bool {
    let kill =
        std::process::Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    kill.unwrap().success()
}

#[tokio::test]
async fn a_model_is_uploaded_listed_stopped_started_renamed_and_removed() {
    let world = World::start(&["id: 7, builtin: random-walk, desired_state: STOPPED"]).await;
    let (status, created) = world.send(Method::POST, "/models", Some(submission("fine"))).await;
    assert_eq!(
        (status, &created["model_name"], &created["crunch_id"]),
        (StatusCode::OK, &"light".into(), &"condor".into())
    );
    assert_eq!((&created["desired_state"], &created["cruncher_id"]), (&"RUNNING".into(), &Value::Null));
    let id = created["id"].as_str().unwrap();
    let running = world.becomes(id, "RUNNER_RUNNING", "").await;
    let first = running["deployment_id"].clone();
    assert_eq!(world.model("7").await.unwrap()["status"], "CREATED", "what was there stays as it is");

    let rename = Form::new().text("model_name", "dark").text("cruncher_name", "degu");
    let (status, renamed) = world.send(Method::PATCH, &format!("/models/{id}"), Some(rename)).await;
    assert_eq!(
        (status, &renamed["model_name"], &renamed["cruncher_name"]),
        (StatusCode::OK, &"dark".into(), &"degu".into())
    );
    assert_eq!(world.model(id).await.unwrap()["deployment_id"], first, "a new name is no new deployment");

    let path = format!("/models/{id}");
    assert_eq!(world.send(Method::PATCH, &path, desired("STOPPED")).await.0, 200);
    world.becomes(id, "RUNNER_STOPPED", "").await;
    assert_eq!(world.send(Method::PATCH, &path, desired("RUNNING")).await.0, 200);
    let again = world.becomes(id, "RUNNER_RUNNING", "").await;
    assert_ne!(again["deployment_id"], first);

    assert_eq!(world.send(Method::DELETE, &path, None).await.0, 204);
    assert!(world.model(id).await.is_none());
    assert_eq!(std::fs::read_dir(world.submissions()).unwrap().count(), 0, "its files went with it");
    for method in [Method::DELETE, Method::PATCH] {
        let (status, problem) = world.send(method, &path, desired("RUNNING")).await;
        assert_eq!(status, 404);
        assert!(problem["detail"].as_str().unwrap().contains(id), "{problem}");
    }
    assert!(world.models_file().contains("random-walk"));
    world.shutdown().await;
}

#[tokio::test]
async fn an_incomplete_or_strange_upload_is_told_what_is_missing_and_changes_nothing() {
    let world = World::start(&[]).await;
    let before = world.models_file();
    let state = || Form::new().text("desired_state", "RUNNING");
    let main = || state().part("files", file("main.py", "fine"));
    let cases = [
        (Form::new().part("files", file("a.ipynb", "{}")), "`desired_state` is missing"),
        (Form::new().text("desired_state", "ASLEEP"), "send RUNNING or STOPPED"),
        (state(), "`files` is missing"),
        (main(), "requirements.txt is missing"),
        (state().part("files", file("requirements.txt", "")), "main.py is missing"),
        (main().part("files", file("a.ipynb", "{}")), "one notebook alone"),
        (main().part("files", file("main.py", "twice")), "twice"),
        (main().text("model_name", "two\nlines"), "`model_name`"),
        (main().text("colour", "red"), "`colour` is unknown"),
        (main().part("files", file("../requirements.txt", "")), "`files` has `../requirements.txt`"),
        (state().part("files", file("/etc/cron.d/x.ipynb", "")), "a plain name"),
        (state().part("files", file("..\\..\\x.ipynb", "")), "a plain name"),
        (state().part("files", Part::bytes(&b"no name"[..])), "`files` has ``"),
    ];
    for (form, word) in cases {
        let (status, problem) = world.send(Method::POST, "/models", Some(form)).await;
        assert_eq!((status, &problem["status"]), (StatusCode::BAD_REQUEST, &400.into()), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{word}: {problem}");
    }
    assert_eq!(world.send(Method::POST, "/models", None).await.0, 400);
    let large = main().part("files", file("requirements.txt", vec![b'#'; MAX_UPLOAD_BYTES]));
    assert_eq!(world.send(Method::POST, "/models", Some(large)).await.0, 413);
    assert_eq!(world.models_file(), before);
    assert_eq!(std::fs::read_dir(world.submissions()).unwrap().count(), 0);
    world.shutdown().await;
}

#[tokio::test]
async fn whoever_changes_something_needs_the_key_and_no_page_in_a_browser_gets_in() {
    let world = World::start(&["id: a, builtin: random-walk, desired_state: STOPPED"]).await;
    let url = format!("{}/models", world.address);
    for request in [
        world.client.post(&url).multipart(submission("fine")),
        world.client.patch(format!("{url}/a")).multipart(desired("RUNNING").unwrap()),
        world.client.delete(format!("{url}/a")),
        world.client.delete(format!("{url}/a")).bearer_auth("another-key-that-is-long"),
        world.client.delete(format!("{url}/a?key={KEY}")),
    ] {
        let response = within(request.send()).await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let with_origin =
        world.client.delete(format!("{url}/a")).bearer_auth(KEY).header("Origin", "http://localhost");
    assert_eq!(within(with_origin.send()).await.unwrap().status(), 403);
    let rebound = world.client.get(&url).header("Host", "evil.example");
    assert_eq!(within(rebound.send()).await.unwrap().status(), 403);
    assert!(world.model("a").await.is_some());
    world.shutdown().await;
}

#[tokio::test]
async fn a_model_that_keeps_crashing_is_quarantined_with_its_reason_until_it_is_started_by_hand() {
    let world = World::start(&[]).await;
    let id = world.add("crashing").await;
    let model = world.becomes(&id, "RUNNER_FAILED", "quarantined after 3 failures").await;
    let message = model["statusMessage"].as_str().unwrap();
    assert!(message.contains("exit status: 3") && message.ends_with("it broke"), "{message}");
    assert_eq!(world.hosts().len(), 3);
    let rename = Form::new().text("model_name", "other");
    world.send(Method::PATCH, &format!("/models/{id}"), Some(rename)).await;
    assert_eq!(world.hosts().len(), 3, "a new name does not start it");

    let path = format!("/models/{id}");
    assert_eq!(world.send(Method::PATCH, &path, desired("RUNNING")).await.0, 200);
    let started = async {
        while world.hosts().len() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(started).await;
    assert_eq!(world.send(Method::PATCH, &path, Some(submission("fine"))).await.0, 200);
    world.becomes(&id, "RUNNER_RUNNING", "").await;
    world.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_built_or_listens_elsewhere_says_why_and_stops_no_other() {
    let entry = |name: &str| format!("id: {name}, submission_id: {name}, desired_state: RUNNING");
    let world = World::start(&[&entry("gone"), &entry("link")]).await;
    std::os::unix::fs::symlink("/etc", world.submissions().join("link")).unwrap();
    let good = world.add("fine").await;
    let unbuildable = world.add("unbuildable").await;
    let elsewhere = world.add("elsewhere").await;
    world.becomes(&unbuildable, "BUILDER_FAILED", "no such package: unobtainium").await;
    world.becomes(&elsewhere, "BUILDER_FAILED", "not on loopback").await;
    world.becomes("gone", "BUILDER_FAILED", "there is no folder").await;
    world.becomes("link", "BUILDER_FAILED", "leads out of the folder of submissions").await;
    world.becomes(&good, "RUNNER_RUNNING", "").await;
    assert!(world.log("builder", &unbuildable).await.contains("unobtainium"));
    world.shutdown().await;
}

#[tokio::test]
async fn new_code_replaces_the_old_and_broken_new_code_leaves_the_old_running() {
    let world = World::start(&[]).await;
    let id = world.add("fine").await;
    world.becomes(&id, "RUNNER_RUNNING", "").await;
    let (first, running) = world.hosts()[0].clone();
    let path = format!("/models/{id}");
    for _ in 0..3 {
        let (status, problem) = world.send(Method::PATCH, &path, Some(submission("unbuildable"))).await;
        assert_eq!(status, 200, "{problem}");
        world.becomes(&id, "BUILDER_FAILED", "quarantined").await;
        assert!(is_alive(first), "the model is never without a deployment");
        let uploads = world.uploads();
        assert!(uploads.contains(&running), "what runs keeps its files: {uploads:?}");
        assert_eq!(uploads.len(), 2, "and besides it only the newest: {uploads:?}");
    }
    world.send(Method::PATCH, &path, Some(submission("also fine"))).await;
    world.becomes(&id, "RUNNER_RUNNING", "").await;
    let stopped = async {
        while is_alive(first) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(stopped).await;
    world.send(Method::PATCH, &path, Some(Form::new().text("model_name", "new"))).await;
    let newest = world.hosts().pop().unwrap().1;
    assert_eq!(world.uploads(), [newest], "nobody needs the others any more");
    world.shutdown().await;
}

#[tokio::test]
async fn two_models_that_share_a_submission_do_not_stop_each_other() {
    let world = World::start(&[]).await;
    world.submit_by_hand("shared", "fine");
    let list = |second: &str| {
        let entry = |id: &str, state: &str| {
            format!("  - {{id: {id}, submission_id: shared, desired_state: {state}}}\n")
        };
        let text = format!("models:\n{}{}", entry("one", "RUNNING"), entry("two", second));
        std::fs::write(world.folder.path().join("models.yml"), text).unwrap();
    };
    list("RUNNING");
    let one = world.becomes("one", "RUNNER_RUNNING", "").await;
    world.becomes("two", "RUNNER_RUNNING", "").await;
    list("STOPPED");
    world.becomes("two", "RUNNER_STOPPED", "").await;
    assert_eq!(world.model("one").await.unwrap(), one);
    assert_eq!(world.send(Method::DELETE, "/models/two", None).await.0, 204);
    assert_eq!(world.model("one").await.unwrap(), one);
    assert!(
        world.submissions().join("shared/main.py").is_file(),
        "what was put there by hand is never removed"
    );
    let alive = world.hosts().into_iter().filter(|(pid, _)| is_alive(*pid)).count();
    assert_eq!(alive, 1);
    world.shutdown().await;
}

#[tokio::test]
async fn a_bad_entry_and_a_broken_file_stop_nobody_and_are_not_overwritten() {
    let bad = "id: bad, submission_id: ../../etc, desired_state: RUNNING";
    let world = World::start(&["id: a, builtin: random-walk, desired_state: RUNNING", bad]).await;
    world.becomes("a", "RUNNER_RUNNING", "").await;
    let added = world.add("fine").await;
    assert!(world.models_file().contains("../../etc"), "somebody else's mistake is theirs to mend");
    world.becomes(&added, "RUNNER_RUNNING", "").await;

    let path = world.folder.path().join("models.yml");
    std::fs::write(&path, "models: [").unwrap();
    let (status, problem) = world.send(Method::POST, "/models", Some(submission("fine"))).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(world.models_file(), "models: [");
    assert_eq!(world.model("a").await.unwrap()["status"], "RUNNER_RUNNING");
    world.shutdown().await;
}

#[tokio::test]
async fn logs_are_kept_for_builder_and_runner_and_can_be_followed() {
    let world = World::start(&[]).await;
    let id = world.add("fine").await;
    let model = world.becomes(&id, "RUNNER_RUNNING", "").await;
    let runner = model["runner_log_uri"].as_str().unwrap();
    let url = format!("{}{runner}?follow=true&from_start=true", world.address);
    let mut followed = within(world.client.get(url).send()).await.unwrap();
    assert_eq!(followed.headers()["x-content-type-options"], "nosniff");
    let mut heard = String::new();
    while !heard.contains("running") {
        heard.push_str(std::str::from_utf8(&within(followed.chunk()).await.unwrap().unwrap()).unwrap());
    }
    assert!(!heard.contains("building"), "what a host says before it listens is its builder's: {heard}");
    world.said("builder", &id, "building").await;
    let path = world.logs.path(LogKind::Runner, &ModelId::new(&id).unwrap());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for strange in ["/models/logs/runner/..%2F..%2Fetc%2Fpasswd", "/models/logs/runner/none"] {
        assert_eq!(world.send(Method::GET, strange, None).await.0, 404, "{strange}");
    }
    for strange in
        ["/models/logs/passwd/x".to_owned(), format!("{runner}?follow=perhaps"), format!("{runner}?key=x")]
    {
        assert_eq!(world.send(Method::GET, &strange, None).await.0, 400, "{strange}");
    }
    // whoever follows does not hold up the end
    world.shutdown().await;
    let end = within(async { while let Ok(Some(_)) = followed.chunk().await {} });
    end.await;
}

#[tokio::test]
async fn a_host_gets_its_limits_and_nothing_of_the_environment() {
    let world = World::start(&[]).await;
    let id = world.add("environment").await;
    world.becomes(&id, "RUNNER_RUNNING", "").await;
    let log = world.said("builder", &id, "--max-memory 4GiB --max-cpu-time 24h --max-open-files 1024").await;
    // cargo sets this one for every test
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !log.contains("CARGO_MANIFEST_DIR"), "{log}");
    assert!(!log.contains("--max-processes"), "the operator's own processes would count");
    world.shutdown().await;
}

#[tokio::test]
async fn a_host_that_does_not_heed_is_killed() {
    let world = World::start(&[]).await;
    let id = world.add("stubborn").await;
    world.becomes(&id, "RUNNER_RUNNING", "").await;
    let (pid, _) = world.hosts()[0].clone();
    world.send(Method::PATCH, &format!("/models/{id}"), desired("STOPPED")).await;
    world.becomes(&id, "RUNNER_STOPPING", "").await;
    world.becomes(&id, "RUNNER_STOPPED", "").await;
    assert!(!is_alive(pid));
    world.shutdown().await;
}
