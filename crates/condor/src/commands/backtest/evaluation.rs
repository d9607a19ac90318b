//! What became of a submission's predictions, by asset and horizon.

use std::collections::BTreeMap;

use domain::{Asset, ModelId, Parameter, Prediction, Question, RoundState, Span, StatusCounts, Weights};
use score_worker::ScoreSettings;
use scoring::{Answer, Calibration, Expected, Pit, SettledStep, Settlement, StoredAnswer, UnitCheck};
use serde::Serialize;
use storage::{ExportedRound, ExportedScore, RoundPages, Store};

use super::faults::Faults;
use crate::commands::replay::Plan;
use crate::commands::score::settlement;

/// What became of a submission's predictions.
#[derive(Debug, Default)]
pub struct Evaluation {
    /// By asset and horizon.
    pub cells: BTreeMap<(Asset, Span), Cell>,
    /// Why there was no valid answer.
    pub faults: Faults,
    /// Whether its answers have the unit that was asked for.
    pub units: UnitCheck,
}

/// The rounds of one asset and horizon.
#[derive(Debug, Default)]
pub struct Cell {
    /// How many rounds were scored.
    pub rounds: u64,
    /// How the submission's predictions ended, scored or not.
    pub statuses: StatusCounts,
    /// The submission's raw scores.
    pub raw: Mean,
    /// The PIT values of its moves.
    pub calibration: Calibration,
    /// The relative scores of all models.
    pub relative: BTreeMap<ModelId, Mean>,
    /// The submission beside each other model, over the rounds in which both have a raw score.
    pub beside: BTreeMap<ModelId, Pair>,
}

/// A model's place over all assets and horizons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// From 1; equals share the better one.
    pub rank: usize,
    /// Who.
    pub model_id: ModelId,
    /// 0 to 1, higher is better.
    pub score: f64,
}

/// A running mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// `None` over nothing.
    pub fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

/// Mean raw scores over the same rounds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pair {
    /// The submission's.
    pub own: Mean,
    /// The other model's.
    pub other: Mean,
}

impl Evaluation {
    /// Reads what a replay has stored.
    pub async fn of(
        model: &ModelId,
        store: &dyn Store,
        plan: &Plan,
        settings: &ScoreSettings,
    ) -> anyhow::Result<Self> {
        let reader = Reader { model, store, plan, settings };
        let mut evaluation = Evaluation::default();
        let mut pages = RoundPages::new(store, plan.from, plan.to);
        while let Some(rounds) = pages.next().await? {
            for round in &rounds {
                evaluation.add(round, reader.read(round).await?, model);
            }
        }
        Ok(evaluation)
    }

    /// The PIT values of all assets and horizons.
    pub fn calibration(&self) -> Calibration {
        let mut all = Calibration::default();
        self.cells.values().for_each(|cell| all.merge(&cell.calibration));
        all
    }

    /// All models, best first, by the mean of their scores by asset and horizon, weighted as in the ranking. The windows of a
    /// ranking look back from the end; this is over all that was played.
    pub fn standings(&self, weights: &Weights) -> Vec<Standing> {
        let mut sums: BTreeMap<&ModelId, (f64, f64)> = BTreeMap::new();
        for ((asset, horizon), cell) in &self.cells {
            let weight = weights.of(&Parameter { asset: asset.clone(), horizon: *horizon });
            for (model, score) in cell.relative.iter().filter_map(|(id, mean)| Some((id, mean.value()?))) {
                let (sum, total) = sums.entry(model).or_default();
                *sum += weight * score;
                *total += weight;
            }
        }
        let known = sums.into_iter().filter(|(_, (_, total))| *total > 0.0);
        let scores: Vec<_> = known.map(|(model, (sum, total))| (model, sum / total)).collect();
        let rank = |score: f64| 1 + scores.iter().filter(|(_, other)| *other > score).count();
        let standing = |&(model, score): &(&ModelId, f64)| Standing {
            rank: rank(score),
            model_id: model.clone(),
            score,
        };
        let mut standings: Vec<Standing> = scores.iter().map(standing).collect();
        standings.sort_by_key(|standing| standing.rank);
        standings
    }

    fn add(&mut self, round: &ExportedRound, read: Option<ReadRound>, model: &ModelId) {
        let Some(ReadRound { prediction, scores, moves }) = read else { return };
        let cell = self.cells.entry((round.asset.clone(), round.horizon)).or_default();
        cell.statuses.add(prediction.status, 1);
        if let Some(reason) = &prediction.reason {
            self.faults.add(prediction.status, reason, round);
        }
        cell.add_scores(&scores, model);
        if let Some((answer, steps)) = moves {
            cell.add_moves(&answer, &steps);
            let moves = steps.iter().flat_map(|step| step.increments.iter().flatten());
            if let Some(first) = moves.min_by_key(|increment| increment.from.at) {
                self.units.add(&round.asset, round.target, &answer, first.from.price);
            }
        }
    }
}

impl Cell {
    /// The scores of one round; there are none while it has no score.
    fn add_scores(&mut self, scores: &[ExportedScore], model: &ModelId) {
        let Some(own) = scores.iter().find(|score| score.model_id == *model) else { return };
        self.rounds += 1;
        own.raw.into_iter().for_each(|raw| self.raw.add(raw));
        for score in scores {
            self.relative.entry(score.model_id.clone()).or_default().add(score.relative);
            if let (Some(raw), Some(other), true) = (own.raw, score.raw, score.model_id != *model) {
                let pair = self.beside.entry(score.model_id.clone()).or_default();
                pair.own.add(raw);
                pair.other.add(other);
            }
        }
    }

    fn add_moves(&mut self, answer: &Answer, steps: &[SettledStep]) {
        for settled in steps {
            let answered = answer.steps.iter().find(|answered| answered.step == settled.step);
            let densities = answered.iter().flat_map(|answered| &answered.densities);
            for (density, increment) in densities.zip(&settled.increments) {
                if let Some(increment) = increment {
                    let pit = Pit::of(density, increment.move_);
                    self.calibration.add(pit, increment.from.at, increment.to.at);
                }
            }
        }
    }

    /// The submission's score and its rank among all models by it; equals share the better rank.
    pub fn place(&self, model: &ModelId) -> Option<(f64, usize)> {
        let own = self.relative.get(model)?.value()?;
        let better = self.relative.values().filter_map(|mean| mean.value()).filter(|score| *score > own);
        Some((own, 1 + better.count()))
    }

    /// The other model whose raw scores are best where both have one.
    pub fn best_other(&self) -> Option<(&ModelId, Pair)> {
        let known = self.beside.iter().filter_map(|(id, pair)| Some((id, *pair, pair.other.value()?)));
        known.min_by(|(_, _, a), (_, _, b)| a.total_cmp(b)).map(|(id, pair, _)| (id, pair))
    }
}

/// What is stored of one round.
struct ReadRound {
    prediction: Prediction,
    scores: Vec<ExportedScore>,
    /// The submission's answer and what happened, where both are known.
    moves: Option<(Answer, Vec<SettledStep>)>,
}

struct Reader<'a> {
    model: &'a ModelId,
    store: &'a dyn Store,
    plan: &'a Plan,
    settings: &'a ScoreSettings,
}

impl Reader<'_> {
    /// `None` for a round that did not ask the submission.
    async fn read(&self, round: &ExportedRound) -> anyhow::Result<Option<ReadRound>> {
        let Some(prediction) = self.store.prediction(round.round_id, self.model).await? else {
            return Ok(None);
        };
        if round.state != RoundState::Scored {
            return Ok(Some(ReadRound { prediction, scores: Vec::new(), moves: None }));
        }
        let scores = self.store.export_scores(round.round_id).await?;
        let moves = self.moves(round, &prediction).await?;
        Ok(Some(ReadRound { prediction, scores, moves }))
    }

    async fn moves(
        &self,
        round: &ExportedRound,
        prediction: &Prediction,
    ) -> anyhow::Result<Option<(Answer, Vec<SettledStep>)>> {
        let Some(bytes) = &prediction.answer else { return Ok(None) };
        let question = question(round);
        let answer = bytes.answer(&Expected::from(&question))?;
        let (_, settled) = settlement(&question, self.store, &self.settings.settlement, self.plan.to).await?;
        match settled {
            Settlement::Settled(steps) => Ok(Some((answer, steps))),
            Settlement::Waiting { .. } | Settlement::Void { .. } => Ok(None),
        }
    }
}

fn question(round: &ExportedRound) -> Question {
    Question {
        id: round.round_id,
        asset: round.asset.clone(),
        horizon: round.horizon,
        steps: round.steps.clone(),
        method: round.method,
        target: round.target,
        performed_at: round.performed_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(model: &str, raw: Option<f64>, relative: f64) -> ExportedScore {
        let round_id = "0196eab1-8c00-8f5c-a03c-5f7b2f9d8e21".parse().unwrap();
        let model_id = model.parse().unwrap();
        ExportedScore { round_id, model_id, raw, relative, failure: None, steps: Vec::new() }
    }

    #[test]
    fn models_are_compared_over_the_rounds_in_which_both_have_a_score() {
        let own: ModelId = "own".parse().unwrap();
        let mut cell = Cell::default();
        cell.add_scores(&[score("a", Some(2.0), 0.5), score("own", Some(1.0), 1.0)], &own);
        // the submission has no valid answer in an easy round: that tells against its score and not for its rivals' raw ones
        cell.add_scores(&[score("a", Some(0.1), 1.0), score("own", None, 0.0)], &own);
        cell.add_scores(&[score("a", None, 0.0), score("own", Some(3.0), 1.0)], &own);
        assert_eq!((cell.rounds, cell.raw.value()), (3, Some(2.0)));
        let (rival, pair) = cell.best_other().unwrap();
        assert_eq!((rival.as_str(), pair.own.value(), pair.other.value()), ("a", Some(1.0), Some(2.0)));
        assert_eq!(cell.place(&own), Some((2.0 / 3.0, 1)));
        assert_eq!(cell.place(rival), Some((0.5, 2)));
        assert_eq!(Cell::default().place(&own), None);
    }

    #[test]
    fn a_standing_is_the_weighted_mean_over_assets_and_horizons() {
        let own: ModelId = "own".parse().unwrap();
        let (btc, eth): (Asset, Asset) = ("BTC".parse().unwrap(), "ETH".parse().unwrap());
        let mut evaluation = Evaluation::default();
        for (asset, relative) in [(&btc, 1.0), (&btc, 1.0), (&eth, 0.0)] {
            let cell = evaluation.cells.entry((asset.clone(), Span::HOUR)).or_default();
            cell.add_scores(&[score("a", Some(1.0), 0.6), score("own", Some(1.0), relative)], &own);
        }
        // an asset with few rounds, such as one whose market closes, counts as much as any other
        let order = |weights: &Weights| {
            let standings = evaluation.standings(weights);
            standings.into_iter().map(|it| (it.rank, it.model_id.to_string(), it.score)).collect::<Vec<_>>()
        };
        assert_eq!(order(&Weights::default()), [(1, "a".to_owned(), 0.6), (2, "own".to_owned(), 0.5)]);
        let weights = Weights { assets: [(btc, 3.0)].into(), ..Weights::default() };
        assert_eq!(order(&weights), [(1, "own".to_owned(), 0.75), (2, "a".to_owned(), 0.6)]);
        assert!(Evaluation::default().standings(&weights).is_empty());
    }
}
