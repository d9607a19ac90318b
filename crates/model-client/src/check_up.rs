//! The standard gRPC health check, over a connection of its own, so that a call that hangs does not block it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::timeout;
use tonic::Code;

use crate::address::Address;
use crate::budget::Budget;
use crate::call::{FRAME_HEADER_BYTES, Request};
use crate::guard::Guard;
use crate::outcome::CallOutcome;
use crate::tasks::Tasks;
use crate::transport::{Connection, Fault};

/// An empty message: the health of the node as a whole.
const WHOLE_NODE: Bytes = Bytes::from_static(&[0; FRAME_HEADER_BYTES]);
/// The answer is one number.
const MAX_ANSWER_BYTES: usize = 1024;
/// `SERVING` of `grpc.health.v1`.
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks a node for its health; the error says in words why it is bad. A node without a health service is healthy.
pub(crate) async fn check_up(
    address: &Address,
    patience: Duration,
    guard: &Arc<Guard>,
    budget: &Budget,
    tasks: &Tasks,
) -> Result<(), String> {
    match timeout(patience, ask(address, patience, guard, budget, tasks)).await {
        Ok(Ok(answer)) => read(address, answer),
        Ok(Err(Fault::Refused(status))) if status.code() == Code::Unimplemented => Ok(()),
        Ok(Err(fault)) => {
            let outcome = CallOutcome::of_fault(fault, MAX_ANSWER_BYTES);
            Err(format!("the health check at {address} failed: {}", outcome.cause()))
        }
        Err(_) => Err(format!("no answer to the health check at {address} within {patience:?}")),
    }
}

async fn ask(
    address: &Address,
    patience: Duration,
    guard: &Arc<Guard>,
    budget: &Budget,
    tasks: &Tasks,
) -> Result<Bytes, Fault> {
    let tasks = tasks.branch();
    let _hang_up = tasks.stop_on_drop();
    let request =
        Request { method: "health check", path: "/grpc.health.v1.Health/Check", framed: WHOLE_NODE };
    let mut connection = Connection::open(address, patience, guard, &tasks).await?;
    let answer = connection.unary(address, &request, MAX_ANSWER_BYTES, budget, pending()).await?;
    // there is always one for whoever waits
    Ok(answer.map(|answer| answer.message).unwrap_or_default())
}

fn read(address: &Address, answer: Bytes) -> Result<(), String> {
    match HealthCheckResponse::decode(answer) {
        Ok(response) if response.status == SERVING => Ok(()),
        Ok(response) => Err(format!("the node at {address} is not serving (health {})", response.status)),
        Err(error) => Err(format!("odd answer to the health check at {address}: {error}")),
    }
}
