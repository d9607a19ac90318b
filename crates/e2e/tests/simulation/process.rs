//! A process that can be killed, in which time stands still until the simulation moves it.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long, in real time, anything may take that needs no simulated time.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// After so many turns of its runtime whatever had come in over a socket has been taken up.
const TURNS: usize = 8;

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Command {
    Run(Job),
    Advance(Duration, mpsc::Sender<()>),
    Turn(mpsc::Sender<()>),
    Die,
}

/// A thread with a runtime of its own. Whatever runs in it ends wherever it is when this is dropped: as with a process that
/// is killed, nothing has a chance to clean up.
pub struct Process {
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    pub fn start() -> Self {
        let (commands, received) = unbounded_channel();
        let thread = std::thread::spawn(move || live(received));
        Process { commands, thread: Some(thread) }
    }

    /// Begins with something.
    pub fn spawn(&self, job: impl Future<Output = ()> + Send + 'static) {
        self.tell(Command::Run(Box::pin(job)));
    }

    /// Does something that needs no simulated time, and waits for it.
    pub fn run<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.spawn(async move {
            let _ = done.send(what.await);
        });
        result.recv_timeout(PATIENCE).expect("done without simulated time")
    }

    /// Moves its time.
    pub fn advance(&self, by: Duration) {
        self.ask(|reply| Command::Advance(by, reply));
    }

    /// Lets it take up what has come in.
    pub fn turn(&self) {
        self.ask(Command::Turn);
    }

    fn ask(&self, command: impl FnOnce(mpsc::Sender<()>) -> Command) {
        let (reply, done) = mpsc::channel();
        self.tell(command(reply));
        done.recv_timeout(PATIENCE).expect("a process that is alive");
    }

    fn tell(&self, command: Command) {
        assert!(self.commands.send(command).is_ok(), "a process that is alive");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Die);
        // A panic in it has been printed, and is felt by whoever waits for it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn live(commands: UnboundedReceiver<Command>) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let held = hold_time(&runtime);
    runtime.block_on(obey(commands));
    drop(held);
    runtime.shutdown_background();
}

/// As long as a thread of the runtime is at work, its time does not run ahead when there is nothing to do: that would be
/// whenever it waits for a database or a socket.
fn hold_time(runtime: &Runtime) -> mpsc::Sender<()> {
    let (held, released) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || released.recv());
    held
}

async fn obey(mut commands: UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Run(job) => drop(tokio::spawn(job)),
            Command::Advance(by, reply) => {
                tokio::time::advance(by).await;
                let _ = reply.send(());
            }
            Command::Turn(reply) => {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                let _ = reply.send(());
            }
            Command::Die => return,
        }
    }
}
