//! What is on record in the database, read whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::{
    Asset, CrunchId, Leaderboard, LedgerEntry, Model, ModelId, Prediction, Question, RoundId, Standings,
    Timestamp,
};
use storage::{ExportedRound, ExportedScore, Store};

use crate::world::crunch;

/// A round with all that belongs to it.
pub struct Round {
    pub stored: ExportedRound,
    /// As it was asked, made anew from the timetable's words: its id is to be the stored one.
    pub question: Question,
    pub predictions: Vec<Prediction>,
    pub scores: Vec<ExportedScore>,
    /// It is to be scored anew with a price that was corrected.
    pub awaits_scores: bool,
}

/// The database's contents.
pub struct Record {
    pub rounds: BTreeMap<RoundId, Round>,
    pub ledger: Vec<LedgerEntry>,
    /// The assets with corrections that no score worker has looked at.
    pub corrected: BTreeSet<Asset>,
    pub models: Vec<Model>,
    pub excluded: BTreeSet<ModelId>,
    pub leaderboard: Option<Leaderboard>,
    pub standings: Option<Standings>,
}

impl Record {
    /// Reads the rounds of slots from `since` on, and everything else.
    pub async fn read(store: Arc<dyn Store>, since: Timestamp) -> Self {
        let last = Timestamp::MAX_UTC;
        let crunch = crunch();
        let mut rounds = BTreeMap::new();
        for stored in store.export_rounds(since, last, None, usize::MAX).await.unwrap() {
            let id = stored.round_id;
            let question = question(&crunch, &stored);
            let predictions = store.predictions(id).await.unwrap();
            let scores = store.export_scores(id).await.unwrap();
            let awaits_scores = store.round(id).await.unwrap().is_some_and(|it| it.awaits_corrected_scores());
            rounds.insert(id, Round { stored, question, predictions, scores, awaits_scores });
        }
        let ledger = store.ledger_since(Timestamp::UNIX_EPOCH).await.unwrap();
        let unapplied = store.unapplied_corrections(usize::MAX).await.unwrap();
        let corrected = unapplied.into_iter().map(|correction| correction.asset).collect();
        Record {
            rounds,
            ledger,
            corrected,
            models: store.models().await.unwrap(),
            excluded: store.excluded_models().await.unwrap(),
            leaderboard: store.latest_leaderboard().await.unwrap(),
            standings: store.latest_standings().await.unwrap(),
        }
    }

    /// True while a price of a round's asset was corrected and its scores may not follow yet.
    pub fn is_being_corrected(&self, round: &Round) -> bool {
        round.awaits_scores || self.corrected.contains(&round.stored.asset)
    }
}

fn question(crunch: &CrunchId, stored: &ExportedRound) -> Question {
    Question::new(
        crunch,
        stored.asset.clone(),
        stored.horizon,
        stored.steps.clone(),
        stored.method,
        stored.target,
        stored.performed_at,
    )
}
