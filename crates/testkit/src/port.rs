//! A port of the loopback interface that a fake keeps over its stops and starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One run of a server, from start to stop. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Run {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Run {
    fn begin() -> Self {
        Run { stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a fake's tasks are started on: all of them end with the run.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Scope {
    pub fn spawn(&self, task: impl Future + Send + 'static) {
        let until_stopped = self.stop.clone().run_until_cancelled_owned(async move {
            task.await;
        });
        self.tasks.spawn(until_stopped);
    }
}

/// The port and what runs on it.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    run: Mutex<Option<Run>>,
}

impl Port {
    /// Takes a free port and serves each connection to it.
    pub async fn open<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream, Scope) -> F + Send + 'static,
        F: Future + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let port = Port { address, run: Mutex::new(None) };
        port.run_on(listener, serve);
        port
    }

    /// Serves again after [`Port::close`].
    pub async fn reopen<S, F>(&self, serve: S)
    where
        S: Fn(TcpStream, Scope) -> F + Send + 'static,
        F: Future + Send + 'static,
    {
        assert!(self.run().is_none(), "{} runs already", self.address);
        let listener = TcpListener::bind(self.address).await.expect("the port that it had");
        self.run_on(listener, serve);
    }

    /// Stops at once: nobody listens any more, and every connection is cut.
    pub async fn close(&self) {
        let run = self.run().take();
        if let Some(run) = run {
            run.end().await;
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn run_on<S, F>(&self, listener: TcpListener, serve: S)
    where
        S: Fn(TcpStream, Scope) -> F + Send + 'static,
        F: Future + Send + 'static,
    {
        let run = Run::begin();
        let scope = Scope { stop: run.stop.clone(), tasks: run.tasks.clone() };
        scope.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                scope.spawn(serve(stream, scope.clone()));
            }
        });
        *self.run() = Some(run);
    }

    fn run(&self) -> std::sync::MutexGuard<'_, Option<Run>> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
