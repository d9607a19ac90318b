//! What can happen, and how sequences of it are made up.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::line::{Mode, Side};

/// How many models there are.
pub const MODELS: usize = 3;
/// How many assets are priced.
pub const ASSETS: usize = 2;
/// How many timetables a worker may be started with.
pub const TIMETABLES: usize = 3;
/// How many predict workers there may be at once, of a database that takes several.
pub const PREDICTORS: usize = 2;
/// How many score workers there may be at once.
pub const SCORERS: usize = 2;

/// One thing that happens. Printed with `{:?}` a sequence is the Rust text of itself, to be kept as a test. What makes no
/// sense at its moment (to start what runs) changes nothing, so that any part of a sequence is a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// So many slots go by.
    Pass { minutes: u32 },
    /// The orchestrator starts a model, or another deployment of one that runs.
    Deploy { model: usize },
    /// The orchestrator stops a model.
    Stop { model: usize },
    /// A model's process dies and is started again at its place, without a memory.
    Crash { model: usize },
    /// From now on a model behaves so.
    Behave { model: usize, manner: Manner },
    /// Whatever hangs in a model goes on.
    Release { model: usize },
    /// From now on an asset's prices come so.
    Prices { asset: usize, manner: Feed },
    /// From now on the workers' lines to the database are so.
    Database { mode: Mode },
    /// From now on a predict worker's line to the database is so, as far as the database is there.
    Partition { predictor: usize, mode: Mode },
    /// From now on the disk that the journals are on is full, or is not.
    Disk { is_full: bool },
    /// A predict worker is started. Here and below: where there is one, it is that one.
    StartPredict { predictor: usize, timetable: usize },
    /// A predict worker is told to stop.
    StopPredict { predictor: usize },
    /// A predict worker is killed.
    KillPredict { predictor: usize },
    /// A predict worker is killed at one of its next accesses to the database.
    KillPredictAt { predictor: usize, accesses: u32, side: Side },
    /// Between two runs of the predict workers the price of so many minutes ago is stored anew.
    Correct { asset: usize, minutes: u32 },
    /// A score worker is started.
    StartScorer { scorer: usize },
    /// A score worker is killed.
    KillScorer { scorer: usize },
    /// A score worker is killed at one of its next accesses to the database.
    KillScorerAt { scorer: usize, accesses: u32, side: Side },
    /// An operator gives an order.
    Order { order: Decree },
}

/// How a model behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Answers at once.
    Good,
    /// Answers well before the deadline.
    Slow,
    /// Answers when the next prices have come, before the deadline: if it is asked one question.
    Sluggish,
    /// Answers a little after the deadline.
    Late,
    /// Answers when the next slots have come.
    VeryLate,
    /// Answers questions when it is released.
    Hang,
    /// Answers ticks when it is released.
    HangInTicks,
    /// Answers with bytes that are no message.
    Garbage,
    /// Answers with one density too few.
    TooFew,
    /// Raises.
    Raise,
    /// Raises in ticks.
    RaiseInTicks,
    /// Refuses every call as busy.
    Busy,
}

impl Manner {
    /// True when its answers are valid and in time.
    pub fn is_sound(self) -> bool {
        matches!(self, Manner::Good | Manner::Slow)
    }
}

/// How prices come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Each at its instant.
    Prompt,
    /// A few seconds late.
    Slow,
    /// Not at all for now; later all of them.
    Silent,
    /// Those of this time never come.
    Gap,
    /// The source fails.
    Fails,
    /// The source does not answer.
    Hangs,
}

/// What an operator does. Rounds are counted from the newest on record that was not missed, models as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decree {
    Void { round: usize },
    Rescore { round: usize },
    Exclude { model: usize },
    Include { model: usize },
    Pause,
    Resume,
}

/// Sequences of operations.
pub fn sequences() -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..60)
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        20 => (1..4u32).prop_map(|minutes| Operation::Pass { minutes }),
        4 => (0..MODELS).prop_map(|model| Operation::Deploy { model }),
        2 => (0..MODELS).prop_map(|model| Operation::Stop { model }),
        2 => (0..MODELS).prop_map(|model| Operation::Crash { model }),
        9 => (0..MODELS, manner()).prop_map(|(model, manner)| Operation::Behave { model, manner }),
        3 => (0..MODELS).prop_map(|model| Operation::Release { model }),
        3 => (0..ASSETS, feed()).prop_map(|(asset, manner)| Operation::Prices { asset, manner }),
        4 => mode().prop_map(|mode| Operation::Database { mode }),
        2 => (0..PREDICTORS, mode()).prop_map(|(predictor, mode)| Operation::Partition { predictor, mode }),
        2 => any::<bool>().prop_map(|is_full| Operation::Disk { is_full }),
        6 => (0..PREDICTORS, 0..TIMETABLES)
            .prop_map(|(predictor, timetable)| Operation::StartPredict { predictor, timetable }),
        1 => (0..PREDICTORS).prop_map(|predictor| Operation::StopPredict { predictor }),
        1 => (0..PREDICTORS).prop_map(|predictor| Operation::KillPredict { predictor }),
        2 => (0..PREDICTORS, 0..20u32, side())
            .prop_map(|(predictor, accesses, side)| Operation::KillPredictAt { predictor, accesses, side }),
        1 => (0..ASSETS, 0..8u32).prop_map(|(asset, minutes)| Operation::Correct { asset, minutes }),
        3 => (0..SCORERS).prop_map(|scorer| Operation::StartScorer { scorer }),
        1 => (0..SCORERS).prop_map(|scorer| Operation::KillScorer { scorer }),
        2 => (0..SCORERS, 0..30u32, side())
            .prop_map(|(scorer, accesses, side)| Operation::KillScorerAt { scorer, accesses, side }),
        4 => decree().prop_map(|order| Operation::Order { order }),
    ]
}

fn manner() -> impl Strategy<Value = Manner> {
    use Manner::{
        Busy, Garbage, Good, Hang, HangInTicks, Late, Raise, RaiseInTicks, Slow, Sluggish, TooFew, VeryLate,
    };
    let odd = prop::sample::select(vec![
        Sluggish,
        Late,
        VeryLate,
        Hang,
        HangInTicks,
        Garbage,
        TooFew,
        Raise,
        RaiseInTicks,
        Busy,
    ]);
    prop_oneof![5 => Just(Good), 2 => Just(Slow), 6 => odd]
}

fn feed() -> impl Strategy<Value = Feed> {
    use Feed::{Fails, Gap, Hangs, Prompt, Silent, Slow};
    prop_oneof![3 => Just(Prompt), 3 => prop::sample::select(vec![Slow, Silent, Gap, Fails, Hangs])]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![3 => Just(Mode::Up), 3 => prop::sample::select(vec![Mode::Away, Mode::Hung, Mode::LosesReplies])]
}

fn side() -> impl Strategy<Value = Side> {
    prop::sample::select(vec![Side::Before, Side::After])
}

fn decree() -> impl Strategy<Value = Decree> {
    prop_oneof![
        4 => (0..8usize).prop_map(|round| Decree::Void { round }),
        2 => (0..8usize).prop_map(|round| Decree::Rescore { round }),
        2 => (0..MODELS).prop_map(|model| Decree::Exclude { model }),
        1 => (0..MODELS).prop_map(|model| Decree::Include { model }),
        1 => Just(Decree::Pause),
        2 => Just(Decree::Resume),
    ]
}
