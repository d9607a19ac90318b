//! Rounds, the predictions in them, and their scores.

use std::collections::BTreeMap;
use std::task::Poll;

use async_trait::async_trait;
use domain::{
    AnswerBytes, LedgerPosition, ModelId, Prediction, PredictionStatus, Question, RoundId, RoundState,
    ScoredRound, Span, StatusCounts, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{BY_HAND, ExportedRound, ExportedScore, Result, StorageError, encode_text, storable_text};

/// A round as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundRecord {
    /// What was asked.
    pub question: Question,
    /// Where it stands.
    pub state: RoundState,
    /// Why it is missed, void or interrupted.
    pub reason: Option<String>,
    /// When it was closed, interrupted or found missed.
    pub closed_at: Option<Timestamp>,
    /// When it was scored or voided.
    pub scored_at: Option<Timestamp>,
    /// How its predictions ended.
    pub counts: StatusCounts,
    /// By which rule it was scored or voided: the stamp of its scores, such as `crps/1`.
    pub rule: Option<String>,
    /// The best raw score in it.
    pub best: Option<f64>,
    /// The 95 % quantile of the raw scores over the whole field.
    pub q95: Option<f64>,
    /// Two predict workers asked it, each cut off from the other: the outcomes that were stored first are here.
    pub contested: bool,
    /// The place in the ledger up to which it was priced when it was scored or voided last.
    pub priced_up_to: Option<LedgerPosition>,
    /// The same when it was scored or voided first.
    pub first_priced_up_to: Option<LedgerPosition>,
    /// The place of the last correction of a price that it may be scored by.
    pub corrected_by: Option<LedgerPosition>,
}

impl RoundRecord {
    /// True for a closed round, and for one that was scored or voided by another rule than this or by a price that was
    /// corrected since; never for one that an operator voided, nor by older prices than before.
    pub fn may_be_judged_by(&self, rule: &str, priced_up_to: LedgerPosition) -> bool {
        match self.state {
            RoundState::Closed => true,
            RoundState::Scored | RoundState::Void => {
                let is_outdated = self.rule.as_deref() != Some(rule) || self.awaits_corrected_scores();
                is_outdated && !self.is_void_by_hand() && !self.is_priced_beyond(priced_up_to)
            }
            RoundState::Asked | RoundState::Interrupted | RoundState::Missed => false,
        }
    }

    /// True when a price was corrected after the round was first judged by it.
    pub fn is_corrected(&self) -> bool {
        self.first_priced_up_to.is_some() && self.corrected_by > self.first_priced_up_to
    }

    /// True while a round that was judged is to be judged again, because of such a price.
    pub fn awaits_corrected_scores(&self) -> bool {
        let is_judged =
            matches!(self.state, RoundState::Scored | RoundState::Void) && !self.is_void_by_hand();
        is_judged && self.corrected_by > self.priced_up_to
    }

    fn is_void_by_hand(&self) -> bool {
        self.rule.as_deref() == Some(BY_HAND)
    }

    /// True when it was judged by later prices than those up to this place.
    pub fn is_priced_beyond(&self, priced_up_to: LedgerPosition) -> bool {
        self.priced_up_to > Some(priced_up_to)
    }

    /// True when it was judged by the price at this place, if it needs it.
    pub fn is_priced_with(&self, position: LedgerPosition) -> bool {
        self.priced_up_to >= Some(position)
    }
}

/// One model's part in a round, as far as scores depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Contender {
    /// Who.
    pub model_id: ModelId,
    /// The valid answer; `None` for any other outcome.
    pub answer: Option<AnswerBytes>,
}

/// One model's score over the increments of one step size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepScore {
    /// The step size.
    pub step: Span,
    /// The mean over the increments that counted.
    pub mean: f64,
    /// How many increments counted.
    pub increments: u32,
    /// How many were left out, for every model alike.
    pub left_out: u32,
}

/// One model's score in a round.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRecord {
    /// Who.
    pub model_id: ModelId,
    /// The rule's value, lower is better; `None` without a valid answer.
    pub raw: Option<f64>,
    /// 0 to 1, higher is better; 0 without a valid answer.
    pub relative: f64,
    /// Why a valid answer has no score.
    pub failure: Option<String>,
    /// By step size; empty without a valid answer.
    pub steps: Vec<StepScore>,
}

/// A round's scores, stored as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundScores {
    /// Which round.
    pub round_id: RoundId,
    /// The stamp of the rule and its settings, such as `crps/1`.
    pub rule: String,
    /// They are made from prices up to this place in the ledger, and perhaps later ones.
    pub priced_up_to: LedgerPosition,
    /// When they were computed.
    pub scored_at: Timestamp,
    /// The best raw score.
    pub best: f64,
    /// The 95 % quantile of the raw scores over the whole field.
    pub q95: f64,
    /// One for each prediction of the round, of any status, but for those whose stored answer cannot be read.
    pub scores: Vec<ScoreRecord>,
}

/// A number that no score may be, and whose it is.
#[derive(Debug, thiserror::Error)]
#[error("{what} of round {round_id} is {value}: scores are finite")]
struct NotFinite {
    what: String,
    round_id: RoundId,
    value: f64,
}

impl RoundScores {
    /// Refuses scores that are not finite: the databases disagree on how to keep them, and no rule gives one.
    pub fn check_finite(&self) -> Result<()> {
        let refuse = |what: String, value: f64| {
            StorageError::Refused(Box::new(NotFinite { what, round_id: self.round_id, value }))
        };
        for (what, value) in [("best", self.best), ("q95", self.q95)] {
            if !value.is_finite() {
                return Err(refuse(what.to_owned(), value));
            }
        }
        for score in &self.scores {
            let means = score.steps.iter().map(|step| step.mean);
            let odd = means.chain(score.raw).chain([score.relative]).find(|value| !value.is_finite());
            if let Some(value) = odd {
                return Err(refuse(format!("a score of model {}", score.model_id), value));
            }
        }
        Ok(())
    }

    /// The rounds in the order of their ids, in which they are stored. Refuses scores that are not finite.
    pub fn in_order(rounds: &[RoundScores]) -> Result<Vec<&RoundScores>> {
        rounds.iter().try_for_each(RoundScores::check_finite)?;
        let mut ordered: Vec<&RoundScores> = rounds.iter().collect();
        ordered.sort_by_key(|scores| scores.round_id);
        Ok(ordered)
    }

    /// The scores as they are stored: in the order of model ids, with texts that every database can hold.
    pub fn as_stored(&self) -> Vec<ScoreRecord> {
        let mut scores = self.scores.clone();
        scores.sort_by(|a, b| a.model_id.cmp(&b.model_id));
        for failure in scores.iter_mut().filter_map(|score| score.failure.as_mut()) {
            *failure = storable_text(failure).into_owned();
        }
        scores
    }

    /// True when a scored round has these very scores; when they were computed does not count.
    pub fn are_stored_as(&self, round: &RoundRecord, stored: &[ScoreRecord]) -> bool {
        round.rule.as_deref() == Some(self.rule.as_str())
            && round.best == Some(self.best)
            && round.q95 == Some(self.q95)
            && self.as_stored() == stored
    }
}

/// What becomes of scores that are handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storing {
    /// They are stored.
    All,
    /// They are there already, made from earlier prices: only up to where the ledger agrees is noted.
    Place,
    /// Nothing: the round has them, cannot have any, or was scored by later prices.
    Nothing,
}

impl Storing {
    /// What becomes of these scores of a round; `stored` are the ones that it has, if it is scored.
    pub fn of(scores: &RoundScores, round: &RoundRecord, stored: &[ScoreRecord]) -> Self {
        let has_them = round.state == RoundState::Scored && scores.are_stored_as(round, stored);
        if has_them && round.priced_up_to < Some(scores.priced_up_to) {
            return Storing::Place;
        }
        let is_newer = round.state == RoundState::Scored && !round.is_priced_beyond(scores.priced_up_to);
        let may_change = is_newer || round.may_be_judged_by(&scores.rule, scores.priced_up_to);
        if may_change && !has_them { Storing::All } else { Storing::Nothing }
    }
}

/// The predictions of a round ready for storing: in the order of model ids, of two outcomes of one model the first, and
/// with what was refused packed beforehand, so that no transaction waits for the compression.
pub struct PackedOutcomes<'a> {
    /// In the order of model ids.
    pub outcomes: Vec<PackedOutcome<'a>>,
    /// How they ended.
    pub counts: StatusCounts,
}

/// A prediction with what was refused packed; a valid answer is packed when it is checked.
pub struct PackedOutcome<'a> {
    /// The prediction.
    pub prediction: &'a Prediction,
    /// What is kept of a refused answer.
    pub refused: Option<Vec<u8>>,
}

impl<'a> PackedOutcomes<'a> {
    /// Packs predictions; other tasks run in between, for a thousand refused answers take a while.
    pub async fn pack(predictions: &'a [Prediction]) -> Self {
        const ANSWERS_AT_A_STRETCH: usize = 16;
        let mut by_model = BTreeMap::new();
        for prediction in predictions {
            by_model.entry(&prediction.model_id).or_insert(prediction);
        }
        let counts = by_model.values().map(|prediction| prediction.status).collect();
        let mut outcomes = Vec::with_capacity(by_model.len());
        for prediction in by_model.into_values() {
            if outcomes.len() % ANSWERS_AT_A_STRETCH == ANSWERS_AT_A_STRETCH - 1 {
                let_others_run().await;
            }
            let refused = prediction.refused.as_deref().map(encode_text);
            outcomes.push(PackedOutcome { prediction, refused });
        }
        PackedOutcomes { outcomes, counts }
    }

    /// The models with a valid answer, in order.
    pub fn answered(&self) -> Vec<&'a str> {
        let predictions = self.outcomes.iter().map(|outcome| outcome.prediction);
        let answered = predictions.filter(|prediction| prediction.status == PredictionStatus::Success);
        answered.map(|prediction| prediction.model_id.as_str()).collect()
    }
}

/// Gives the thread back to the runtime once.
async fn let_others_run() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Counts changes of scores, from 1; a later change has the higher number. 0 is before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ChangeNumber(pub i64);

/// A round whose scores are new or were replaced, or that was voided.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreChange {
    /// Its place among the changes.
    pub number: ChangeNumber,
    /// Which round.
    pub round_id: RoundId,
    /// When it resolved.
    pub resolves_at: Timestamp,
    /// The scores; `None` when it is void now, or scored by another rule than was asked for.
    pub scored: Option<ScoredRound>,
    /// It was judged by prices of before a correction that touches it, and is to be scored anew.
    pub awaits_corrected_scores: bool,
}

/// Rounds, the predictions in them, and their scores.
#[async_trait]
pub trait RoundRepository: Sync {
    /// Marks rounds as asked before they are asked. Returns those that were not on record in any state: only they may
    /// be asked.
    async fn mark_asked(&self, questions: &[Question], asked_at: Timestamp) -> Result<Vec<RoundId>>;

    /// Stores all predictions of a round at once and closes it: from `asked`, from `interrupted`, from nothing when the
    /// mark never arrived, or from `missed` when whoever noted it so could not know that it was asked. For a round in any
    /// other state nothing of that changes: the first stored outcome stays. Where one of these predictions came at
    /// another time than the stored one of the same model, two workers have asked: the round is marked as contested.
    /// Also notes for each known model with a valid answer that it answered at `performed_at`.
    async fn close_round(
        &self,
        question: &Question,
        closed_at: Timestamp,
        predictions: &[Prediction],
    ) -> Result<()>;

    /// Records slots that were not asked. A round already on record stays as it is, unless it is marked as asked and nothing
    /// more: a mark may arrive after whoever waited for it gave up and asked nobody.
    async fn record_missed(&self, questions: &[Question], reason: &str, at: Timestamp) -> Result<()>;

    /// Marks every round still `asked` as interrupted at `at`; returns them. Called by the predict worker when it starts.
    async fn interrupt_open_rounds(&self, at: Timestamp, reason: &str) -> Result<Vec<RoundId>>;

    /// Takes every round off record that is still `asked`, as if it had never been, and ends every claim and lease; returns the
    /// rounds. For a replay whose run before was killed: its time stands still while nobody plays, so that what was claimed may
    /// not end by itself.
    async fn withdraw_open_rounds(&self) -> Result<Vec<RoundId>>;

    /// The newest slot on record.
    async fn newest_slot(&self) -> Result<Option<Timestamp>>;

    /// Leaves a round that can be judged alone until `until`, because its prices are not there yet; ends a claim on it.
    async fn defer_scoring(&self, id: RoundId, until: Timestamp) -> Result<()>;

    /// The predictions of a round, in the order of model ids, answers included.
    async fn predictions(&self, id: RoundId) -> Result<Vec<Prediction>>;

    /// What of a round's predictions its scores depend on, in the order of model ids: a fraction of what
    /// [`predictions`](RoundRepository::predictions) reads.
    async fn field(&self, id: RoundId) -> Result<Vec<Contender>>;

    /// Stores the scores of one round: see [`store_scores_together`](RoundRepository::store_scores_together).
    async fn store_scores(&self, scores: &RoundScores) -> Result<()> {
        self.store_scores_together(std::slice::from_ref(scores)).await
    }

    /// Stores the scores of different rounds, all or none, and marks the rounds scored; replaces the scores of rounds scored
    /// before. A round does not change (and has no new [`ChangeNumber`] either) when the same scores are stored again, whenever
    /// they were computed. One that is neither closed nor scored, nor void by another rule or corrected prices, stays as it is,
    /// and so does one that was judged by later prices. Changes are numbered in the order of round ids. Ends a claim on each
    /// round that changes. Scores that are not finite are refused.
    async fn store_scores_together(&self, rounds: &[RoundScores]) -> Result<()>;

    /// Marks a round void by `rule` and the prices up to a place in the ledger: a closed one, or one that was scored or voided
    /// by another rule or by a price that was corrected since, whose scores go. Ends a claim on it.
    async fn void_round(
        &self,
        id: RoundId,
        rule: &str,
        priced_up_to: LedgerPosition,
        at: Timestamp,
        reason: &str,
    ) -> Result<()>;

    /// Up to `limit` changes after `after` to rounds that resolved after `resolved_after`, in the order of their
    /// numbers, with the scores by `rule`. Numbers are given in commit order: none appears later below one that was seen.
    async fn score_changes(
        &self,
        after: ChangeNumber,
        resolved_after: Timestamp,
        rule: &str,
        limit: usize,
    ) -> Result<Vec<ScoreChange>>;

    /// When the earliest of the rounds resolved that resolved after `resolved_after` and whose scores were changed after
    /// `after`.
    async fn earliest_change(
        &self,
        after: ChangeNumber,
        resolved_after: Timestamp,
    ) -> Result<Option<Timestamp>>;

    /// For those of these models with one: when its first scored round asked since it joined resolved. In the order of ids.
    async fn first_scored(&self, models: &[ModelId]) -> Result<Vec<(ModelId, Timestamp)>>;

    /// One round.
    async fn round(&self, id: RoundId) -> Result<Option<RoundRecord>>;

    /// A model's latest scored predictions that resolved after `after`: how many.
    async fn scored_count(&self, model: &ModelId, after: Timestamp) -> Result<u64>;

    /// For exports: rounds with `from <= performed_at < to` and id above `after`, in the order of ids (which is that of
    /// slots), up to `limit`.
    async fn export_rounds(
        &self,
        from: Timestamp,
        to: Timestamp,
        after: Option<RoundId>,
        limit: usize,
    ) -> Result<Vec<ExportedRound>>;

    /// For exports: every score of one round, in the order of model ids.
    async fn export_scores(&self, id: RoundId) -> Result<Vec<ExportedScore>>;
}
