//! What the tests store.

use std::time::Duration;

use domain::{
    Asset, CrunchId, Cruncher, DeploymentId, LedgerEntry, LedgerPosition, Method, Model, ModelId, Prediction,
    PredictionStatus, Price, PricePoint, Question, Span, Target, Timestamp, TimestampExt,
};

use crate::{
    Action, Hold, HolderId, Lease, LeaseName, Order, RoundScores, ScoreRecord, ScoringChange, SettingsNote,
    StepScore, Store,
};

/// Numbers that lose something on the way through text, integers or single precision.
pub(super) const ODD_NUMBERS: [f64; 7] =
    [0.1 + 0.2, 5e-324, 2.225_073_858_507_201e-308, f64::MAX, -0.0, 3.0, 0.123_456_789_012_345_68];

/// Texts that trip over quoting, encoding or size.
pub(super) fn odd_texts() -> Vec<String> {
    vec![
        String::new(),
        "'; DROP TABLE rounds; -- \"$1\" ?1 \\ %s {}".to_owned(),
        "Zürich, 東京, 🦅, \u{202e}, e\u{301}\r\n\t".to_owned(),
        "x".repeat(1024 * 1024),
    ]
}

/// When prices come.
pub(super) const NOTED: Timestamp = Timestamp::UNIX_EPOCH;

/// Where the ledger ends while it does not matter.
pub(super) const UNPRICED: LedgerPosition = LedgerPosition::START;

/// The rule that scores are by.
pub(super) const CRPS: &str = "crps/1";

pub(super) fn start() -> Timestamp {
    Timestamp::from_unix_seconds(1_747_699_200).unwrap()
}

pub(super) fn minute(n: u32) -> Timestamp {
    start() + Span::minutes(n)
}

pub(super) fn asset(name: &str) -> Asset {
    Asset::new(name).unwrap()
}

pub(super) fn model_id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

pub(super) fn entry(position: u64, name: &str, at: Timestamp, price: f64) -> LedgerEntry {
    LedgerEntry {
        position: LedgerPosition(position),
        asset: asset(name),
        point: PricePoint { at, price: Price::new(price).unwrap() },
        source: "recorded".to_owned(),
    }
}

pub(super) fn model(id: &str) -> Model {
    Model {
        id: model_id(id),
        deployment_id: DeploymentId::new("d-1").unwrap(),
        name: Some(format!("the {id}")),
        cruncher: Cruncher { id: Some("7".to_owned()), name: None },
        joined_at: start(),
        last_connected_at: start(),
        is_baseline: false,
    }
}

/// BTC over an hour, asked in this minute.
pub(super) fn question(performed: u32) -> Question {
    question_of("BTC", Span::HOUR, minute(performed))
}

pub(super) fn question_of(name: &str, horizon: Span, performed_at: Timestamp) -> Question {
    Question::new(
        &CrunchId::new("condor").unwrap(),
        asset(name),
        horizon,
        vec![Span::minutes(1), Span::minutes(5)],
        Method::PredictAll,
        Target::LogReturn,
        performed_at,
    )
}

/// Nobody reads these bytes but who made them: any will do.
pub(super) fn answer(model: &str, bytes: impl AsRef<[u8]>) -> Prediction {
    Prediction {
        model_id: model_id(model),
        deployment_id: Some(DeploymentId::new("d-1").unwrap()),
        status: PredictionStatus::Success,
        reason: None,
        answer: Some(bytes.as_ref().into()),
        refused: None,
        received_at: Some(minute(1)),
        took: Some(Duration::from_micros(1_234_567)),
    }
}

pub(super) fn refusal(model: &str, reason: &str, refused: &str) -> Prediction {
    Prediction {
        status: PredictionStatus::Failed,
        reason: Some(reason.to_owned()),
        answer: None,
        refused: Some(refused.to_owned()),
        ..answer(model, "")
    }
}

pub(super) fn absence(model: &str) -> Prediction {
    Prediction::unanswered(model_id(model), None, PredictionStatus::Absent, "it is not running")
}

/// An outcome of every kind, in the order of model ids.
pub(super) fn outcomes() -> Vec<Prediction> {
    vec![
        answer("alpha", "[1]"),
        refusal("beta", "it is no list", "{}"),
        Prediction::unanswered(
            model_id("delta"),
            Some(DeploymentId::new("d-2").unwrap()),
            PredictionStatus::Timeout,
            "no answer within 60 s",
        ),
        absence("gamma"),
    ]
}

pub(super) fn score(model: &str, relative: f64) -> ScoreRecord {
    ScoreRecord {
        model_id: model_id(model),
        raw: Some(1.0 - relative),
        relative,
        failure: None,
        steps: vec![StepScore { step: Span::minutes(1), mean: relative / 3.0, increments: 59, left_out: 1 }],
    }
}

pub(super) fn no_score(model: &str) -> ScoreRecord {
    ScoreRecord { model_id: model_id(model), raw: None, relative: 0.0, failure: None, steps: Vec::new() }
}

/// The scores of `question`, in which `alpha` has `relative`.
pub(super) fn scores(question: &Question, relative: f64) -> RoundScores {
    RoundScores {
        round_id: question.id,
        rule: CRPS.to_owned(),
        priced_up_to: UNPRICED,
        scored_at: question.resolves_at(),
        best: 0.25,
        q95: 0.75,
        scores: vec![score("alpha", relative), no_score("beta"), no_score("delta"), no_score("gamma")],
    }
}

/// Stores closed rounds, all with [`outcomes`].
pub(super) async fn close_all(store: &dyn Store, questions: &[Question]) {
    for question in questions {
        store.close_round(question, question.performed_at, &outcomes()).await.unwrap();
    }
}

pub(super) fn scoring_change(at: u32, rule: &str, settings: &str) -> ScoringChange {
    ScoringChange { at: minute(at), rule: rule.to_owned(), settings: settings.to_owned() }
}

/// Over at once, by any clock.
pub(super) const SHORT: Span = Span::ZERO;

/// Long enough for any test.
pub(super) const LONG: Span = Span::hours(1);

pub(super) fn hold(by: &HolderId, now: Timestamp, lasts: Span) -> Hold {
    Hold { by: by.clone(), now, lasts }
}

/// The rounds that are ready at `now`; nobody has claimed them afterwards.
pub(super) async fn ready(store: &dyn Store, now: Timestamp, limit: usize) -> Vec<Question> {
    let by = HolderId::random();
    let ready = store.claim_ready(&hold(&by, now, LONG), limit).await.unwrap();
    store.release_claims(&by).await.unwrap();
    ready
}

/// The outdated rounds that are ready at `now`; nobody has claimed them afterwards.
pub(super) async fn outdated_at(
    store: &dyn Store,
    rule: &str,
    resolved_after: Timestamp,
    now: Timestamp,
    limit: usize,
) -> Vec<Question> {
    let by = HolderId::random();
    let outdated = store.claim_outdated(&hold(&by, now, LONG), rule, resolved_after, limit).await.unwrap();
    store.release_claims(&by).await.unwrap();
    outdated
}

/// A lease on the ranking.
pub(super) async fn ranking_lease(store: &dyn Store) -> Lease {
    let hold = hold(&HolderId::random(), start(), LONG);
    store.take_lease(LeaseName::Ranking, &hold).await.unwrap().unwrap()
}

pub(super) fn order(at: u32, action: Action) -> Order {
    Order { at: minute(at), by: "ann".to_owned(), action, reason: format!("reason {at}") }
}

/// What somebody sets in this minute.
pub(super) fn note(at: u32, settings: &[(&str, &str)]) -> SettingsNote {
    let text = |text: &str| text.to_owned();
    SettingsNote {
        at: minute(at),
        by: format!("hand {at}"),
        settings: settings.iter().map(|(key, value)| (text(key), text(value))).collect(),
    }
}
