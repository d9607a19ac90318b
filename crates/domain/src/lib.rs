//! The words of the design as types, and the rules that hold between them: schedules and slots, rounds and
//! predictions, windows and ranking. No I/O and no async; `clock` alone reads the system clock.

pub mod clock;
mod history;
mod ids;
mod market;
mod missed;
mod model;
mod price;
mod ranking;
mod round;
mod schedule;
mod time;
mod window;

pub use clock::{Clock, SimulatedClock, Stopwatch, SystemClock};
pub use history::{
    ModelNumber, RollUp, RollUpChanges, RolledHour, RolledModel, RolledRound, ScoreHistory, Sums,
};
pub use ids::{Asset, CrunchId, DeploymentId, InvalidId, ModelId, RoundId};
pub use market::{Market, MarketError, Markets, Session, Zone};
pub use missed::MissedCause;
pub use model::{Cruncher, Model};
pub use price::{InvalidPrice, LedgerEntry, LedgerPosition, Price, PriceCorrection, PricePoint};
pub use ranking::{Leaderboard, LeaderboardEntry, RankingGroup, Rescoring, rank, rank_by_window};
pub use round::{AnswerBytes, Prediction, PredictionStatus, Question, RoundState, StatusCounts, UnknownWord};
pub use schedule::{Method, Schedule, ScheduleError, Schedules, Target};
pub use time::{InvalidSpan, Span, Timestamp, TimestampExt};
pub use window::{
    InvalidWindows, ModelStanding, Parameter, ParameterStanding, PerWindow, ScoredPrediction, ScoredRound,
    Selection, Standings, Weights, Window, WindowScore, WindowSpans, mean_over_parameters,
};
