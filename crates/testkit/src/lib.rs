//! Fake models and a fake orchestrator for tests.
//!
//! The fakes are real servers on real ports of the loopback interface. They can be stopped, as a killed process stops, and
//! started again on the same port. Being for tests, they panic when they are used wrongly.
//!
//! ```no_run
//! # async fn example() {
//! use testkit::{Behaviour, FakeModel, FakeOrchestrator};
//!
//! let orchestrator = FakeOrchestrator::start().await;
//! let good = FakeModel::start(Behaviour::answer("[1]")).await;
//! let silent = FakeModel::start(Behaviour::never_answer().only_on("predict")).await;
//! orchestrator.announce([good.running("1", "d1"), silent.running("2", "d2")]);
//! // … a coordinator connects to `orchestrator.url()` …
//! good.received(2).await;
//! assert_eq!(good.methods(), ["Setup", "tick"]);
//! # }
//! ```

mod behaviour;
mod broken_node;
pub mod credentials;
mod delivery;
mod fake_model;
mod fake_orchestrator;
mod fleet;
mod forecast;
mod port;
mod proxy;

pub use behaviour::{Behaviour, Delivery, Reply};
pub use broken_node::{BrokenNode, WireFault};
pub use fake_model::{Answered, FakeModel, FakeTls, Received};
pub use fake_orchestrator::{FakeOrchestrator, recovering, stopped};
pub use fleet::{Fleet, FleetOptions};
pub use forecast::forecast;
pub use proxy::{Line, Proxy};

use std::future::Future;
use std::time::Duration;

/// Waits for something that happens soon when all is well.
///
/// # Panics
/// When it does not happen within ten seconds, naming `what`.
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), happens)
        .await
        .unwrap_or_else(|_| panic!("not within 10 s: {what}"))
}
