//! The predict worker: prices in, questions out, predictions stored.
//!
//! Every model has a [lane](lane): a queue of ticks and questions that one task works off in order, so that no model
//! waits for another and none is ever called twice at once. A slot puts a tick and its questions into every lane and
//! leaves; each round collects its own outcomes until all are there or its deadline has come. Everything that is stored
//! goes through the [recorder](recorder), which alone waits for the database.
//!
//! [`PredictWorker`] does one instant at a time and is driven by [`run`] live, and by a replay with a simulated clock.

mod elsewhere;
mod faults;
mod fleet;
mod intake;
mod lane;
mod ledger;
mod live;
mod outcome;
mod pause;
mod recorder;
mod round;
mod worker;

pub use live::run;
pub use outcome::{RefusedAnswer, check_answer, pack_answer};
pub use recorder::{JournalFault, MISSED};
pub use round::ClosedRound;
pub use worker::{OpenRound, PredictWorker, StartError, Status};

use domain::{Asset, CrunchId, Schedules, Span};
use scoring::Limits;

/// What the predict worker needs to know.
#[derive(Debug, Clone)]
pub struct PredictSettings {
    /// The competition.
    pub crunch_id: CrunchId,
    /// What is asked when.
    pub schedules: Schedules,
    /// Only these assets are priced and asked; slots stay where the schedules put them. `None`: all.
    pub only_assets: Option<Vec<Asset>>,
    /// The full name of the base class that a submission extends.
    pub base_class: String,
    /// From the slot to the deadline of its rounds.
    pub call_timeout: Span,
    /// How long a model's constructor may take.
    pub setup_timeout: Span,
    /// How long a question waits for the closes of its slot.
    pub open_grace: Span,
    /// How long a newly announced model may take before it counts as in the field although it is not set up.
    pub join_grace: Span,
    /// How far back a new model is told prices.
    pub history: Span,
    /// How long a model may be unconnected before it leaves the field.
    pub leave_after: Span,
    /// What a model may answer.
    pub limits: Limits,
}

impl PredictSettings {
    /// How long a question waits for the closes of its slot, by default.
    pub const OPEN_GRACE: Span = Span::seconds(5);
    /// How long a newly announced model may take to be set up, by default.
    pub const JOIN_GRACE: Span = Span::seconds(10);

    /// True for an asset that is priced and asked.
    pub fn is_asked(&self, asset: &Asset) -> bool {
        self.only_assets.as_ref().is_none_or(|only| only.contains(asset))
    }
}
