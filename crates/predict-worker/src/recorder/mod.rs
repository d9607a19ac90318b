//! Everything that is stored: first in the journal, and from there in order in the database, so that nobody waits for the
//! database and nothing waits for it in memory.
//!
//! The [writer](writer) commits what is handed in to the journal, the [drainer](drainer) brings it into the database;
//! every write is idempotent there, so one whose fate is unknown is simply written again. When the journal cannot be
//! written, the writer stores directly what the database takes.

mod apply;
mod backlog;
mod drainer;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, LedgerEntry, Model, Prediction, Question, RoundId, Timestamp};
use journal::{Journal, Record, Seq};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use backlog::Backlog;
pub use backlog::JournalFault;
use drainer::Drainer;
use writer::Writer;

use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::round::ClosedRound;

/// How long the end of the worker may take to bring into the database what waits for it.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What is logged of missed rounds goes by this name, so that a replay over closed markets can be quiet about them.
pub const MISSED: &str = "missed";

/// One thing to store.
enum Write {
    Record(Pending),
    /// An outcome of a round that is still open.
    Outcome(RoundId, Prediction),
    /// Answered with the place up to which the journal is to be stored, then everything handed in before is.
    Flush(oneshot::Sender<Seq>),
    /// Nothing more is taken.
    End,
}

impl Write {
    fn as_record(&self) -> Option<&Pending> {
        if let Write::Record(pending) = self { Some(pending) } else { None }
    }

    fn as_outcome(&self) -> Option<(RoundId, &Prediction)> {
        if let Write::Outcome(round_id, prediction) = self { Some((*round_id, prediction)) } else { None }
    }
}

/// A record on its way.
struct Pending {
    /// When it was handed in.
    at: Timestamp,
    record: Record,
    /// All outcomes of the round that it closes.
    predictions: Arc<[Prediction]>,
    /// Who waits for its mark.
    mark: Option<Mark>,
}

impl Pending {
    fn of(record: Record, at: Timestamp) -> Self {
        Pending { at, record, predictions: Arc::default(), mark: None }
    }

    /// The slot of the round that it closes.
    fn closed_slot(&self) -> Option<Timestamp> {
        if let Record::Closed { question, .. } = &self.record { Some(question.performed_at) } else { None }
    }

    /// Nobody waits for the mark any more, and the rounds were not asked.
    fn is_withdrawn(&self) -> bool {
        self.mark.as_ref().is_some_and(|mark| !mark.is_safe && mark.news.is_closed())
    }
}

/// Somebody waits for the mark of rounds.
struct Mark {
    news: mpsc::UnboundedSender<MarkNews>,
    /// The mark cannot be lost any more.
    is_safe: bool,
}

enum MarkNews {
    /// The mark is in the journal.
    Safe,
    /// The mark is in the database; these were not on record before.
    Stored(Vec<RoundId>),
    /// The mark is nowhere: another worker leads.
    LeadLost,
}

impl Mark {
    fn note_safe(&mut self) {
        self.is_safe = true;
        // Whoever asked may have gone on without waiting; here and below.
        let _ = self.news.send(MarkNews::Safe);
    }

    fn note_stored(self, fresh: Vec<RoundId>) {
        let _ = self.news.send(MarkNews::Stored(fresh));
    }

    fn note_lead_lost(self) {
        let _ = self.news.send(MarkNews::LeadLost);
    }
}

/// The handle of the recorder. It ends when the last handle is dropped and everything is written.
#[derive(Clone)]
pub struct Recorder {
    writes: mpsc::UnboundedSender<Write>,
    backlog: Arc<Backlog>,
    clock: Arc<dyn Clock>,
    has_journal: bool,
    /// Rounds up to here may be on record of an earlier run.
    newest_slot: Option<Timestamp>,
    metrics: Metrics,
    tasks: TaskTracker,
}

impl Recorder {
    /// Brings into the database what an earlier run left in the journal; waits for the database as long as it takes. Its
    /// rounds in flight are closed with the outcomes that they have.
    pub async fn recover(journal: &Journal, leadership: &Leadership, clock: &Arc<dyn Clock>) {
        let backlog = Arc::new(Backlog::default());
        Drainer::new(journal.clone(), leadership.clone(), backlog).recover(clock.now()).await;
    }

    /// Starts to write what the lead allows, after what was recovered; `newest_slot` is the newest on record. Without a journal
    /// what the database does not take waits in memory.
    pub async fn start(
        leadership: Leadership,
        journal: Option<Journal>,
        clock: Arc<dyn Clock>,
        newest_slot: Option<Timestamp>,
        metrics: Metrics,
    ) -> Self {
        let (writes, queue) = mpsc::unbounded_channel();
        let (commits, committed) = watch::channel(Seq::default());
        let backlog = Arc::new(Backlog::default());
        let has_journal = journal.is_some();
        let tasks = TaskTracker::new();
        if let Some(journal) = &journal {
            let drainer = Drainer::new(journal.clone(), leadership.clone(), Arc::clone(&backlog));
            drainer.count_refused().await;
            tasks.spawn(drainer.run(committed));
        }
        let writer = Writer::new(
            queue,
            leadership,
            journal,
            Arc::clone(&backlog),
            Arc::clone(&clock),
            commits,
            metrics.clone(),
        );
        tasks.spawn(writer.run());
        tasks.close();
        Recorder { writes, backlog, clock, has_journal, newest_slot, metrics, tasks }
    }

    /// Stores prices.
    pub fn prices(&self, entries: Vec<LedgerEntry>) {
        if !entries.is_empty() {
            self.push(self.pending(Record::Prices(entries)));
        }
    }

    /// Stores models.
    pub fn models(&self, models: Vec<Model>) {
        if !models.is_empty() {
            self.push(self.pending(Record::Models(models)));
        }
    }

    /// Marks rounds as asked; those returned may be asked. When the database is away or does not answer within `patience`
    /// all of them may whose mark is in the journal: ids follow from slots, which do not come twice in one run. Then
    /// no mark in the database is waited for until that has caught up. The error says why none may be asked.
    ///
    /// Without a journal memory is all there is: rounds that cannot be on record are asked at once, and go on record when they close.
    pub async fn asked(&self, questions: &[Question], patience: Duration) -> Result<Vec<RoundId>, String> {
        let is_new =
            |question: &&Question| self.newest_slot.is_none_or(|newest| question.performed_at > newest);
        if !self.has_journal && questions.iter().all(|question| is_new(&question)) {
            return Ok(questions.iter().map(|question| question.id).collect());
        }
        let (news, mut mark) = mpsc::unbounded_channel();
        let record = Record::Asked { questions: questions.to_vec(), at: self.clock.now() };
        self.push(Pending { mark: Some(Mark { news, is_safe: false }), ..self.pending(record) });
        let mut is_behind = self.backlog.is_behind.subscribe();
        let mut patience = std::pin::pin!(tokio::time::sleep(patience));
        let mut is_safe = false;
        loop {
            tokio::select! {
                biased;
                news = mark.recv() => match news {
                    Some(MarkNews::Safe) => is_safe = true,
                    Some(MarkNews::Stored(fresh)) => return Ok(fresh),
                    Some(MarkNews::LeadLost) => return Err("another predict worker leads by now".to_owned()),
                    None => break,
                },
                _ = is_behind.wait_for(|is_behind| *is_behind), if is_safe => break,
                () = &mut patience => break,
            }
        }
        if !is_safe {
            return Err(self.backlog.why_not_journaled());
        }
        self.backlog.is_behind.send_replace(true);
        tracing::warn!(
            rounds = questions.len(),
            "the database is slow or away: asking before the mark is in the database"
        );
        Ok(questions.iter().filter(is_new).map(|question| question.id).collect())
    }

    /// Takes an outcome of a round that is still open into the journal.
    pub fn outcome(&self, round_id: RoundId, prediction: &Prediction) {
        if self.has_journal {
            // The recorder outlives its handles.
            let _ = self.writes.send(Write::Outcome(round_id, prediction.clone()));
        }
    }

    /// Stores a closed round.
    pub fn closed(&self, round: &ClosedRound) {
        self.metrics.closed(round.counts());
        let record = Record::Closed { question: round.question.as_ref().clone(), closed_at: round.closed_at };
        self.push(Pending { predictions: Arc::clone(&round.predictions), ..self.pending(record) });
    }

    /// Stores slots that were not asked.
    pub fn missed(&self, questions: Vec<Question>, reason: impl Into<String>) {
        if !questions.is_empty() {
            let reason = reason.into();
            self.metrics.missed(questions.len(), &reason);
            tracing::warn!(target: MISSED, rounds = questions.len(), first = %questions[0], reason, "rounds missed");
            self.push(self.pending(Record::Missed { questions, reason, at: self.clock.now() }));
        }
    }

    /// Resolves when everything handed in before this call is in the database, whatever is handed in after it.
    pub fn flush(&self) -> impl Future<Output = ()> + Send + use<> {
        let (reply, committed) = oneshot::channel();
        // The recorder outlives its handles.
        let _ = self.writes.send(Write::Flush(reply));
        let mut applied = self.backlog.applied.subscribe();
        async move {
            let Ok(end) = committed.await else { return };
            let _ = applied.wait_for(|applied| *applied >= end).await;
        }
    }

    /// Brings what it can into the database in the seconds that a stop may take; the rest stays in the journal.
    pub async fn finish(&self) {
        if tokio::time::timeout(STOP_PATIENCE, self.flush()).await.is_ok() {
            return;
        }
        let (waiting, in_memory) = (self.depth(), self.in_memory());
        if in_memory > 0 {
            let fault = self.backlog.why_not_journaled();
            tracing::error!(
                writes = in_memory,
                fault,
                "NOT STORED: neither the database nor the journal takes them"
            );
        }
        let journaled = waiting.saturating_sub(in_memory);
        tracing::warn!(
            writes = journaled,
            "the database is away: the next start stores what is in the journal"
        );
    }

    /// Takes nothing more, and resolves when nothing is left to be brought into the database.
    pub async fn end(&self) {
        // The recorder outlives its handles.
        let _ = self.writes.send(Write::End);
        self.tasks.wait().await;
    }

    /// How many writes are not in the database yet.
    pub fn depth(&self) -> usize {
        self.backlog.depth()
    }

    /// How many of them are not in the journal either, outcomes of open rounds included.
    pub fn in_memory(&self) -> usize {
        self.backlog.in_memory()
    }

    /// Since when the oldest of them waits.
    pub fn oldest_at(&self) -> Option<Timestamp> {
        self.backlog.oldest_at()
    }

    /// Since the database took something last, or since the start.
    pub fn database_silence(&self) -> Duration {
        self.backlog.silence()
    }

    /// How many records and outcomes the database has refused for good; they are kept in the journal.
    pub fn refused(&self) -> u64 {
        self.backlog.refused()
    }

    /// Why the journal cannot be written, while it cannot.
    pub fn journal_fault(&self) -> Option<JournalFault> {
        self.backlog.journal_fault()
    }

    fn pending(&self, record: Record) -> Pending {
        Pending::of(record, self.clock.now())
    }

    fn push(&self, pending: Pending) {
        self.backlog.note_pushed();
        // The recorder outlives its handles.
        let _ = self.writes.send(Write::Record(pending));
    }
}
