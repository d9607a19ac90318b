//! How who only reads learns that something was stored, by whatever process.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::{ChangeNumber, Result, RoundRecord, Store};

/// What a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Rounds asked, closed, missed or interrupted.
    Rounds,
    /// Rounds scored, voided or reopened.
    Scores,
    /// The leaderboard and the window scores behind it.
    Leaderboard,
    /// Models announced, deployed or connected.
    Models,
    /// What operators did, and settings that changed.
    Audit,
}

impl Topic {
    /// Every topic, in order.
    pub const ALL: [Topic; 5] =
        [Topic::Rounds, Topic::Scores, Topic::Leaderboard, Topic::Models, Topic::Audit];

    /// The word that databases send.
    pub const fn as_str(self) -> &'static str {
        match self {
            Topic::Rounds => "rounds",
            Topic::Scores => "scores",
            Topic::Leaderboard => "leaderboard",
            Topic::Models => "models",
            Topic::Audit => "audit",
        }
    }

    /// The topic of a word that a database sent.
    pub fn from_word(word: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// Waits for changes.
#[async_trait]
pub trait ChangeWatch: Send {
    /// Waits until something was committed since the call before, within a second of it, and says what may have changed: what it
    /// names need not have, what it does not name has not. The first call returns at once and names everything, and so does
    /// the first after an error, since nobody knows what was missed.
    ///
    /// Fails with [`StorageError::Unavailable`](crate::StorageError::Unavailable) when changes cannot be noticed at the moment; the next call tries anew.
    async fn changed(&mut self) -> Result<BTreeSet<Topic>>;
}

/// What is new.
#[async_trait]
pub trait ChangeSource: Send + Sync {
    /// Begins to wait for changes, with a connection of its own.
    fn watch(&self) -> Box<dyn ChangeWatch>;

    /// The rounds with the latest slots, latest first, at most `limit` of them.
    async fn newest_rounds(&self, limit: usize) -> Result<Vec<RoundRecord>>;

    /// The number of the last change of scores; 0 when there is none.
    async fn last_change(&self) -> Result<ChangeNumber>;

    /// Rounds that were scored, voided or reopened after a change, in the order of their numbers, at most `limit` of them.
    async fn judged_rounds(
        &self,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<(ChangeNumber, RoundRecord)>>;
}

/// What the report worker needs of a database.
pub trait ReportStore: Store + ChangeSource {}

impl<S: Store + ChangeSource> ReportStore for S {}
