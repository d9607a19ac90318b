//! Models as tasks of this process: for the replay and for tests. They are real gRPC nodes all the same.

use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use domain::ModelId;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Instance, Runner, StartError};
use crate::host::{HostError, NodeSecurity, serve_builtin};
use crate::models_file::ModelProgram;

/// Serves models from tasks of this process, each on a loopback port of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct InProcessRunner;

#[async_trait]
impl Runner for InProcessRunner {
    async fn start(&self, _: &ModelId, program: &ModelProgram) -> Result<Box<dyn Instance>, StartError> {
        let no_port =
            |error: std::io::Error| StartError(format!("cannot listen on a loopback port: {error}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let ModelProgram::Builtin(spec) = program else {
            return Err(StartError("a submission needs a process of its own".to_owned()));
        };
        let shutdown = CancellationToken::new();
        let serving =
            tokio::spawn(serve_builtin(listener, spec.build(), NodeSecurity::plain(), shutdown.clone()));
        Ok(Box::new(Task { address, shutdown, serving }))
    }
}

struct Task {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), HostError>>,
}

#[async_trait]
impl Instance for Task {
    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn ended(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => format!("its task failed: {error}"),
        }
    }

    async fn stop(&mut self) {
        self.shutdown.cancel();
        // a task that was awaited to its end must not be awaited again
        if !self.serving.is_finished() {
            let _ = (&mut self.serving).await;
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
