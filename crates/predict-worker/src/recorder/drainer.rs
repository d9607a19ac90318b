//! Brings the journal into the database, record by record in order.

use std::sync::Arc;
use std::time::Duration;

use domain::{Prediction, RoundId, Stopwatch, Timestamp};
use journal::{Entry, Journal, JournalError, Record, Seq};
use storage::{StorageError, Store};
use tokio::sync::watch;

use super::Mark;
use super::apply::apply;
use super::backlog::Backlog;
use crate::leadership::Leadership;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many records are read and removed at once.
const RECORDS_AT_ONCE: u32 = 64;

pub struct Drainer {
    journal: Journal,
    leadership: Leadership,
    store: Arc<dyn Store>,
    backlog: Arc<Backlog>,
    /// The records up to here are in the database, or set aside.
    done: Seq,
    /// Their rounds' outcomes can go.
    closed: Vec<RoundId>,
}

impl Drainer {
    pub fn new(journal: Journal, leadership: Leadership, backlog: Arc<Backlog>) -> Self {
        let store = leadership.store();
        Drainer { journal, leadership, store, backlog, done: Seq::default(), closed: Vec::new() }
    }

    /// Follows what is committed, until the writer has ended and everything is stored.
    pub async fn run(mut self, mut committed: watch::Receiver<Seq>) {
        while committed.changed().await.is_ok() {
            let up_to = *committed.borrow_and_update();
            self.drain(up_to).await;
            if let Err(error) = self.journal.give_room_back().await {
                tracing::warn!(%error, "the journal's free room is not given back");
            }
        }
    }

    /// Stores everything that an earlier run left: its records, then the rounds that it had in flight.
    pub async fn recover(mut self, now: Timestamp) {
        let end = insist("the journal cannot be read", || self.journal.end()).await;
        self.drain(end).await;
        let rounds = insist("the journal cannot be read", || self.journal.rounds()).await;
        for round in &rounds {
            self.close_with_what_it_holds(*round, now).await;
        }
        if end > Seq::default() || !rounds.is_empty() {
            tracing::warn!(
                rounds_in_flight = rounds.len(),
                "stored what an earlier run had left in the journal"
            );
        }
    }

    /// Shows what earlier runs had to set aside.
    pub async fn count_refused(&self) {
        match self.journal.refused().await {
            Ok(0) => {}
            Ok(refused) => {
                tracing::error!(refused, "the journal holds what the database has refused for good");
                self.backlog.note_refused(refused);
            }
            Err(error) => tracing::warn!(%error, "the journal cannot be read"),
        }
    }

    async fn drain(&mut self, up_to: Seq) {
        while self.done < up_to {
            let read = || self.journal.read(self.done, up_to, RECORDS_AT_ONCE);
            let entries = insist("the journal cannot be read", read).await;
            if entries.is_empty() {
                self.note_done(up_to);
            }
            for entry in entries {
                self.backlog.note_oldest(entry.at);
                let seq = entry.seq;
                self.store_entry(entry).await;
                self.note_done(seq);
                self.backlog.note_done();
            }
            self.remove_done().await;
        }
    }

    fn note_done(&mut self, seq: Seq) {
        self.done = seq;
        self.backlog.applied.send_replace(seq);
    }

    async fn store_entry(&mut self, Entry { seq, at, record }: Entry) {
        let record = match record {
            Ok(record) => record,
            Err(error) => return self.set_aside(seq, None, "a record", &error.to_string()).await,
        };
        let round_id = record.closes();
        let outcomes = match round_id {
            Some(round_id) => self.outcomes(round_id).await,
            None => Ok(Vec::new()),
        };
        let predictions = match outcomes {
            Ok(predictions) => predictions,
            Err(why) => return self.set_aside(seq, round_id, record.kind(), &why).await,
        };
        match self.store(seq, at, &record, &predictions).await {
            Ok(()) => self.closed.extend(round_id),
            Err(StorageError::LeaseLost(_)) => self.leave_to_successor(&record),
            Err(error) => self.set_aside(seq, round_id, record.kind(), &error.to_string()).await,
        }
    }

    /// Stores a record, however long the database is away; the error is for good.
    async fn store(
        &self,
        seq: Seq,
        at: Timestamp,
        record: &Record,
        predictions: &[Prediction],
    ) -> Result<(), StorageError> {
        let mut mark = self.backlog.take_mark(seq);
        let what = record.kind();
        let apply = || apply(self.store.as_ref(), record, at, predictions);
        let stored = persist(what, apply, |error, away| {
            // Should the mark be stored and only the answer lost, a second try finds nothing fresh.
            mark = None;
            self.backlog.is_behind.send_replace(true);
            let waiting = self.backlog.depth();
            tracing::warn!(what, %error, waiting, away_s = away.as_secs(), "not stored yet, trying again");
        })
        .await;
        if stored.is_ok() {
            self.backlog.note_taken();
        }
        if let Some(mark) = mark {
            tell(mark, &stored);
        }
        stored.map(drop)
    }

    /// Another worker leads: it writes prices, models and missed slots itself, and rounds need no mark to be closed.
    fn leave_to_successor(&self, record: &Record) {
        tracing::debug!(
            what = record.kind(),
            "not stored: another predict worker leads and writes these itself"
        );
        self.leadership.note_lost();
    }

    /// Of a round of which nobody knows what else it would have held.
    async fn close_with_what_it_holds(&self, round_id: RoundId, now: Timestamp) {
        let closed = match self.outcomes(round_id).await {
            Ok(predictions) => self.close_interrupted(round_id, &predictions, now).await,
            Err(why) => Err(why),
        };
        match closed {
            Ok(()) => {
                if let Err(error) = self.journal.remove(Seq::default(), &[round_id]).await {
                    tracing::warn!(%error, "the journal keeps for now what is stored");
                }
            }
            Err(why) => {
                tracing::error!(round = %round_id, why, "NOT STORED: set aside in the journal");
                insist("the journal cannot be written", || self.journal.set_round_aside(round_id, &why))
                    .await;
            }
        }
    }

    async fn close_interrupted(
        &self,
        round_id: RoundId,
        predictions: &[Prediction],
        now: Timestamp,
    ) -> Result<(), String> {
        let warn = |error: &StorageError, away: Duration| {
            tracing::warn!(round = %round_id, %error, away_s = away.as_secs(), "not stored yet, trying again");
        };
        let look = || self.store.round(round_id);
        let round = persist("a round", look, warn).await.map_err(|error| error.to_string())?;
        let Some(question) = round.map(|round| round.question) else {
            return Err("there is no such round on record".to_owned());
        };
        let close = || self.store.close_round(&question, now, predictions);
        persist("a round in flight", close, warn).await.map_err(|error| error.to_string())
    }

    /// The outcomes of a round; the error says what of them cannot be read.
    async fn outcomes(&self, round_id: RoundId) -> Result<Vec<Prediction>, String> {
        let read = || async {
            match self.journal.outcomes(round_id).await {
                Err(error @ JournalError::Unreadable { .. }) => Ok(Err(error.to_string())),
                outcomes => outcomes.map(Ok),
            }
        };
        insist("the journal cannot be read", read).await
    }

    async fn set_aside(&self, seq: Seq, round: Option<RoundId>, what: &str, why: &str) {
        tracing::error!(
            what,
            why,
            "NOT STORED: set aside in the journal, for the database refuses it for good"
        );
        insist("the journal cannot be written", || self.journal.set_aside(seq, round, why)).await;
        self.backlog.note_refused(1);
    }

    /// What is stored may stay for a while: it is stored once all the same.
    async fn remove_done(&mut self) {
        match self.journal.remove(self.done, &self.closed).await {
            Ok(()) => self.closed.clear(),
            Err(error) => tracing::warn!(%error, "the journal keeps for now what is stored"),
        }
    }
}

fn tell(mark: Mark, stored: &Result<Vec<RoundId>, StorageError>) {
    match stored {
        Ok(fresh) => mark.note_stored(fresh.clone()),
        Err(StorageError::LeaseLost(_)) => mark.note_lead_lost(),
        Err(_) => {}
    }
}

/// Tries until the journal does what it is asked for.
async fn insist<T, F>(fault: &'static str, access: impl Fn() -> F) -> T
where
    F: Future<Output = journal::Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match access().await {
            Ok(value) => return value,
            Err(error) => tracing::error!(%error, "{fault}, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tries until the database has taken it or says that it never will; `note` is told of each failure and since when there
/// are some.
async fn persist<T, F>(
    what: &'static str,
    access: impl Fn() -> F,
    mut note: impl FnMut(&StorageError, Duration),
) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>>,
{
    let away = Stopwatch::start();
    let mut pause = FIRST_PAUSE;
    loop {
        match access().await {
            Err(error) if error.is_transient() => note(&error, away.elapsed()),
            Ok(value) => {
                if pause > FIRST_PAUSE {
                    tracing::info!(what, away_s = away.elapsed().as_secs(), "the database is back");
                }
                return Ok(value);
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
