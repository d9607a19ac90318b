//! Rounds, predictions and prices of the database of a test: one round, in which everybody was refused.

use std::time::Duration;

use domain::{
    LedgerPosition, Method, Prediction, PredictionStatus, Price, PriceCorrection, PricePoint, Question,
    RoundId, RoundState, Target,
};
use storage::{
    Deployment, ExportedScore, ModelActivity, ModelOutcome, Outcome, OutcomeFilter, OutcomeScore, Page,
    RoundFilter, RoundRecord, ScoreRecord,
};

use super::*;
use crate::browse::Browse;

/// The id of the round.
pub(super) const ROUND: &str = "0196eafd-7000-8b01-8009-2862c22b03f7";

fn round() -> RoundRecord {
    RoundRecord {
        question: Question {
            id: ROUND.parse().unwrap(),
            asset: asset("BTC"),
            horizon: Span::HOUR,
            steps: vec![Span::minutes(30)],
            method: Method::Predict,
            target: Target::LogReturn,
            performed_at: as_of() - Span::hours(2),
        },
        state: RoundState::Scored,
        reason: None,
        closed_at: Some(as_of()),
        scored_at: Some(as_of()),
        counts: StatusCounts { failed: 1, ..StatusCounts::default() },
        rule: Some("crps/1".to_owned()),
        best: Some(0.5),
        q95: Some(1.5),
        contested: false,
        priced_up_to: Some(LedgerPosition(9)),
        first_priced_up_to: Some(LedgerPosition(9)),
        corrected_by: Some(LedgerPosition(10)),
    }
}

fn prediction(model: &ModelId) -> Prediction {
    Prediction {
        refused: Some("{}".to_owned()),
        received_at: Some(as_of()),
        took: Some(Duration::from_millis(20)),
        ..Prediction::unanswered(model.clone(), None, PredictionStatus::Failed, "it is no list")
    }
}

fn outcome(model: &ModelId) -> Outcome {
    let Prediction { model_id, deployment_id, status, reason, received_at, took, .. } = prediction(model);
    let score = Some(OutcomeScore { raw: None, relative: 0.0, failure: None });
    Outcome { model_id, deployment_id, status, reason, received_at, took, score }
}

/// Of the price at the end of the round, which was scored before.
fn correction() -> PriceCorrection {
    PriceCorrection {
        position: LedgerPosition(10),
        asset: asset("BTC"),
        at: round().question.resolves_at(),
        old: Some(Price::new(100.0).unwrap()),
        new: Price::new(100.5).unwrap(),
        source: "files".to_owned(),
        recorded_at: as_of(),
    }
}

fn close(at: Timestamp) -> PricePoint {
    PricePoint { at, price: Price::new(100.5).unwrap() }
}

#[async_trait]
impl Browse for FakeSource {
    async fn list_rounds(&self, _: &RoundFilter, _: Option<RoundId>, _: usize) -> Result<Page<RoundRecord>> {
        self.read(|_| Page { items: vec![round()], next: Some(round().question.id) })
    }
    async fn round_outcomes(&self, _: RoundId) -> Result<Vec<Outcome>> {
        self.read(|fake| fake.models.iter().map(|model| outcome(&model.id)).collect())
    }
    async fn prediction(&self, _: RoundId, model: &ModelId) -> Result<Option<Prediction>> {
        self.read(|fake| fake.models.iter().find(|known| known.id == *model).map(|_| prediction(model)))
    }
    async fn model_outcomes(
        &self,
        model: &ModelId,
        _: &OutcomeFilter,
        _: Option<RoundId>,
        _: usize,
    ) -> Result<Page<ModelOutcome>> {
        self.read(|_| Page {
            items: vec![ModelOutcome { round: round(), outcome: outcome(model) }],
            next: Some(round().question.id),
        })
    }
    async fn answered_rounds(&self, _: Timestamp, _: Timestamp) -> Result<Vec<RoundId>> {
        self.read(|_| vec![round().question.id])
    }
    async fn activity(&self, rounds: &[RoundId]) -> Result<Vec<ModelActivity>> {
        let counts = StatusCounts { failed: rounds.len() as u64, ..StatusCounts::default() };
        let took = Duration::from_millis(20);
        let activity = |model: &Model| ModelActivity {
            model_id: model.id.clone(),
            counts,
            timed: 1,
            took,
            longest: took,
        };
        self.read(|fake| fake.models.iter().map(activity).collect())
    }
    async fn spaced_closes(
        &self,
        _: &Asset,
        _: Timestamp,
        up_to: Timestamp,
        _: Span,
    ) -> Result<Vec<PricePoint>> {
        self.read(|_| vec![close(up_to)])
    }
    async fn round(&self, id: RoundId) -> Result<Option<RoundRecord>> {
        self.read(|_| Some(round()).filter(|round| round.question.id == id))
    }
    async fn export_scores(&self, id: RoundId) -> Result<Vec<ExportedScore>> {
        let record =
            |model_id| ScoreRecord { model_id, raw: None, relative: 0.0, failure: None, steps: Vec::new() };
        self.read(|fake| {
            fake.models.iter().map(|model| ExportedScore::new(id, record(model.id.clone()))).collect()
        })
    }
    async fn corrections(
        &self,
        _: Option<&Asset>,
        before: Option<LedgerPosition>,
        limit: usize,
    ) -> Result<Vec<PriceCorrection>> {
        let known = if before.is_none() { vec![correction()] } else { Vec::new() };
        self.read(|_| known.into_iter().cycle().take(limit).collect())
    }
    async fn corrected_closes(&self, _: &Asset, _: Timestamp, _: Timestamp) -> Result<Vec<PriceCorrection>> {
        self.read(|_| vec![correction()])
    }
    async fn deployments(
        &self,
        model: &ModelId,
        after: Option<&(Timestamp, DeploymentId)>,
        limit: usize,
    ) -> Result<Vec<Deployment>> {
        let deployment = |model: &Model| Deployment {
            id: model.deployment_id.clone(),
            first_seen_at: model.joined_at,
            last_seen_at: model.last_connected_at,
        };
        let of_model = |fake: &Fake| -> Vec<Deployment> {
            let found = fake.models.iter().filter(|known| known.id == *model && after.is_none());
            found.map(deployment).take(limit).collect()
        };
        self.read(of_model)
    }
    async fn leaderboards(&self, from: Timestamp, to: Timestamp, limit: usize) -> Result<Vec<Leaderboard>> {
        let found = |fake: &Fake| -> Vec<Leaderboard> {
            let all = fake.standings.iter().chain(&fake.earlier);
            let mut newest: Vec<Leaderboard> = all
                .filter(|it| (from..to).contains(&it.as_of))
                .map(|standings| fake.board(standings))
                .take(limit)
                .collect();
            newest.reverse();
            newest
        };
        self.read(found)
    }
    async fn leaderboard_instants(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Timestamp>> {
        let boards = self.leaderboards(from, to, limit).await?;
        Ok(boards.iter().rev().map(|board| board.as_of).collect())
    }
    async fn closes(&self, _: &Asset, after: Timestamp, up_to: Timestamp) -> Result<Vec<PricePoint>> {
        let closes = (1..).map(|minute| after + Span::minutes(minute)).take_while(|&at| at <= up_to);
        self.read(|_| closes.map(close).collect())
    }
    async fn newest_close_at(&self, _: &Asset, up_to: Timestamp) -> Result<Option<Timestamp>> {
        self.read(|_| Some(up_to))
    }
}
