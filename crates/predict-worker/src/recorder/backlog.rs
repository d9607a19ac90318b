//! What waits to be stored, counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Span, Stopwatch, Timestamp, TimestampExt};
use journal::Seq;
use tokio::sync::watch;

use super::Mark;

/// What the recorder's parts share.
#[derive(Default)]
pub struct Backlog {
    depth: AtomicUsize,
    in_memory: AtomicUsize,
    /// In microseconds since the epoch; counts while something waits.
    oldest_at: AtomicI64,
    refused: AtomicU64,
    /// Since the database took something.
    silence: Mutex<Since>,
    /// The database was found slow or away, and has not caught up since.
    pub is_behind: watch::Sender<bool>,
    /// The records of the journal up to here are in the database too.
    pub applied: watch::Sender<Seq>,
    /// Who waits for the marks in the journal.
    marks: Mutex<HashMap<Seq, Mark>>,
    fault: Mutex<Option<JournalFault>>,
}

struct Since(Stopwatch);

impl Default for Since {
    fn default() -> Self {
        Since(Stopwatch::start())
    }
}

/// Why the journal cannot be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFault {
    /// Since when.
    pub since: Timestamp,
    /// The latest reason.
    pub why: String,
}

impl std::fmt::Display for JournalFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.floor_to(Span::seconds(1)).to_utc_string();
        write!(f, "the journal cannot be written: {} (since {since})", self.why)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backlog {
    pub fn note_pushed(&self) {
        self.depth.fetch_add(1, Ordering::Relaxed);
    }

    /// A record is in the database, or will never be.
    pub fn note_done(&self) {
        if self.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.is_behind.send_replace(false);
        }
    }

    /// The database has taken something.
    pub fn note_taken(&self) {
        *lock(&self.silence) = Since::default();
    }

    /// Since the database took something last, or since the start.
    pub fn silence(&self) -> Duration {
        lock(&self.silence).0.elapsed()
    }

    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    pub fn set_in_memory(&self, count: usize) {
        self.in_memory.store(count, Ordering::Relaxed);
    }

    pub fn in_memory(&self) -> usize {
        self.in_memory.load(Ordering::Relaxed)
    }

    /// What is stored next has waited since `at`.
    pub fn note_oldest(&self, at: Timestamp) {
        self.oldest_at.store(at.timestamp_micros(), Ordering::Relaxed);
    }

    pub fn oldest_at(&self) -> Option<Timestamp> {
        let at = Timestamp::from_timestamp_micros(self.oldest_at.load(Ordering::Relaxed));
        at.filter(|_| self.depth() > 0)
    }

    pub fn note_refused(&self, count: u64) {
        self.refused.fetch_add(count, Ordering::Relaxed);
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn await_mark(&self, seq: Seq, mark: Mark) {
        lock(&self.marks).insert(seq, mark);
    }

    pub fn take_mark(&self, seq: Seq) -> Option<Mark> {
        lock(&self.marks).remove(&seq)
    }

    /// The journal could not be written at `now`; true when it could before.
    pub fn note_journal_fault(&self, why: String, now: Timestamp) -> bool {
        let mut fault = lock(&self.fault);
        let since = fault.as_ref().map_or(now, |fault| fault.since);
        fault.replace(JournalFault { since, why }).is_none()
    }

    /// The journal could be written; returns what was wrong before.
    pub fn note_journal_works(&self) -> Option<JournalFault> {
        lock(&self.fault).take()
    }

    pub fn journal_fault(&self) -> Option<JournalFault> {
        lock(&self.fault).clone()
    }

    /// For the reason of missed slots.
    pub fn why_not_journaled(&self) -> String {
        match self.journal_fault() {
            Some(fault) => format!("{fault}, and the database did not take it in time"),
            None => "the journal cannot be written: it does not answer".to_owned(),
        }
    }
}
