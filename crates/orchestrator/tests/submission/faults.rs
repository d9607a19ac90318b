//! Submissions that misbehave: the host neither hangs nor dies, and says what happened.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::Value;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::host::{BASE_CLASS, Host, json, request};

const WILD: &str = "
import ctypes, fcntl, os, signal, subprocess, sys, threading, time

def answers():
    for fd in range(3, 12):
        try:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY: return fd
        except OSError: pass

def descriptors():
    return [fd for fd in range(3, 12) if os.path.exists(f'/proc/self/fd/{fd}')]

class Wild:
    tick = predict = print
    def __init__(self): self.calls = 0
    def count(self):
        self.calls += 1
        return self.calls
    def evaluate(self, code): return eval(code)
    def execute(self, code): exec(code, globals())
    def hang(self):
        with open('hanging', 'w'): pass
        while not os.path.exists('released'): time.sleep(0.01)
        with open('done', 'w'): pass
    def loop(self):
        while True: pass
";

/// Runs statements in the submission.
fn code(text: &str) -> [Value; 1] {
    [Value::String(text.to_owned())]
}

async fn exists(host: &Host, name: &str) {
    let file = host.folder.join(name);
    let appears = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), appears).await.unwrap();
}

/// A process that has ended, though nobody may have asked how.
async fn is_gone(pid: i64) {
    // the first thread is a zombie before the others have ended
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let stat = format!("/proc/{pid}/stat");
    let is_zombie = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "));
    let lives = || threads() > 1 || threads() == 1 && !is_zombie();
    let ends = async {
        while lives() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ends).await.unwrap();
}

#[tokio::test]
async fn a_method_that_raises_has_failed_with_type_message_and_place_and_the_model_goes_on() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    client.succeed("count", &[]).await;
    let cases = [
        (
            "1/0",
            "ZeroDivisionError: division by zero (main.py, line 19, in evaluate: `def evaluate(self, code): return eval(code)`)",
        ),
        ("sys.exit(3)", "SystemExit: 3"),
        ("(_ for _ in ()).throw(KeyboardInterrupt)", "KeyboardInterrupt"),
        ("(lambda f: f(f))(lambda f: f(f))", "RecursionError"),
        ("type('Mute', (Exception,), {'__str__': lambda self: 1/0})()", "cannot be sent"),
        ("(_ for _ in ()).throw(type('Mute', (BaseException,), {'__str__': lambda self: 1/0}))", "Mute"),
        ("(_ for _ in ()).throw(ValueError('x' * 10**7))", "ValueError: xxx"),
        ("'x' * 10**15", "MemoryError"),
    ];
    for (text, expected) in cases {
        let (status, message) = client.fail("evaluate", &code(text)).await;
        assert_eq!(status, "MODEL_FAILED", "{text}");
        assert!(message.contains(expected), "{text}: {message}");
        assert!(message.len() < 5000, "{text}");
    }
    assert_eq!(client.succeed("count", &[]).await, Value::Int(2), "the same instance");
}

/// The call in progress tells the reason; every call until the next Setup is refused with it.
async fn breaks(text: &str, expected: &str) {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    client.succeed("count", &[]).await;
    let (status, message) = client.fail("execute", &code(text)).await;
    assert_eq!(status, "MODEL_FAILED", "{text}");
    assert!(message.contains(expected), "{text}: {message}");
    for _ in 0..2 {
        let (status, refusal) = client.fail("count", &[]).await;
        assert_eq!(
            (status.as_str(), refusal),
            ("FAILED_PRECONDITION", format!("{message}: send Setup first"))
        );
    }
    client.ready().await;
    assert_eq!(client.succeed("count", &[]).await, Value::Int(1), "a fresh instance");
}

#[tokio::test]
async fn a_process_that_dies_is_told_with_how_it_ended() {
    breaks("ctypes.string_at(0)", "the model's process ended with signal 11 (SIGSEGV)").await;
    breaks("os._exit(7)", "the model's process ended with exit status 7").await;
    breaks("os.kill(os.getpid(), signal.SIGKILL)", "the model's process ended with signal 9 (SIGKILL)").await;
    // descendants that hold every pipe open do not delay the news
    let text = "subprocess.Popen(['sleep', '600'], close_fds=False, pass_fds=descriptors()); os._exit(8)";
    breaks(text, "the model's process ended with exit status 8").await;
}

#[tokio::test]
async fn garbage_in_the_pipe_ends_the_process() {
    let wrote = "the model wrote into the pipe to its host: ";
    breaks("os.write(answers(), b'garbage')", &format!("{wrote}1651663207 bytes were announced")).await;
    let short = "os.write(answers(), bytes([4, 0, 0, 0, 9, 9, 9, 9]))";
    breaks(short, &format!("{wrote}the answer is to request 151587081")).await;
    breaks("os.write(answers(), bytes(8))", &format!("{wrote}the answer is cut short")).await;
}

#[tokio::test]
async fn a_pipe_that_the_submission_closes_ends_the_process() {
    breaks("os.close(answers()); time.sleep(600)", "the model closed the pipe to its host").await;
}

#[tokio::test]
async fn a_fork_that_returns_from_the_method_and_threads_that_stay_do_no_harm() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    for _ in 0..5 {
        let Value::Int(_) = client.succeed("evaluate", &code("os.fork()")).await else { panic!("no pid") };
    }
    client.succeed("execute", &code("threading.Thread(target=time.sleep, args=(600,)).start()")).await;
    client.succeed("execute", &code("subprocess.Popen(['sleep', '600'])")).await;
    assert_eq!(client.succeed("count", &[]).await, Value::Int(1));
}

#[tokio::test]
async fn a_submission_may_print_without_end_and_reads_nothing() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    let flood = "
for _ in range(300): print('spam' * 250_000)
for _ in range(100): os.write(2, b'x' * 1_000_000)
print(sys.stdin.read())";
    client.succeed("execute", &code(flood)).await;
    client.succeed("execute", &code("sys.stdout.close(); sys.stderr.close(); os.closerange(0, 3)")).await;
    assert_eq!(client.succeed("count", &[]).await, Value::Int(1));
    let (status, _) = client.fail("evaluate", &code("1/0")).await;
    assert_eq!(status, "MODEL_FAILED");
}

#[tokio::test]
async fn a_call_past_the_limit_gets_its_process_killed_and_setup_brings_it_back() {
    let host = Host::with_limit(&[("main.py", WILD)], Duration::from_secs(2)).await;
    let mut client = host.ready_client().await;
    let child = "subprocess.Popen(['sleep', '600']).pid";
    let Value::Int(descendant) = client.succeed("evaluate", &code(child)).await else { panic!("no pid") };
    let (status, message) = client.fail("loop", &[]).await;
    let late = "the model did not answer within 2 s and was stopped";
    assert_eq!((status.as_str(), message.as_str()), ("MODEL_FAILED", late));
    is_gone(descendant).await;
    let (status, message) = client.fail("count", &[]).await;
    assert_eq!((status.as_str(), message), ("FAILED_PRECONDITION", format!("{late}: send Setup first")));
    client.ready().await;
    assert_eq!(client.succeed("count", &[]).await, Value::Int(1));
}

#[tokio::test]
async fn a_process_that_dies_between_calls_is_told_by_the_next_one() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    let Value::Int(pid) = client.succeed("evaluate", &code("os.getpid()")).await else { panic!("no pid") };
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    is_gone(pid).await;
    let (status, message) = client.fail("count", &[]).await;
    assert_eq!(status, "FAILED_PRECONDITION");
    assert_eq!(message, "the model's process ended with signal 9 (SIGKILL): send Setup first");

    client.ready().await;
    let Value::Int(pid) = client.succeed("evaluate", &code("os.getpid()")).await else { panic!("no pid") };
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    is_gone(pid).await;
    client.ready().await;
    assert_eq!(client.succeed("count", &[]).await, Value::Int(1), "Setup notices too");
}

/// How a host that was not told to stop has ended.
async fn ended(host: Host) -> String {
    let ended = tokio::time::timeout(Duration::from_secs(20), host.serving).await.unwrap().unwrap();
    ended.unwrap_err().to_string()
}

/// Public coordinators never send a second Setup to the same address.
#[tokio::test]
async fn a_host_that_ends_with_its_model_answers_first_and_says_how_the_model_died() {
    let host = Host::ending_with(WILD).await;
    let mut client = host.ready_client().await;
    client.succeed("count", &[]).await;
    let (status, message) = client.fail("execute", &code("os._exit(7)")).await;
    let died = "the model's process ended with exit status 7";
    assert_eq!((status.as_str(), message.as_str()), ("MODEL_FAILED", died));
    assert_eq!(ended(host).await, died);

    let host = Host::ending_with(WILD).await;
    let mut client = host.ready_client().await;
    let Value::Int(pid) = client.succeed("evaluate", &code("os.getpid()")).await else { panic!("no pid") };
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    is_gone(pid).await;
    assert_eq!(client.fail("count", &[]).await.0, "FAILED_PRECONDITION");
    assert_eq!(ended(host).await, "the model's process ended with signal 9 (SIGKILL)");
}

#[tokio::test]
async fn a_set_up_that_fails_leaves_a_host_that_ends_with_its_model_as_it_is() {
    let host = Host::ending_with("import os\nos._exit(4)").await;
    let mut client = host.client().await;
    for _ in 0..2 {
        let (status, message) = client.set_up(BASE_CLASS).await;
        assert_eq!(
            (status.as_str(), message.as_str()),
            ("SETUP_FAILED", "the model's process ended with exit status 4")
        );
    }
    assert!(!host.serving.is_finished());
}

#[tokio::test]
async fn one_call_at_a_time_also_when_its_caller_has_gone_and_the_health_check_answers_meanwhile() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    let mut first = client.0.clone();
    let hanging = tokio::spawn(async move { first.call(request("hang", &[])).await });
    exists(&host, "hanging").await;
    let busy = client.0.call(request("count", &[])).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted);
    assert!(!busy.message().contains("larger than max"), "that would mean a message over the limit");
    let mut health = HealthClient::new(host.channel().await);
    let checked = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(checked.into_inner().status(), ServingStatus::Serving);

    hanging.abort();
    assert!(hanging.await.unwrap_err().is_cancelled());
    let busy = client.0.call(request("count", &[])).await.unwrap_err();
    assert_eq!(busy.code(), Code::ResourceExhausted, "the call goes on without its caller");
    assert!(!host.folder.join("done").exists());
    std::fs::write(host.folder.join("released"), "").unwrap();
    exists(&host, "done").await;
    let freed = async {
        while client.0.call(request("count", &[])).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
}

#[tokio::test]
async fn a_host_that_stops_takes_a_hanging_submission_with_it() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    let Value::Int(pid) = client.succeed("evaluate", &code("os.getpid()")).await else { panic!("no pid") };
    let hanging = tokio::spawn(async move { client.0.call(request("hang", &[])).await });
    exists(&host, "hanging").await;
    host.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), host.serving).await.unwrap().unwrap().unwrap();
    is_gone(pid).await;
    let stopped = hanging.await.unwrap().unwrap_err();
    assert_eq!(stopped.code(), Code::Unavailable, "not the model's fault: {stopped}");
}

#[tokio::test]
async fn nothing_of_the_operators_environment_reaches_a_submission() {
    let host = Host::of(WILD).await;
    let mut client = host.ready_client().await;
    let names = client.succeed("evaluate", &code("sorted(os.environ)")).await;
    assert_eq!(names, json(r#"["HOME","LANG","PATH","TMPDIR"]"#));
    let places = client.succeed("evaluate", &code("[os.environ['HOME'], os.getcwd(), sys.path[0]]")).await;
    let folder = host.folder.to_str().unwrap();
    assert_eq!(places, json(&format!("[\"{folder}\",\"{folder}\",\"{folder}\"]")));
}
