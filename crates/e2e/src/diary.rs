//! What a model was asked, by its own account.

use std::collections::BTreeMap;

use domain::{Timestamp, TimestampExt};
use protocol::{Value, method};
use testkit::{Answered, FakeModel};

use crate::Game;

/// A question that a model has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it was about.
    pub asset: String,
    /// The slot that it was asked in. A question does not say, and may come late; but the closes of its slot come before it,
    /// and none that is newer.
    pub slot: Timestamp,
    /// When the worker that asked had set the model up: each does so before all else.
    pub set_up_at: Timestamp,
    /// When the model took it.
    pub asked_at: Timestamp,
    /// When the answer was complete.
    pub at: Timestamp,
}

/// Every question that a model of a [`Game`] has answered so far, in order.
pub fn questions(model: &FakeModel) -> Vec<Question> {
    let mut diary = Diary::default();
    model.answered().into_iter().filter_map(|answered| diary.read(answered)).collect()
}

/// What the model knows as it reads on.
#[derive(Default)]
struct Diary {
    set_up_at: Timestamp,
    /// The instant of the newest close of each asset.
    told: BTreeMap<String, Timestamp>,
}

impl Diary {
    fn read(&mut self, Answered { call, asked_at, at }: Answered) -> Option<Question> {
        match (call.method.as_str(), call.arguments.as_slice()) {
            ("Setup", _) => self.set_up_at = at,
            (method::TICK, [Value::Json(closes)]) => self.learn(closes),
            (method::PREDICT, [Value::String(asset), ..]) => {
                let slot = Game::slot_by(asset, self.told[asset]);
                return Some(Question {
                    asset: asset.clone(),
                    slot,
                    set_up_at: self.set_up_at,
                    asked_at,
                    at,
                });
            }
            other => panic!("no call of the game's: {other:?}"),
        }
        None
    }

    fn learn(&mut self, closes: &str) {
        let closes: BTreeMap<String, Vec<(i64, f64)>> = serde_json::from_str(closes).unwrap();
        for (asset, closes) in closes {
            let Some((newest, _)) = closes.last() else { continue };
            let newest = Timestamp::from_unix_seconds(*newest).unwrap();
            let known = self.told.entry(asset).or_default();
            *known = newest.max(*known);
        }
    }
}
