//! The WebSocket between orchestrator and coordinator: JSON text messages.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a model stands, as the orchestrator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunState {
    /// It can be called.
    Running,
    /// It was stopped.
    Stopped,
    /// It will be announced as running again.
    Recovering,
}

/// Who is behind a model. Each part may be missing, and names may change at any time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelInfos {
    /// The name that the participant gave.
    pub model_name: Option<String>,
    /// The cruncher's id.
    pub cruncher_id: Option<String>,
    /// The cruncher's name.
    pub cruncher_name: Option<String>,
    /// The cruncher's wallet, base58.
    pub cruncher_wallet_pubkey: Option<String>,
    /// The cruncher's hotkey.
    pub cruncher_hotkey: Option<String>,
}

/// One model in an `init` or `update` message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelState {
    /// New at each start by the orchestrator.
    pub deployment_id: String,
    /// Stable over deployments.
    pub model_id: String,
    /// Where it stands.
    pub state: RunState,
    /// Host name or address of its gRPC server; null or empty unless running.
    #[serde(default)]
    pub ip: Option<String>,
    /// Its port; null or 0 unless running.
    #[serde(default, deserialize_with = "port")]
    pub port: Option<u16>,
    /// Who is behind it.
    #[serde(default)]
    pub infos: Option<ModelInfos>,
    /// It is one of the orchestrator's own, to compare with, and no participant's. Orchestrators that have none leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub baseline: bool,
}

impl ModelState {
    /// Host and port, when both are there.
    pub fn address(&self) -> Option<(&str, u16)> {
        let host = self.ip.as_deref().filter(|ip| !ip.is_empty())?;
        let port = self.port.filter(|port| *port != 0)?;
        Some((host, port))
    }
}

/// A port comes as a number or as digits in a text.
fn port<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    use serde::de::Error;
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => {
            text.parse().map(Some).map_err(|_| Error::custom(format!("`{text}` is no port")))
        }
        Value::Number(number) => {
            let port = number.as_u64().and_then(|n| u16::try_from(n).ok());
            port.map(Some).ok_or_else(|| Error::custom(format!("{number} is no port")))
        }
        other => Err(Error::custom(format!("{other} is no port"))),
    }
}

/// What the orchestrator says. Its models are kept as JSON so that one broken entry never takes the others with it:
/// read each with [`serde_json::from_value`] into a [`ModelState`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterMessage {
    /// `init`, `update`, or something newer.
    pub event: String,
    /// The models concerned.
    #[serde(default)]
    pub data: Vec<Value>,
}

/// The complete list of running models, first on each connection.
pub const INIT: &str = "init";
/// Something changed.
pub const UPDATE: &str = "update";
/// The coordinator wants models stopped.
pub const REPORT_FAILURE: &str = "report_failure";

/// One model that the coordinator reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReport {
    /// Which.
    pub model_id: String,
    /// `BAD_IMPLEMENTATION`, `CONNECTION_FAILED`, `MULTIPLE_FAILED` or `MULTIPLE_TIMEOUT`.
    pub failure_code: String,
    /// In words.
    pub failure_reason: Option<String>,
    /// Where it ran.
    pub ip: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_state_is_read_in_every_form_that_orchestrators_send() {
        let read = |text: &str| serde_json::from_str::<ModelState>(text);
        let state = read(
            r#"{"deployment_id":"d","model_id":"1","state":"RUNNING","ip":"h","port":"7001","infos":null,"new":1}"#,
        )
        .unwrap();
        assert_eq!(state.address(), Some(("h", 7001)));
        let stopped =
            read(r#"{"deployment_id":"d","model_id":"1","state":"STOPPED","ip":"","port":0}"#).unwrap();
        assert_eq!(stopped.address(), None);
        assert!(read(r#"{"deployment_id":"d","model_id":"1","state":"RUNNING","port":70000}"#).is_err());
        assert!(read(r#"{"deployment_id":"d","model_id":"1","state":"ASLEEP"}"#).is_err());
    }
}
