//! Python submissions with the real binary: uploaded from the command line, within their limits, apart from one another.
#![allow(clippy::unwrap_used, reason = "test code: a failure is to end the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::{Process, condor, condor_output, eventually, json_lines};
use futures::StreamExt;
use protocol::Value;
use protocol::dynamic_subclass::dynamic_subclass_service_client::DynamicSubclassServiceClient;
use protocol::dynamic_subclass::{CallRequest, SetupRequest};
use testkit::credentials::{Authority, Wallet, delegation_message, write_node};

const PATIENCE: Duration = Duration::from_secs(120);

/// Answers with what it can see and do.
const CURIOUS: &str = r#"
import os, resource, socket, subprocess

UPGRADE = (
    b"GET /condor HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
GREETINGS = {
    "orchestrator": UPGRADE,
    "deploy": b"GET /models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "rival": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
}

def greet(whom, port):
    try:
        with socket.create_connection(("127.0.0.1", int(port)), 60) as peer:
            peer.sendall(GREETINGS[whom])
            answer = peer.recv(1000)
    except ConnectionError:
        answer = b""
    return "answered" if answer else "refused"

def privileges():
    with open("/proc/self/status") as status:
        return [line for line in status if line.startswith("NoNewPrivs")]

def attempt(act):
    try:
        return str(act())
    except BaseException as error:
        return type(error).__name__

class Curious:
    def tick(self, prices):
        pass

    def predict(self, asset, horizon, step):
        if asset == "memory":
            return attempt(lambda: len(bytearray(1 << 30)))
        if asset == "read":
            return attempt(lambda: open(os.environ["HOME"] + "/../" * 12 + SECRET).read())
        if asset == "stay":
            # a process that leaves its group and its session behind
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            return str(child.pid)
        if asset.startswith("greet "):
            return greet(*asset.split()[1:])
        if asset == "privileges":
            return str(privileges())
        if asset == "files":
            return str(resource.getrlimit(resource.RLIMIT_NOFILE))
        return str(os.getuid())
"#;

struct World {
    folder: tempfile::TempDir,
    _homes: tempfile::TempDir,
    _orchestrator: Process,
    socket: String,
    url: String,
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("models.yml"), "models: []\n").unwrap();
        let [models, submissions] = ["models.yml", "submissions"].map(|name| folder.path().join(name));
        let mut command =
            condor(["orchestrator", "--listen", "127.0.0.1:0", "--deploy-listen", "127.0.0.1:0"]);
        command.arg("--models").arg(models).arg("--submissions").arg(submissions);
        command.args(["--max-memory", "700MiB", "--max-open-files", "100"]);
        // unlike the folder of the data, which is closed
        let homes = tempfile::tempdir().unwrap();
        std::fs::set_permissions(homes.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        command.arg("--submission-homes").arg(homes.path());
        let orchestrator = Process::spawn("orchestrator", command);
        let socket = orchestrator.wait_for_line("listening on ", PATIENCE);
        let url = orchestrator.wait_for_line("deploy API on ", PATIENCE);
        World { folder, _homes: homes, _orchestrator: orchestrator, socket, url }
    }

    fn models(&self, arguments: &[&str]) -> String {
        let key = self.folder.path().join("deploy-key").display().to_string();
        condor_output(["models", "--url", &self.url, "--key-file", &key].iter().chain(arguments))
    }

    fn add(&self, name: &str, code: &str) -> String {
        let folder = self.folder.path().join("mine").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("main.py"), code).unwrap();
        let id = self.models(&["add", &folder.display().to_string(), "--name", name]);
        id.trim().to_owned()
    }

    fn model(&self, id: &str) -> Option<serde_json::Value> {
        json_lines(&self.models(&["list", "--json"])).into_iter().find(|model| model["id"] == id)
    }

    fn status(&self, id: &str) -> String {
        self.model(id).unwrap()["status"].as_str().unwrap().to_owned()
    }

    fn becomes(&self, id: &str, status: &str) {
        eventually(&format!("{id} is {status}"), PATIENCE, || (self.status(id) == status).then_some(()));
    }

    /// Where a running model can be called.
    async fn address(&self, id: &str) -> String {
        let (mut socket, _) = tokio_tungstenite::connect_async(&self.socket).await.unwrap();
        let init = socket.next().await.unwrap().unwrap().into_text().unwrap();
        let init: serde_json::Value = serde_json::from_str(&init).unwrap();
        let model = init["data"].as_array().unwrap().iter().find(|model| model["model_id"] == id).unwrap();
        format!("http://{}:{}", model["ip"].as_str().unwrap(), model["port"])
    }

    async fn ask(&self, id: &str, question: &str) -> String {
        ask(&self.address(id).await, question).await
    }
}

/// The answer of the model at an address.
async fn ask(address: &str, question: &str) -> String {
    let mut client = DynamicSubclassServiceClient::connect(address.to_owned()).await.unwrap();
    let setup = SetupRequest { class_name: "x.TrackerBase".into(), ..Default::default() };
    let status = client.setup(setup).await.unwrap().into_inner().status.unwrap();
    assert_eq!(status.code, "SUCCESS", "{}", status.message);
    let call = CallRequest {
        method_name: "predict".into(),
        method_arguments: vec![
            Value::String(question.into()).to_argument(1),
            Value::Int(3600).to_argument(2),
            Value::Int(60).to_argument(3),
        ],
        ..Default::default()
    };
    let answer = client.call(call).await.unwrap().into_inner();
    let status = answer.status.unwrap();
    assert_eq!(status.code, "SUCCESS", "{}", status.message);
    let value = Value::from_variant(&answer.method_response.unwrap()).unwrap();
    format!("{value:?}")
}

fn is_superuser() -> bool {
    nix::unistd::geteuid().is_root()
}

fn process_state(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    status.rsplit_once(") ").map(|(_, rest)| rest[..1].to_owned())
}

fn port_of(url: &str) -> u16 {
    let authority = url.split('/').nth(2).unwrap();
    authority.rsplit_once(':').unwrap().1.parse().unwrap()
}

fn number_in(answer: &str) -> u32 {
    answer.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_uploaded_limited_apart_stopped_and_started_again() {
    let world = World::start();
    let secret: PathBuf = world.folder.path().join("secret");
    std::fs::write(&secret, "the operator's").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let code = format!("SECRET = {:?}\n{CURIOUS}", secret.display().to_string());
    let (one, two) = (world.add("one", &code), world.add("two", &code));
    for id in [&one, &two] {
        world.becomes(id, "RUNNER_RUNNING");
    }

    assert!(world.ask(&one, "memory").await.contains("MemoryError"));
    assert!(world.ask(&one, "files").await.contains("(100, 100)"));
    let (user_one, user_two) = (world.ask(&one, "user").await, world.ask(&two, "user").await);
    let stays = number_in(&world.ask(&one, "stay").await);
    // elsewhere submissions have the operator's rights, and the start says so
    if is_superuser() {
        assert_ne!(user_one, user_two);
        assert!(number_in(&user_one) > 0);
        assert!(world.ask(&one, "read").await.contains("PermissionError"));
        for (whom, address) in
            [("orchestrator", &world.socket), ("deploy", &world.url), ("rival", &world.address(&two).await)]
        {
            let greeting = format!("greet {whom} {}", port_of(address));
            assert!(world.ask(&one, &greeting).await.contains("refused"), "{whom} at {address}");
        }
    }
    if cfg!(target_os = "linux") {
        assert_eq!(number_in(&world.ask(&one, "privileges").await), 1, "no set-user-id program helps it");
    }

    world.models(&["stop", &one]);
    world.becomes(&one, "RUNNER_STOPPED");
    if is_superuser() {
        let gone = || process_state(stays).is_none_or(|state| state == "Z").then_some(());
        eventually("nothing of the submission is left", PATIENCE, gone);
    }
    assert_eq!(world.status(&two), "RUNNER_RUNNING");
    world.models(&["start", &one]);
    world.becomes(&one, "RUNNER_RUNNING");
    assert!(world.models(&["logs", &two, "--builder", "--from-start"]).len() < 1 << 20);

    world.models(&["update", &two, "--name", "renamed"]);
    assert_eq!(world.model(&two).unwrap()["model_name"], "renamed");
    let deployment = || world.model(&two).unwrap()["deployment_id"].clone();
    let (before, folder) = (deployment(), world.folder.path().join("mine/two").display().to_string());
    world.models(&["update", &two, &folder]);
    assert_ne!(deployment(), before, "new code is a new deployment");
    world.becomes(&two, "RUNNER_RUNNING");
    world.models(&["remove", &two]);
    assert!(world.model(&two).is_none() && world.model(&one).is_some());
}

/// Its native code lets no Python thread run: nothing written in Python can end it.
const BUSY: &str = r#"
import ctypes, os

class Busy:
    def tick(self, prices):
        pass

    def predict(self, asset, horizon, step):
        if asset == "pid":
            return str(os.getpid())
        sleep = ctypes.PyDLL(None).sleep
        open("busy", "w").close()
        sleep(600)
"#;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_takes_a_submission_in_native_code_with_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("main.py"), BUSY).unwrap();
    let submission = folder.path().display().to_string();
    let mut host = Process::start("host", ["model-host", "--submission", &submission]);
    let address = format!("http://{}", host.wait_for_line("listening on ", PATIENCE));
    let pid = number_in(&ask(&address, "pid").await);
    tokio::spawn(async move { ask(&address, "sleep").await });
    eventually("the call is under way", PATIENCE, || folder.path().join("busy").exists().then_some(()));
    host.kill_9();
    let gone = || process_state(pid).is_none_or(|state| state == "Z").then_some(());
    eventually("the submission's process is gone", Duration::from_secs(30), gone);
}

#[test]
fn a_host_with_keys_says_that_its_submission_can_read_them() {
    let (keys, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let authority = Authority::new();
    let node = authority.issue("model-node-7.crunchdao.internal");
    let delegation = Wallet::of_seed(1).sign(&delegation_message(&node.public_key, "7", "hot"));
    write_node(keys.path(), &node, &delegation, &[&node.public_key]);
    std::fs::write(folder.path().join("main.py"), BUSY).unwrap();
    let host = |served: [&str; 2]| {
        let mut command = condor(["model-host", "--tls-dir"]);
        command.arg(keys.path()).args(served);
        let host = Process::spawn("host", command);
        host.wait_for_line("listening on ", PATIENCE);
        host
    };
    let warns = |host: &Process| {
        host.log().iter().any(|line| line.contains("tls.key: whoever has that key")).then_some(())
    };
    let builtin = host(["--builtin", "random-walk"]);
    let submission = host(["--submission", folder.path().to_str().unwrap()]);
    eventually("the warning", PATIENCE, || warns(&submission));
    assert!(warns(&builtin).is_none(), "a built-in model is ours");
}

#[test]
fn a_deploy_api_beyond_this_machine_wants_a_key() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("models.yml"), "models: []\n").unwrap();
    let start = |key: Option<&str>| {
        let mut command = condor(["orchestrator", "--listen", "127.0.0.1:0", "--deploy-listen", "0.0.0.0:0"]);
        command.current_dir(Path::new(folder.path()));
        key.map(|key| command.args(["--deploy-key", key]));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = start(None);
    assert!(code == Some(2) && message.contains("CONDOR_DEPLOY_KEY"), "{message}");
    let (code, message) = start(Some("short"));
    assert!(code == Some(2) && message.contains("at least 16"), "{message}");
}

#[test]
fn models_says_what_is_wrong_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str]| {
        let output = condor(["models"].iter().chain(arguments)).current_dir(folder.path()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let nobody = "http://127.0.0.1:1";
    assert!(fails(&["list", "--url", nobody]).contains("start `condor orchestrator`"));
    assert!(fails(&["add", "nowhere", "--url", nobody]).contains("nowhere"));
    let world = World::start();
    assert!(fails(&["stop", "x", "--url", &world.url]).contains("deploy-key"), "there is no key here");
    assert!(fails(&["logs", "x", "--url", &world.url]).contains("there is no model `x`"));
}
