//! Commits to the journal what is handed in; when the journal cannot be written, stores it directly.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, ModelId, Prediction, RoundId, Stopwatch, TimestampExt};
use journal::{Journal, JournalError, Record, Seq};
use storage::StorageError;
use tokio::sync::{mpsc, watch};

use super::apply::apply;
use super::backlog::Backlog;
use super::{Pending, Write};
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// Outcomes come in crowds: those of so long are one transaction.
const GATHERING: Duration = Duration::from_millis(20);
/// How long an outcome may take into the journal.
const PROMISED: Duration = Duration::from_millis(100);
/// How often what was not taken is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often it is said again that the journal cannot be written, or is slow.
const REMINDER: Duration = Duration::from_secs(60);

pub struct Writer {
    queue: mpsc::UnboundedReceiver<Write>,
    leadership: Leadership,
    journal: Option<Journal>,
    backlog: Arc<Backlog>,
    clock: Arc<dyn Clock>,
    /// Handed in, and neither in the journal nor in the database.
    held: VecDeque<Write>,
    /// Refused by the database while the journal could not be written; they go there when it can.
    set_aside: Vec<Pending>,
    /// The outcomes of open rounds that are in the journal.
    outcomes: HashMap<RoundId, HashSet<ModelId>>,
    /// The newest record in the journal.
    end: Seq,
    /// Tells the drainer.
    committed: watch::Sender<Seq>,
    since_commit: Stopwatch,
    since_reminder: Stopwatch,
    since_slowness: Option<Stopwatch>,
    metrics: Metrics,
}

impl Writer {
    pub fn new(
        queue: mpsc::UnboundedReceiver<Write>,
        leadership: Leadership,
        journal: Option<Journal>,
        backlog: Arc<Backlog>,
        clock: Arc<dyn Clock>,
        committed: watch::Sender<Seq>,
        metrics: Metrics,
    ) -> Self {
        Writer {
            queue,
            leadership,
            journal,
            backlog,
            clock,
            held: VecDeque::new(),
            set_aside: Vec::new(),
            outcomes: HashMap::new(),
            end: Seq::default(),
            committed,
            since_commit: Stopwatch::start(),
            since_reminder: Stopwatch::start(),
            since_slowness: None,
            metrics,
        }
    }

    /// Ends when nobody is left to hand anything in and everything is taken care of.
    pub async fn run(mut self) {
        while self.receive().await {
            self.backlog.set_in_memory(self.held.len());
            if !self.commit().await {
                self.store_directly().await;
            }
            self.backlog.set_in_memory(self.held.len() + self.set_aside.len());
        }
    }

    /// Waits for something to do; false when there will be nothing more.
    async fn receive(&mut self) -> bool {
        if self.held.is_empty() {
            let Some(write) = self.queue.recv().await else { return false };
            self.hold(write);
            self.gather().await;
        } else if self.queue.is_closed() && self.queue.is_empty() {
            tokio::time::sleep(RETRY_PAUSE).await;
        } else {
            // Whatever comes is tried at once, and what is held with it.
            let _ = tokio::time::timeout(RETRY_PAUSE, async {
                if let Some(write) = self.queue.recv().await {
                    self.hold(write);
                }
            })
            .await;
        }
        while let Ok(write) = self.queue.try_recv() {
            self.hold(write);
        }
        true
    }

    /// Waits for more while there are only outcomes: for anything else somebody may be waiting.
    async fn gather(&mut self) {
        while matches!(self.held.back(), Some(Write::Outcome(..))) {
            let left = GATHERING.saturating_sub(self.since_commit.elapsed());
            match tokio::time::timeout(left, self.queue.recv()).await {
                Ok(Some(write)) => self.hold(write),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn hold(&mut self, mut write: Write) {
        if let Write::End = write {
            return self.queue.close();
        }
        if self.journal.is_none()
            && let Write::Record(Pending { mark: Some(mark), .. }) = &mut write
        {
            // Memory is all there is.
            mark.note_safe();
        }
        self.held.push_back(write);
    }

    /// Commits what is held to the journal; false when that is not possible.
    async fn commit(&mut self) -> bool {
        let Some(journal) = self.journal.clone() else { return false };
        let backlog = &self.backlog;
        self.held.retain(|write| match write {
            Write::Record(pending) if pending.is_withdrawn() => {
                backlog.note_done();
                false
            }
            _ => true,
        });
        let watch = Stopwatch::start();
        let appended = self.append(&journal).await;
        self.note_slowness(watch.elapsed());
        match appended {
            Ok(places) => {
                self.note_committed(places);
                true
            }
            Err(error) => {
                self.note_fault(&error);
                false
            }
        }
    }

    async fn append(&self, journal: &Journal) -> Result<Vec<Seq>, JournalError> {
        let held = self.held.iter().filter_map(Write::as_record);
        let pending: Vec<&Pending> = self.set_aside.iter().chain(held).collect();
        let records: Vec<&Record> = pending.iter().map(|pending| &pending.record).collect();
        let mut outcomes: Vec<(RoundId, &Prediction)> =
            self.held.iter().filter_map(Write::as_outcome).collect();
        let arrived: HashSet<(RoundId, &ModelId)> =
            outcomes.iter().map(|(round_id, it)| (*round_id, &it.model_id)).collect();
        for pending in pending {
            let missing = self.missing_outcomes(pending);
            outcomes.extend(missing.filter(|(round_id, it)| !arrived.contains(&(*round_id, &it.model_id))));
        }
        if records.is_empty() && outcomes.is_empty() {
            return Ok(Vec::new());
        }
        journal.append(self.clock.now(), &records, &outcomes).await
    }

    /// The outcomes of the round that a record closes, but for those that are in the journal.
    fn missing_outcomes<'a>(
        &'a self,
        pending: &'a Pending,
    ) -> impl Iterator<Item = (RoundId, &'a Prediction)> {
        let closes = pending.record.closes();
        let known = closes.and_then(|round_id| self.outcomes.get(&round_id));
        let is_missing = move |it: &&Prediction| known.is_none_or(|known| !known.contains(&it.model_id));
        let outcomes = pending.predictions.iter().filter(is_missing);
        outcomes.filter_map(move |it| closes.map(|round_id| (round_id, it)))
    }

    fn note_committed(&mut self, places: Vec<Seq>) {
        self.since_commit = Stopwatch::start();
        let has_written = !self.held.iter().all(|write| matches!(write, Write::Flush(_)));
        if has_written && let Some(fault) = self.backlog.note_journal_works() {
            tracing::warn!(since = %fault.since, "the journal can be written again");
        }
        let now = self.clock.now();
        let mut places = places.into_iter();
        for (_, place) in self.set_aside.drain(..).zip(&mut places) {
            // To be refused once more, and then kept there.
            self.end = place;
            self.backlog.note_pushed();
        }
        for write in self.held.drain(..) {
            match write {
                Write::Outcome(round_id, prediction) => {
                    self.outcomes.entry(round_id).or_default().insert(prediction.model_id);
                }
                Write::Record(pending) => {
                    let Some(place) = places.next() else { continue };
                    self.end = place;
                    if let Some(slot) = pending.closed_slot() {
                        self.metrics.durable(now.since(slot));
                    }
                    if let Some(round_id) = pending.record.closes() {
                        self.outcomes.remove(&round_id);
                    }
                    if let Some(mut mark) = pending.mark {
                        mark.note_safe();
                        self.backlog.await_mark(place, mark);
                    }
                }
                Write::Flush(reply) => drop(reply.send(self.end)),
                Write::End => {}
            }
        }
        self.committed.send_if_modified(|committed| std::mem::replace(committed, self.end) < self.end);
    }

    /// The disk is too busy, or somebody holds up the file; told now and then.
    fn note_slowness(&mut self, took: Duration) {
        let is_told = self.since_slowness.is_some_and(|since| since.elapsed() < REMINDER);
        if took > PROMISED && !is_told {
            self.since_slowness = Some(Stopwatch::start());
            tracing::warn!(
                took_ms = took.as_millis(),
                "the journal is slow: a kill loses what came meanwhile"
            );
        }
    }

    fn note_fault(&mut self, error: &JournalError) {
        let is_new = self.backlog.note_journal_fault(error.to_string(), self.clock.now());
        if is_new || self.since_reminder.elapsed() >= REMINDER {
            self.since_reminder = Stopwatch::start();
            let since = self.backlog.journal_fault().map(|fault| fault.since.to_utc_string());
            tracing::error!(%error, since, "THE JOURNAL CANNOT BE WRITTEN: a kill loses what is not in the database");
        }
    }

    /// Stores what is held as far as the database takes it, once everything before is stored.
    async fn store_directly(&mut self) {
        // An open round has its outcomes itself, and brings them when it closes.
        self.held.retain(|write| !matches!(write, Write::Outcome(..)));
        if *self.backlog.applied.borrow() < self.end {
            return;
        }
        while let Some(write) = self.held.pop_front() {
            match write {
                Write::Outcome(..) | Write::End => {}
                Write::Flush(reply) => drop(reply.send(self.end)),
                Write::Record(pending) => {
                    if let Some(pending) = self.store_one(pending).await {
                        self.held.push_front(Write::Record(pending));
                        return;
                    }
                }
            }
        }
    }

    /// Stores one record; gives it back when the database is away.
    async fn store_one(&mut self, mut pending: Pending) -> Option<Pending> {
        if pending.is_withdrawn() {
            self.backlog.note_done();
            return None;
        }
        let kind = pending.record.kind();
        let store = self.leadership.store();
        match apply(store.as_ref(), &pending.record, pending.at, &pending.predictions).await {
            Ok(fresh) => {
                self.backlog.note_taken();
                if let Some(slot) = pending.closed_slot() {
                    self.metrics.durable(self.clock.now().since(slot));
                }
                if let Some(mark) = pending.mark {
                    mark.note_stored(fresh);
                }
                if let Some(round_id) = pending.record.closes() {
                    self.forget_outcomes(round_id).await;
                }
            }
            Err(error) if error.is_transient() => {
                self.backlog.is_behind.send_replace(true);
                self.backlog.note_oldest(pending.at);
                let waiting = self.backlog.depth();
                tracing::warn!(what = kind, %error, waiting, "not stored yet, trying again");
                // Should the mark be stored and only the answer lost, a second try finds nothing fresh. A mark that is
                // nowhere is given up, and its rounds are not asked.
                if pending.mark.take().is_none_or(|mark| mark.is_safe) {
                    return Some(pending);
                }
            }
            Err(StorageError::LeaseLost(_)) => {
                tracing::debug!(
                    what = kind,
                    "not stored: another predict worker leads and writes these itself"
                );
                self.leadership.note_lost();
                if let Some(mark) = pending.mark {
                    mark.note_lead_lost();
                }
            }
            Err(error) => {
                tracing::error!(what = kind, %error, "NOT STORED: the database refuses this write for good");
                self.set_aside.extend(self.journal.is_some().then_some(pending));
            }
        }
        self.backlog.note_done();
        None
    }

    /// Those in the journal of a round that is stored now. Should they stay, the next start finds them stored.
    async fn forget_outcomes(&mut self, round_id: RoundId) {
        if self.outcomes.remove(&round_id).is_some()
            && let Some(journal) = &self.journal
            && let Err(error) = journal.remove(Seq::default(), &[round_id]).await
        {
            tracing::debug!(%error, "the journal keeps for now what is stored");
        }
    }
}
