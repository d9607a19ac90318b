//! The predict worker: prices in, questions out, predictions stored.
//!
//! Every model has a [lane](lane): a queue of ticks and questions that one task works off in order, so that no model
//! waits for another and none is ever called twice at once. A slot puts a tick and its questions into every lane and
//! leaves; each round collects its own outcomes until all are there or its deadline has come. Everything that is stored
//! goes through the [recorder](recorder), which alone waits for the database.
//!
//! Of many predict workers over one database one [leads](Leadership); the others wait in the [`Lobby`], where everything is
//! ready for them to lead at any time.
//!
//! [`PredictWorker`] does one instant at a time and is driven by [`run`] live, and by a replay with a simulated clock.

mod elsewhere;
mod faults;
mod fleet;
mod intake;
mod lane;
mod leadership;
mod ledger;
mod live;
mod lobby;
mod metrics;
mod outcome;
mod pause;
mod recorder;
mod repair;
mod round;
mod settings;
mod worker;

pub use fleet::ModelState;
pub use leadership::{Candidate, LEASE, Leadership};
pub use live::run;
pub use lobby::Lobby;
pub use metrics::{Metrics, Role};
pub use outcome::{RefusedAnswer, check_answer, pack_answer};
pub use recorder::{JournalFault, MISSED};
pub use repair::Repair;
pub use round::ClosedRound;
pub use settings::{Change, PredictSettings, Reloadable};
pub use worker::{OpenRound, PredictWorker, StartError, Status};
