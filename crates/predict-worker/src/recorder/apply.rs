//! One record into the database.

use domain::{Prediction, RoundId, Timestamp};
use journal::Record;
use storage::{Result, Store};

/// Writes a record that was handed in at `at`; of a round that it closes with these outcomes. Returns which rounds were not on
/// record before, when it marks rounds as asked.
pub async fn apply(
    store: &dyn Store,
    record: &Record,
    at: Timestamp,
    predictions: &[Prediction],
) -> Result<Vec<RoundId>> {
    match record {
        Record::Prices(entries) => store.append_prices(entries, at).await?,
        Record::Models(models) => store.save_models(models).await?,
        Record::Asked { questions, at } => return store.mark_asked(questions, *at).await,
        Record::Closed { question, closed_at } => {
            store.close_round(question, *closed_at, predictions).await?;
        }
        Record::Missed { questions, reason, at } => store.record_missed(questions, reason, *at).await?,
    }
    Ok(Vec::new())
}
