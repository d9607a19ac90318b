//! Writes to the database, in order, and waits for it so that nobody else has to.
//!
//! While the database is away the queue grows in memory and drains in order when it is back; every write is idempotent,
//! so one whose fate is unknown is simply written again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{Clock, LedgerEntry, Model, Question, RoundId, Stopwatch, Timestamp};
use storage::{StorageError, Store};
use tokio::sync::{mpsc, oneshot, watch};

use crate::round::ClosedRound;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is logged of missed rounds goes by this name, so that a replay over closed markets can be quiet about them.
pub const MISSED: &str = "missed";

enum Write {
    Prices(Vec<LedgerEntry>),
    Models(Vec<Model>),
    Asked { questions: Vec<Question>, at: Timestamp, reply: oneshot::Sender<Vec<RoundId>> },
    Closed(ClosedRound),
    Missed { questions: Vec<Question>, reason: String, at: Timestamp },
    Flush(oneshot::Sender<()>),
}

/// The handle of the recorder. It ends when the last handle is dropped and everything is written.
#[derive(Clone)]
pub struct Recorder {
    writes: mpsc::UnboundedSender<Write>,
    backlog: Arc<Backlog>,
    clock: Arc<dyn Clock>,
}

/// What waits to be written.
#[derive(Default)]
struct Backlog {
    depth: AtomicUsize,
    /// The database was found slow or away, and has not caught up since.
    is_behind: watch::Sender<bool>,
}

impl Backlog {
    fn done(&self) {
        if self.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.is_behind.send_replace(false);
        }
    }
}

impl Recorder {
    /// Starts to write to `store`.
    pub fn start(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let (writes, queue) = mpsc::unbounded_channel();
        let backlog = Arc::new(Backlog::default());
        tokio::spawn(write_all(store, queue, Arc::clone(&backlog)));
        Recorder { writes, backlog, clock }
    }

    /// Stores prices.
    pub fn prices(&self, entries: Vec<LedgerEntry>) {
        if !entries.is_empty() {
            self.push(Write::Prices(entries));
        }
    }

    /// Stores models.
    pub fn models(&self, models: Vec<Model>) {
        if !models.is_empty() {
            self.push(Write::Models(models));
        }
    }

    /// Marks rounds as asked; those returned may be asked. When the database is away or does not answer within `patience`
    /// all of them may: the mark is stored later, and ids follow from slots, which do not come twice in one run. Then no
    /// mark is waited for until the database has caught up.
    pub async fn asked(&self, questions: &[Question], patience: Duration) -> Vec<RoundId> {
        let (reply, answer) = oneshot::channel();
        self.push(Write::Asked { questions: questions.to_vec(), at: self.clock.now(), reply });
        let mut is_behind = self.backlog.is_behind.subscribe();
        let fresh = tokio::select! {
            biased;
            fresh = answer => fresh.ok(),
            _ = is_behind.wait_for(|is_behind| *is_behind) => None,
            () = tokio::time::sleep(patience) => None,
        };
        fresh.unwrap_or_else(|| {
            self.backlog.is_behind.send_replace(true);
            tracing::warn!(
                rounds = questions.len(),
                "the database is slow or away: asking before the mark is stored"
            );
            questions.iter().map(|question| question.id).collect()
        })
    }

    /// Stores a closed round.
    pub fn closed(&self, round: ClosedRound) {
        self.push(Write::Closed(round));
    }

    /// Stores slots that were not asked.
    pub fn missed(&self, questions: Vec<Question>, reason: impl Into<String>) {
        if !questions.is_empty() {
            let reason = reason.into();
            tracing::warn!(target: MISSED, rounds = questions.len(), first = %questions[0], reason, "rounds missed");
            self.push(Write::Missed { questions, reason, at: self.clock.now() });
        }
    }

    /// Resolves when everything handed in before is stored.
    pub async fn flush(&self) {
        let (reply, written) = oneshot::channel();
        self.push(Write::Flush(reply));
        // The recorder outlives its handles.
        let _ = written.await;
    }

    /// How many writes wait.
    pub fn depth(&self) -> usize {
        self.backlog.depth.load(Ordering::Relaxed)
    }

    fn push(&self, write: Write) {
        self.backlog.depth.fetch_add(1, Ordering::Relaxed);
        // The recorder outlives its handles.
        let _ = self.writes.send(write);
    }
}

async fn write_all(store: Arc<dyn Store>, mut queue: mpsc::UnboundedReceiver<Write>, backlog: Arc<Backlog>) {
    while let Some(write) = queue.recv().await {
        write_one(store.as_ref(), write, &backlog).await;
        backlog.done();
    }
}

async fn write_one(store: &dyn Store, write: Write, backlog: &Backlog) {
    match write {
        Write::Prices(entries) => persist("prices", backlog, || store.append_prices(&entries)).await,
        Write::Models(models) => persist("models", backlog, || store.save_models(&models)).await,
        Write::Asked { questions, at, reply } => {
            let mark = || store.mark_asked(&questions, at);
            match mark().await {
                // Whoever asked may have gone on without waiting.
                Ok(fresh) => drop(reply.send(fresh)),
                Err(_) => {
                    // Should the mark be stored and only the answer lost, a second try finds nothing fresh.
                    drop(reply);
                    persist("asked rounds", backlog, mark).await;
                }
            }
        }
        Write::Closed(round) => {
            let ClosedRound { question, closed_at, predictions } = round;
            let closed = || store.close_round(&question, closed_at, &predictions);
            persist("a closed round", backlog, closed).await;
        }
        Write::Missed { questions, reason, at } => {
            persist("missed rounds", backlog, || store.record_missed(&questions, &reason, at)).await;
        }
        Write::Flush(reply) => drop(reply.send(())),
    }
}

/// Writes until it succeeds or the database says that it never will.
async fn persist<T, F>(what: &'static str, backlog: &Backlog, write: impl Fn() -> F)
where
    F: Future<Output = Result<T, StorageError>>,
{
    let away = Stopwatch::start();
    let mut pause = FIRST_PAUSE;
    loop {
        match write().await {
            Ok(_) => {
                if pause > FIRST_PAUSE {
                    tracing::info!(what, away_s = away.elapsed().as_secs(), "the database is back");
                }
                return;
            }
            Err(error) if error.is_transient() => {
                backlog.is_behind.send_replace(true);
                let waiting = backlog.depth.load(Ordering::Relaxed);
                tracing::warn!(what, %error, waiting, away_s = away.elapsed().as_secs(), "not stored yet, trying again");
            }
            Err(error) => {
                tracing::error!(what, %error, "NOT STORED: the database refuses this write for good");
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
