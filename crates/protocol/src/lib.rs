//! What is on the wire between coordinator, orchestrator and models: both ends use this one description.

pub mod cluster;
pub mod status;
mod variant;

pub use variant::{InvalidVariant, Value};

/// Package `commons`: values and statuses.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod commons {
    tonic::include_proto!("commons");
}

/// Package `dynamic_subclass`: the service of a model node.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod dynamic_subclass {
    tonic::include_proto!("dynamic_subclass");
}

/// The full gRPC path of `Setup`.
pub const SETUP_PATH: &str = "/dynamic_subclass.DynamicSubclassService/Setup";
/// The full gRPC path of `Call`.
pub const CALL_PATH: &str = "/dynamic_subclass.DynamicSubclassService/Call";

/// Python nodes and the Python client take at most this much in one message unless set otherwise.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The methods of the game.
pub mod method {
    /// `tick(prices)`: one JSON argument.
    pub const TICK: &str = "tick";
    /// `predict(asset, horizon, step)`.
    pub const PREDICT: &str = "predict";
    /// `predict_all(asset, horizon, steps)`.
    pub const PREDICT_ALL: &str = "predict_all";
}
