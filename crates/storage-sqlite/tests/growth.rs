//! How large the file becomes.
#![allow(clippy::unwrap_used, reason = "these are tests")]

use domain::{
    CrunchId, LedgerPosition, Method, ModelId, Prediction, PredictionStatus, Question, Span, Target,
    Timestamp, TimestampExt,
};
use storage::{Expiry, Place, Prunable, RetentionRepository, RoundRepository, Store};
use storage_sqlite::SqliteStore;

const MODELS: usize = 100;
const ROUNDS_A_DAY: u32 = 6;

/// So many days are kept.
const KEPT: u32 = 3;

fn day(n: u32) -> Timestamp {
    Timestamp::from_unix_seconds(1_747_699_200).unwrap() + Span::days(n)
}

/// Stores a day of rounds of which nothing is needed, each answer of another size.
async fn fill(store: &SqliteStore, n: u32) {
    for round in 0..ROUNDS_A_DAY {
        let crunch = CrunchId::new("condor").unwrap();
        let (asset, steps) = ("BTC".parse().unwrap(), vec![Span::minutes(5)]);
        let at = day(n) + Span::hours(round);
        let question =
            Question::new(&crunch, asset, Span::HOUR, steps, Method::Predict, Target::LogReturn, at);
        let outcome = |model: usize| Prediction {
            answer: Some(vec![7; 500 + (model + (round + n) as usize * 31) % MODELS * 90].into()),
            reason: None,
            ..Prediction::unanswered(
                ModelId::new(&format!("model-{model:03}")).unwrap(),
                None,
                PredictionStatus::Success,
                "",
            )
        };
        let predictions: Vec<Prediction> = (0..MODELS).map(outcome).collect();
        store.close_round(&question, at, &predictions).await.unwrap();
        store.void_round(question.id, "crps/1", LedgerPosition::START, at, "nobody knows").await.unwrap();
    }
}

async fn prune(store: &SqliteStore, before: Timestamp) -> u64 {
    let expiry = Expiry { before, needed_after: before };
    let (mut rows, mut place) = (0, Place::Start);
    while place != Place::End {
        let portion = store.prune(Prunable::Predictions, &expiry, &place).await.unwrap();
        rows += portion.removed.rows;
        place = portion.next;
    }
    rows
}

#[tokio::test]
async fn the_file_grows_until_the_first_day_leaves_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("condor.db").display());
    let store = SqliteStore::open(&url).await.unwrap();
    store.migrate().await.unwrap();
    let size = async || store.counts(day(0)).await.unwrap().size_bytes;
    let empty = size().await;
    let mut sizes = Vec::new();
    for n in 0..30 {
        fill(&store, n).await;
        sizes.push(size().await - empty);
        if n + 1 > KEPT {
            let gone = prune(&store, day(n + 1 - KEPT)).await;
            assert_eq!(gone, MODELS as u64 * u64::from(ROUNDS_A_DAY), "a day leaves");
        }
    }
    println!("bytes after each day: {sizes:?}");
    // The days that are kept, and the one that comes before the oldest leaves.
    let full = sizes[KEPT as usize];
    assert!(full > 4 * 2_500_000, "{full}");
    let largest = sizes.iter().copied().max().unwrap();
    assert!(largest < full + full / 20, "{largest} after 30 days, {full} when the first day left");
}
