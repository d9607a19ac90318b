//! Scores rounds, each as a whole.

use std::num::NonZeroUsize;
use std::sync::Arc;

use domain::{LedgerPosition, ModelId, Question, Timestamp};
use futures::stream::{self, StreamExt, TryStreamExt};
use rayon::ThreadPool;
use scoring::{
    PredictionScore, RoundOutcome, SettledStep, Settlement, StepMean, UnreadableAnswer, score_round,
};
use storage::{Contender, OutdatedRounds, Result, RoundScores, ScoreRecord, StepScore, StorageError, Store};

use crate::corrections;
use crate::holdings::Holdings;
use crate::metrics::Metrics;
use crate::prices::Prices;
use crate::spent::Meter;
use crate::{Progress, ScoreSettings};

/// What is logged of void rounds goes by this name, so that a replay over closed markets can be quiet about them.
pub const VOID: &str = "void";

/// Rounds claimed at once for each thread: few, so that workers share a backlog evenly and one that dies keeps few of them
/// waiting.
const CLAIM: usize = 8;

/// Rounds that one thread takes one after the other, and whose scores are stored together.
const GROUP: usize = 4;

/// Scores in one transaction, unless a single round has more: so many take SQLite's one writer some ten milliseconds.
const SCORES_TOGETHER: usize = 2000;

/// Rounds scored again before new ones have their turn.
const AGAIN: usize = 64;

pub struct Scorer {
    store: Arc<dyn Store>,
    holdings: Arc<Holdings>,
    settings: Arc<ScoreSettings>,
    /// The stamp of its scores.
    rule: String,
    /// Groups of rounds that are worked on side by side: while one waits for the database, another has the processor.
    threads: NonZeroUsize,
    /// Those threads; `None` while they are as many as the process has for such work.
    pool: Option<Arc<ThreadPool>>,
    meter: Arc<Meter>,
    metrics: Metrics,
}

/// What became of a round.
pub enum Verdict {
    /// It has scores.
    Scored(RoundScores),
    /// It cannot be scored, for this reason.
    Void(String),
    /// Its prices are not there yet.
    Waiting,
}

impl Scorer {
    pub fn new(
        store: Arc<dyn Store>,
        holdings: Arc<Holdings>,
        settings: ScoreSettings,
        meter: Arc<Meter>,
    ) -> Self {
        let rule = settings.stamp();
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let (settings, metrics) = (Arc::new(settings), Metrics::default());
        Scorer { store, holdings, settings, rule, threads, pool: None, meter, metrics }
    }

    /// Has `metrics` count what it judges.
    pub fn count_with(&mut self, metrics: Metrics) {
        self.metrics = metrics;
    }

    /// Works with so many threads from now on.
    pub fn limit_threads(&mut self, threads: NonZeroUsize) -> std::io::Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build();
        self.pool = Some(Arc::new(pool.map_err(std::io::Error::other)?));
        self.threads = threads;
        Ok(())
    }

    /// Scores, voids or defers every round that is due and that no other worker has claimed.
    pub async fn score_due(&self, now: Timestamp, progress: &mut Progress) -> Result<()> {
        loop {
            let hold = self.holdings.hold(now);
            let claim = self.store.claim_ready(&hold, self.claim_size());
            let claimed = self.meter.time(|spent| &mut spent.claiming, claim).await?;
            let judged = self.judge_all(&claimed, now).await?;
            self.metrics.judged(&judged);
            *progress += judged;
            if claimed.len() < self.claim_size() {
                return Ok(());
            }
        }
    }

    /// Marks the rounds resolved after `resolved_after` that corrections of prices touch, to be scored again; returns how many.
    pub async fn apply_corrections(&self, resolved_after: Timestamp) -> Result<usize> {
        corrections::apply(self.store.as_ref(), &self.settings.settlement, resolved_after).await
    }

    /// Does the same for some rounds resolved after `resolved_after` that another rule, or a price that was corrected since,
    /// scored or voided, the latest first: so the shortest window is whole again soonest. Returns how many it took.
    pub async fn rescore_some(
        &self,
        resolved_after: Timestamp,
        now: Timestamp,
        progress: &mut Progress,
    ) -> Result<usize> {
        let (mut again, mut taken) = (Progress::default(), 0);
        while taken < AGAIN {
            let hold = self.holdings.hold(now);
            let claim = self.store.claim_outdated(&hold, &self.rule, resolved_after, self.claim_size());
            let claimed = self.meter.time(|spent| &mut spent.claiming, claim).await?;
            let judged = self.judge_all(&claimed, now).await?;
            self.metrics.judged_again(judged.scored + judged.void);
            again += judged;
            taken += claimed.len();
            if claimed.len() < self.claim_size() {
                break;
            }
        }
        progress.rescored += again.scored + again.void;
        progress.waiting += again.waiting;
        Ok(taken)
    }

    /// How many such rounds are left.
    pub async fn outdated(&self, resolved_after: Timestamp, now: Timestamp) -> Result<OutdatedRounds> {
        self.store.outdated_rounds(&self.rule, resolved_after, now).await
    }

    fn claim_size(&self) -> usize {
        CLAIM.saturating_mul(self.threads.get()).min(AGAIN)
    }

    /// Judges rounds in groups, as many at a time as there are threads.
    async fn judge_all(&self, rounds: &[Question], now: Timestamp) -> Result<Progress> {
        if rounds.is_empty() {
            return Ok(Progress::default());
        }
        let read = Prices::read(self.store.as_ref(), &self.settings.settlement, rounds, now);
        let prices = &self.meter.time(|spent| &mut spent.prices, read).await?;
        let groups: Vec<_> = rounds.chunks(GROUP).map(|group| self.judge_group(group, prices, now)).collect();
        let judged = stream::iter(groups).buffer_unordered(self.threads.get());
        judged.try_fold(Progress::default(), async |sum, progress| Ok(sum + progress)).await
    }

    /// Judges rounds, as many at a time as there are threads, and stores nothing. In their order.
    pub async fn judge_only(&self, rounds: &[Question], now: Timestamp) -> Result<Vec<Verdict>> {
        let prices = &Prices::read(self.store.as_ref(), &self.settings.settlement, rounds, now).await?;
        let judged: Vec<_> = rounds.iter().map(|question| self.verdict(question, prices, now)).collect();
        stream::iter(judged).buffered(self.threads.get()).try_collect().await
    }

    /// Judges rounds one after the other and stores their scores together. What is not stored when it ends early is done again
    /// once the claims have run out.
    async fn judge_group(&self, group: &[Question], prices: &Prices<'_>, now: Timestamp) -> Result<Progress> {
        let mut progress = Progress::default();
        let mut scored = Vec::with_capacity(group.len());
        for question in group {
            match self.verdict(question, prices, now).await? {
                Verdict::Scored(scores) => {
                    progress.scored += 1;
                    progress.predictions += scores.scores.len() as u64;
                    scored.push(scores);
                }
                Verdict::Void(reason) => {
                    tracing::warn!(target: VOID, round = %question.id, reason, "void: {question}");
                    let void = self.store.void_round(question.id, &self.rule, prices.up_to(), now, &reason);
                    self.meter.time(|spent| &mut spent.storing, void).await?;
                    progress.void += 1;
                }
                Verdict::Waiting => {
                    let until = now + self.settings.retry_after;
                    let defer = self.store.defer_scoring(question.id, until);
                    self.meter.time(|spent| &mut spent.storing, defer).await?;
                    progress.waiting += 1;
                }
            }
        }
        for together in at_most(SCORES_TOGETHER, &scored) {
            let store = self.store.store_scores_together(together);
            self.meter.time(|spent| &mut spent.storing, store).await?;
        }
        Ok(progress)
    }

    async fn verdict(&self, question: &Question, prices: &Prices<'_>, now: Timestamp) -> Result<Verdict> {
        match self.judge(question, prices, now).await {
            // One unreadable row must not keep the other rounds from their scores.
            Err(error @ StorageError::Corrupt { .. }) => {
                tracing::error!(round = %question.id, %error, "round void: it cannot be read");
                Ok(Verdict::Void(error.to_string()))
            }
            verdict => verdict,
        }
    }

    async fn judge(&self, question: &Question, prices: &Prices<'_>, now: Timestamp) -> Result<Verdict> {
        let settle = self.meter.time(|spent| &mut spent.scoring, prices.settle(question));
        let steps = match settle.await? {
            Settlement::Settled(steps) => steps,
            Settlement::Waiting { .. } => return Ok(Verdict::Waiting),
            Settlement::Void { reason } => return Ok(Verdict::Void(reason)),
        };
        let field = self.meter.time(|spent| &mut spent.loading, self.store.field(question.id)).await?;
        let (round, settings) = (question.clone(), Arc::clone(&self.settings));
        let judged_by = JudgedBy { rule: self.rule.clone(), priced_up_to: prices.up_to(), at: now };
        let pool = self.pool.clone();
        let score = move || score(&round, field, &steps, &settings, judged_by);
        let scoring = tokio::task::spawn_blocking(move || match pool {
            Some(pool) => pool.install(score),
            None => score(),
        });
        let verdict = self.meter.time(|spent| &mut spent.scoring, scoring).await;
        Ok(verdict.unwrap_or_else(|error| {
            // A fault of ours: the round stays closed for a program without it, and the others go on.
            tracing::error!(round = %question.id, %error, "cannot score {question}, putting it off");
            Verdict::Waiting
        }))
    }
}

/// Splits rounds into runs with `limit` scores at most, or one round.
fn at_most(limit: usize, rounds: &[RoundScores]) -> impl Iterator<Item = &[RoundScores]> {
    let mut scores = 0;
    rounds.chunk_by(move |before, next| {
        scores += before.scores.len();
        let fits = scores + next.scores.len() <= limit;
        if !fits {
            scores = 0;
        }
        fits
    })
}

/// What scores say of how they came about.
struct JudgedBy {
    rule: String,
    priced_up_to: LedgerPosition,
    at: Timestamp,
}

fn score(
    question: &Question,
    field: Vec<Contender>,
    steps: &[SettledStep],
    settings: &ScoreSettings,
    judged_by: JudgedBy,
) -> Verdict {
    let answers: Vec<_> = field.iter().map(|contender| contender.answer.as_ref()).collect();
    let outcome = score_round(question, &answers, steps, &settings.scoring);
    to_verdict(outcome, question, field, judged_by)
}

fn to_verdict(
    outcome: RoundOutcome,
    question: &Question,
    field: Vec<Contender>,
    judged_by: JudgedBy,
) -> Verdict {
    match outcome {
        RoundOutcome::Void { reason } => Verdict::Void(reason),
        RoundOutcome::Scored { best, q95, predictions: scores } => {
            let scores = RoundScores {
                round_id: question.id,
                rule: judged_by.rule,
                priced_up_to: judged_by.priced_up_to,
                scored_at: judged_by.at,
                best,
                q95,
                scores: records(question, field, scores),
            };
            // What storage refuses would end the worker, at each start again.
            match scores.check_finite() {
                Ok(()) => Verdict::Scored(scores),
                Err(error) => Verdict::Void(error.to_string()),
            }
        }
    }
}

/// One for each prediction, but for those whose answer cannot be read.
fn records(
    question: &Question,
    field: Vec<Contender>,
    scores: Vec<std::result::Result<PredictionScore, UnreadableAnswer>>,
) -> Vec<ScoreRecord> {
    let record = |(contender, score): (Contender, _)| match score {
        Ok(score) => Some(to_record(contender.model_id, score)),
        Err(error) => {
            tracing::error!(round = %question.id, model = %contender.model_id, %error, "left out of {question}");
            None
        }
    };
    field.into_iter().zip(scores).filter_map(record).collect()
}

fn to_record(model_id: ModelId, score: PredictionScore) -> ScoreRecord {
    let to_step =
        |StepMean { step, mean, increments, left_out }| StepScore { step, mean, increments, left_out };
    ScoreRecord {
        model_id,
        raw: score.raw,
        relative: score.relative,
        failure: score.failure,
        steps: score.steps.into_iter().map(to_step).collect(),
    }
}
