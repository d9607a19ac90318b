//! The ModelRunner client: who runs where, and one call at a time to each.
//!
//! [`Cluster::start`] follows an orchestrator over its WebSocket and tells of every model that joins, is renamed or
//! leaves. Each running model is a [`ModelNode`] with a connection of its own, so that no model waits for another.
//! What became of a call is a [`CallOutcome`]: a bad model is data, never an error of ours. A model that goes on failing
//! or timing out is left alone for a while, and in the end reported to the orchestrator: see [`HealthLimits`].
//!
//! ```no_run
//! # async fn example() {
//! use std::time::Duration;
//! use model_client::{Cluster, ClusterConfig, ClusterEvent, EncodedCall, EncodedSetup};
//! use protocol::{Value, method};
//!
//! let (cluster, mut events) = Cluster::start(ClusterConfig::new("ws://localhost:9091", "condor"));
//! let setup = EncodedSetup::new("crunch_synth.tracker.TrackerBase");
//! let question = EncodedCall::new(
//!     method::PREDICT,
//!     &[Value::String("BTC".into()), Value::Int(3600), Value::Int(60)],
//! );
//! while let Some(event) = events.recv().await {
//!     if let ClusterEvent::Joined(node) = event {
//!         node.setup(&setup, Duration::from_secs(120)).await;
//!         println!("{}: {:?}", node.model_id(), node.call(&question, Duration::from_secs(60)).await);
//!     }
//! }
//! cluster.shutdown().await;
//! # }
//! ```

mod address;
mod bounds;
mod budget;
mod call;
mod check_up;
mod cluster;
mod config;
mod desk;
mod fuse;
mod guard;
mod health;
mod node;
mod outbox;
mod outcome;
mod reception;
mod roster;
mod security;
mod stream;
mod tasks;
mod transport;

pub use bounds::{Bounds, LiveBounds};
pub use budget::Room;
pub use call::{EncodedCall, EncodedSetup};
pub use cluster::{Cluster, ClusterEvent, Reporting};
pub use config::{Backoff, ClusterConfig, DEFAULT_MAX_BUFFERED_ANSWER_BYTES};
pub use desk::ReportingStatus;
pub use health::{FailureCode, HealthLimits};
pub use node::ModelNode;
pub use node_credentials::{CredentialsError, FileChecks};
pub use outcome::{CallOutcome, Oversized};
pub use security::Security;
