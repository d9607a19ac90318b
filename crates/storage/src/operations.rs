//! What an operator asks: which workers there are and what they say, which slots were met, how much is to be scored.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::{MissedCause, RoundState, Span, Timestamp, TimestampExt};
use uuid::Uuid;

use crate::Result;

/// How long a worker stays on record that says nothing any more.
pub const FORGOTTEN_AFTER: Span = Span::days(1);

/// What a worker is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the workers' names")]
pub enum WorkerRole {
    Predict,
    Score,
    Report,
}

impl WorkerRole {
    /// Every role, in the order of data.
    pub const ALL: [WorkerRole; 3] = [WorkerRole::Predict, WorkerRole::Score, WorkerRole::Report];

    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkerRole::Predict => "predict",
            WorkerRole::Score => "score",
            WorkerRole::Report => "report",
        }
    }

    /// The role that is stored as `word`.
    pub fn from_word(word: &str) -> std::result::Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == word);
        known.ok_or_else(|| format!("`{word}` is no role of a worker"))
    }
}

/// One start of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerIdentity {
    /// No other start ever has the same.
    pub instance: String,
    /// What it is for.
    pub role: WorkerRole,
    /// The name of its machine.
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// When it was started, by its own clock.
    pub started_at: Timestamp,
}

impl WorkerIdentity {
    /// A new start; its id begins with the number of the process, for people who look for it.
    pub fn new(role: WorkerRole, host: String, version: &str, started_at: Timestamp) -> Self {
        let instance = format!("{}-{}", std::process::id(), Uuid::new_v4().simple());
        WorkerIdentity { instance, role, host, version: version.to_owned(), started_at }
    }
}

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSign {
    /// Which worker.
    pub identity: WorkerIdentity,
    /// The newest migration that its program knows.
    pub schema: i64,
    /// What it does, in a few words.
    pub state: String,
    /// In numbers.
    pub facts: WorkerFacts,
}

/// What workers tell of themselves in numbers; each tells what concerns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerFacts {
    /// Writes that wait for the database.
    pub waiting_writes: Option<u64>,
    /// The size of the journal's files.
    pub journal_bytes: Option<u64>,
    /// Since when the oldest of the waiting writes waits; `None` when none does.
    pub oldest_waiting_at: Option<Timestamp>,
    /// Rounds that could be scored.
    pub due_rounds: Option<u64>,
    /// How long ago the oldest of them resolved, in whole seconds; 0 without any.
    pub scoring_lag_s: Option<u64>,
}

/// A worker as it was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenWorker {
    /// What it said.
    pub sign: WorkerSign,
    /// When, by the clock that judges leases.
    pub seen_at: Timestamp,
    /// How long ago, by the same clock.
    pub silent_for: Duration,
}

/// What became of slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotTally {
    /// Rounds that were asked.
    pub asked: u64,
    /// Those of them that were cut off in flight.
    pub interrupted: u64,
    /// Rounds that were never asked, by why; causes without any are left out.
    pub missed: BTreeMap<MissedCause, u64>,
}

impl SlotTally {
    /// Counts rounds in a state; `reason` is that of missed ones.
    pub fn add(&mut self, state: RoundState, reason: Option<&str>, rounds: u64) {
        match state {
            RoundState::Missed => {
                *self.missed.entry(MissedCause::of(reason.unwrap_or_default())).or_default() += rounds;
            }
            _ => self.asked += rounds,
        }
        if state == RoundState::Interrupted {
            self.interrupted += rounds;
        }
    }
}

/// Rounds that have resolved and are not scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DueRounds {
    /// How many, those whose prices are waited for included.
    pub rounds: u64,
    /// When the first of them resolved.
    pub oldest_resolved_at: Option<Timestamp>,
}

impl DueRounds {
    /// How far scoring is behind at `now`.
    pub fn lag(&self, now: Timestamp) -> Duration {
        self.oldest_resolved_at.map(|oldest| now.since(oldest)).unwrap_or_default()
    }
}

/// What an operator asks. What is said of clocks in [`LeaseRepository`](crate::LeaseRepository) holds here too.
#[async_trait]
pub trait OperationsRepository {
    /// Notes what a worker says, in the place of what it said before. Workers of which nothing was heard for
    /// [`FORGOTTEN_AFTER`] leave.
    async fn note_worker(&self, sign: &WorkerSign, now: Timestamp) -> Result<()>;

    /// Removes a worker that stops.
    async fn forget_worker(&self, instance: &str) -> Result<()>;

    /// Every worker on record, by role, then by when it was started.
    async fn workers(&self, now: Timestamp) -> Result<Vec<SeenWorker>>;

    /// What became of the slots after `after` up to `up_to`.
    async fn slot_tally(&self, after: Timestamp, up_to: Timestamp) -> Result<SlotTally>;

    /// The rounds that have resolved by `now` and are not scored, whoever has claimed them.
    async fn due_rounds(&self, now: Timestamp) -> Result<DueRounds>;
}
