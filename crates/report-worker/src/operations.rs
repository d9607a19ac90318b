//! What is read of the machinery: the workers, the slots of the last day, what waits to be scored.

use std::sync::{Mutex, PoisonError};

use domain::{Span, Timestamp};
use storage::{DueRounds, SeenWorker, SlotTally};

use crate::source::Source;

/// How far back slots are counted.
pub(crate) const SLOTS_SINCE: Span = Span::hours(24);

/// How the machinery is, as of an instant.
#[derive(Debug, PartialEq)]
pub(crate) struct Operations {
    /// When it was read.
    pub(crate) as_of: Timestamp,
    /// Those that write; this one is not among them.
    pub(crate) workers: Vec<SeenWorker>,
    /// Of the last [`SLOTS_SINCE`].
    pub(crate) slots: SlotTally,
    pub(crate) due: DueRounds,
}

impl Operations {
    pub(crate) async fn read(source: &dyn Source, as_of: Timestamp) -> storage::Result<Self> {
        Ok(Operations {
            as_of,
            workers: source.workers(as_of).await?,
            slots: source.slot_tally(as_of - SLOTS_SINCE, as_of).await?,
            due: source.due_rounds(as_of).await?,
        })
    }
}

/// When the database last told of a change, and whether it can.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<Notice>);

/// As it was last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Notice {
    /// When a change was told last; none since the start.
    pub(crate) told_at: Option<Timestamp>,
    /// False while changes cannot be noticed, and everything is read every second.
    pub(crate) is_told: bool,
}

impl Notices {
    pub(crate) fn told(&self, at: Timestamp) {
        *self.lock() = Notice { told_at: Some(at), is_told: true };
    }

    pub(crate) fn blind(&self) {
        self.lock().is_told = false;
    }

    pub(crate) fn last(&self) -> Notice {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Notice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
