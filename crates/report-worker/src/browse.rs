//! What is read anew for each request, because it is asked for by few: rounds, predictions, prices, what was before.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Asset, DeploymentId, Leaderboard, LedgerPosition, ModelId, Prediction, PriceCorrection, PricePoint,
    RoundId, Span, Timestamp,
};
use storage::{
    BrowseRepository, CorrectionRepository, Deployment, ExportedScore, ModelActivity, ModelOutcome,
    ModelRepository, Outcome, OutcomeFilter, Page, PriceRepository, Result, RoundFilter, RoundRecord,
    RoundRepository, StandingsRepository, Store,
};
use tokio::time::timeout;

use crate::cache::Unavailable;
use crate::problem::Problem;
use crate::source::Source;

/// How long one reading may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// States a reading side of a [`Store`], and that every store has it.
macro_rules! reads {
    ($($repository:ident { $($method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* })*) => {
        /// The part of a [`Store`] that is about rounds, the predictions in them, prices, and what was before.
        #[async_trait]
        pub(crate) trait Browse: Send + Sync {
            $($(async fn $method(&self, $($argument: $type),*) -> Result<$output>;)*)*
        }

        #[async_trait]
        impl Browse for Arc<dyn Store> {
            $($(
                async fn $method(&self, $($argument: $type),*) -> Result<$output> {
                    $repository::$method(&**self, $($argument),*).await
                }
            )*)*
        }
    };
}

reads! {
    BrowseRepository {
        list_rounds(filter: &RoundFilter, before: Option<RoundId>, limit: usize) -> Page<RoundRecord>;
        round_outcomes(id: RoundId) -> Vec<Outcome>;
        prediction(id: RoundId, model: &ModelId) -> Option<Prediction>;
        model_outcomes(model: &ModelId, filter: &OutcomeFilter, before: Option<RoundId>, limit: usize) -> Page<ModelOutcome>;
        answered_rounds(from: Timestamp, to: Timestamp) -> Vec<RoundId>;
        activity(rounds: &[RoundId]) -> Vec<ModelActivity>;
        spaced_closes(asset: &Asset, after: Timestamp, up_to: Timestamp, spacing: Span) -> Vec<PricePoint>;
    }
    RoundRepository {
        round(id: RoundId) -> Option<RoundRecord>;
        export_scores(id: RoundId) -> Vec<ExportedScore>;
    }
    ModelRepository {
        deployments(model: &ModelId, after: Option<&(Timestamp, DeploymentId)>, limit: usize) -> Vec<Deployment>;
    }
    StandingsRepository {
        leaderboards(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Leaderboard>;
        leaderboard_instants(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Timestamp>;
    }
    PriceRepository {
        closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PricePoint>;
        newest_close_at(asset: &Asset, up_to: Timestamp) -> Option<Timestamp>;
    }
    CorrectionRepository {
        corrections(asset: Option<&Asset>, before: Option<LedgerPosition>, limit: usize) -> Vec<PriceCorrection>;
        corrected_closes(asset: &Asset, after: Timestamp, up_to: Timestamp) -> Vec<PriceCorrection>;
    }
}

/// Reads something once; what goes wrong is a problem for whoever asked.
pub(crate) async fn read<'s, T, F>(
    source: &'s dyn Source,
    read: impl FnOnce(&'s dyn Source) -> F,
) -> std::result::Result<T, Problem>
where
    F: Future<Output = Result<T>>,
{
    match timeout(PATIENCE, read(source)).await {
        Ok(Ok(value)) => Ok(value),
        // Whoever reads what is kept says in the log that the database is away; once, not at every request.
        Ok(Err(error)) if error.is_transient() => Err(Unavailable.into()),
        Ok(Err(error)) => {
            tracing::error!(%error, "report worker: a request failed: {error}");
            Err(Problem::internal())
        }
        Err(_) => Err(Unavailable.into()),
    }
}
