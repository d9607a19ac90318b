//! Settings of the client.

use std::time::Duration;

use crate::bounds::Bounds;
use crate::health::HealthLimits;
use crate::security::Security;

/// How to follow an orchestrator and call its models.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The orchestrator's WebSocket without the crunch, `ws://HOST:PORT`.
    pub url: String,
    /// The crunch whose models we want.
    pub crunch_id: String,
    /// The longest wait for a connection, to the orchestrator and to each model.
    pub connect_timeout: Duration,
    /// The largest value that a model may answer; what is larger is refused as it arrives.
    pub max_answer_bytes: usize,
    /// How much memory the answers of all models may take, in bytes, while they are read and until their callers are done
    /// with them; what is larger than 16 KiB waits outside until there is room. One half of it is for answers of up to
    /// 256 KiB, the other for larger ones. An answer larger than its whole half is taken alone.
    pub max_buffered_answer_bytes: usize,
    /// Once an answer that is larger than that has room, the rest of it has to be there within this, or it counts as a
    /// bad answer: its room is wanted by others. The line to the nodes should carry all of `max_buffered_answer_bytes` in
    /// that time.
    pub answer_patience: Duration,
    /// Pauses between attempts to reach the orchestrator.
    pub reconnect: Backoff,
    /// How often the orchestrator is pinged; silent for twice as long, its connection counts as lost.
    pub ping_every: Duration,
    /// How models' nodes are connected to.
    pub security: Security,
    /// The largest message of the orchestrator that is taken, in bytes; its `init` has some 400 for each model.
    pub max_message_bytes: usize,
    /// How much is borne from a model.
    pub health: HealthLimits,
    /// Models past those limits are reported to the orchestrator, which stops them. When this is off nothing is sent, and
    /// they stay.
    pub report_failures: bool,
    /// How long each report is held before it counts, so that a fault that hits many models at once, and so is ours, is
    /// recognised before anything is sent.
    pub report_hold: Duration,
    /// So many reports wait for a connection at most; beyond them the oldest are dropped.
    pub max_waiting_reports: usize,
}

/// The default of [`ClusterConfig::max_buffered_answer_bytes`]: what a line of 60 Mbit/s carries in
/// 10 s.
pub const DEFAULT_MAX_BUFFERED_ANSWER_BYTES: usize = 32 * 1024 * 1024;

impl ClusterConfig {
    /// The usual settings: 10 s to connect, answers of 4 MiB, 32 MiB for all that come in at once and 10 s for each, pauses from half a second to half a minute, nodes without
    /// TLS, messages of 128 MiB (room for an `init` of some hundred thousand models), failures reported after 5 s, 1000
    /// waiting reports.
    pub fn new(url: impl Into<String>, crunch_id: impl Into<String>) -> Self {
        ClusterConfig {
            url: url.into(),
            crunch_id: crunch_id.into(),
            connect_timeout: Duration::from_secs(10),
            max_answer_bytes: protocol::DEFAULT_MAX_MESSAGE_BYTES,
            max_buffered_answer_bytes: DEFAULT_MAX_BUFFERED_ANSWER_BYTES,
            answer_patience: Duration::from_secs(10),
            reconnect: Backoff { initial: Duration::from_millis(500), max: Duration::from_secs(30) },
            ping_every: Duration::from_secs(20),
            security: Security::plain(),
            max_message_bytes: 128 * 1024 * 1024,
            health: HealthLimits::default(),
            report_failures: true,
            report_hold: Duration::from_secs(5),
            max_waiting_reports: 1000,
        }
    }

    /// What of it may change while models are called: see [`Cluster::bounds`](crate::Cluster::bounds).
    pub fn bounds(&self) -> Bounds {
        let ClusterConfig { max_answer_bytes, health, report_failures, .. } = *self;
        Bounds { max_answer_bytes, health, report_failures }
    }

    /// What to connect to.
    pub(crate) fn target(&self) -> String {
        format!("{}/{}", self.url.trim_end_matches('/'), self.crunch_id)
    }
}

/// Pauses that double from one attempt to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Backoff {
    /// The pause after `failures` failures in a row (from 1): between half of the full pause and all of it, as `chance`
    /// in [0, 1) says, so that many clients do not come back at the same instant.
    pub(crate) fn pause(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + 0.5 * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread_over_their_second_half() {
        let backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(1) };
        let fulls: Vec<u128> = (1..7).map(|n| backoff.pause(n, 1.0).as_millis()).collect();
        assert_eq!(fulls, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.pause(1, 0.0), Duration::from_millis(50));
        assert_eq!(backoff.pause(u32::MAX, 1.0), Duration::from_secs(1));
    }

    #[test]
    fn the_crunch_is_the_path() {
        assert_eq!(ClusterConfig::new("ws://host:9091/", "condor").target(), "ws://host:9091/condor");
    }
}
