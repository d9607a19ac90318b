//! Models on real sockets that behave as operations say and keep a diary of what they were told and asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use domain::{Asset, Clock, DeploymentId, ModelId, SimulatedClock, Span, Timestamp, TimestampExt};
use protocol::{Value, method, status};
use testkit::{Behaviour, FakeModel, Reply};

use crate::operation::Manner;
use crate::world::{next_stop, slot_of};

/// So short that the questions of a slot are answered in time one after the other. Here and below: never just when time stops.
const SLOW: Duration = Duration::from_millis(2_010);
const SLUGGISH: Duration = Duration::from_millis(62_010);
const LATE: Duration = Duration::from_millis(80_010);
const VERY_LATE: Duration = Duration::from_millis(190_010);

/// A question that a model took.
#[derive(Debug, Clone)]
pub struct Asked {
    pub model: ModelId,
    pub deployment: DeploymentId,
    pub asset: Asset,
    pub horizon: Span,
    pub step: Span,
    pub at: Timestamp,
    slot: Timestamp,
    pub manner: Manner,
    /// Of its answer; no two have the same.
    pub number: u32,
    /// When its answer was or will be complete; `None` while nobody knows.
    pub complete_at: Option<Timestamp>,
    /// All closes that the model had been told of.
    pub known: BTreeMap<(Asset, Timestamp), f64>,
}

impl Asked {
    /// The slot that it was asked in.
    pub fn slot(&self) -> Timestamp {
        self.slot
    }
}

/// The questions of all models, in the order in which they were taken.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<Asked>>>);

impl Diary {
    pub fn asked(&self) -> Vec<Asked> {
        self.lock().clone()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.lock().unwrap()
    }
}

/// One deployment of a model.
pub struct Deployment {
    pub model: ModelId,
    pub id: DeploymentId,
    pub node: Arc<FakeModel>,
    /// When it was announced.
    pub since: Timestamp,
    /// When it was stopped or replaced.
    pub until: Option<Timestamp>,
    /// When it began to be anything but sound.
    pub unsound_since: Option<Timestamp>,
    /// It went on with the call of a worker that had ended: whatever the next worker wants meanwhile it may refuse.
    pub was_orphaned: bool,
    /// Two workers called it, each of which thought that it leads.
    pub was_shared: bool,
    script: Arc<Script>,
}

/// What a model's process does and knows.
struct Script {
    model: ModelId,
    deployment: DeploymentId,
    manner: Mutex<Manner>,
    known: Mutex<BTreeMap<(Asset, Timestamp), f64>>,
    /// When the last call is or will be over; `None` while nobody knows.
    busy_until: Mutex<Option<Timestamp>>,
    clock: Arc<SimulatedClock>,
    diary: Diary,
}

impl Deployment {
    pub async fn start(
        model: ModelId,
        id: DeploymentId,
        manner: Manner,
        clock: Arc<SimulatedClock>,
        diary: Diary,
    ) -> Self {
        let since = clock.now();
        let script = Arc::new(Script {
            model: model.clone(),
            deployment: id.clone(),
            manner: Mutex::new(manner),
            known: Mutex::default(),
            busy_until: Mutex::new(Some(since)),
            clock,
            diary,
        });
        let actor = Arc::clone(&script);
        let node = FakeModel::start(Behaviour::new(move |method, arguments| actor.act(method, arguments)));
        let node = Arc::new(node.await);
        node.require_setup();
        let unsound_since = (!manner.is_sound()).then_some(since);
        Deployment {
            model,
            id,
            node,
            since,
            until: None,
            unsound_since,
            was_orphaned: false,
            was_shared: false,
            script,
        }
    }

    /// Behaves so from the next call on.
    pub fn behave(&mut self, manner: Manner) {
        *self.script.manner.lock().unwrap() = manner;
        if !manner.is_sound() {
            self.unsound_since.get_or_insert(self.script.clock.now());
        }
    }

    /// Whatever hangs goes on.
    pub fn release(&self) {
        let now = self.script.clock.now();
        self.script.busy_until.lock().unwrap().get_or_insert(now);
        for asked in self.own(&mut self.script.diary.lock()) {
            asked.complete_at.get_or_insert(now);
        }
        self.node.release();
    }

    /// Its process has died: what it had not said it will not say, and it knows of nothing.
    pub fn crashed(&mut self) {
        let now = self.script.clock.now();
        self.unsound_since.get_or_insert(now);
        for asked in self.own(&mut self.script.diary.lock()) {
            if asked.complete_at.is_none_or(|complete_at| complete_at > now) {
                asked.complete_at = Some(Timestamp::MAX_UTC);
            }
        }
        self.script.known.lock().unwrap().clear();
        *self.script.busy_until.lock().unwrap() = Some(now);
    }

    /// Two workers call it from now on, for a while.
    pub fn shared(&mut self) {
        self.was_shared = true;
        self.unsound_since.get_or_insert(self.script.clock.now());
    }

    /// The worker has ended, or leads no more, that may wait for an answer.
    pub fn abandoned(&mut self) {
        let now = self.script.clock.now();
        let busy_until = *self.script.busy_until.lock().unwrap();
        if busy_until.is_none_or(|until| until >= now) {
            self.was_orphaned = true;
            self.unsound_since.get_or_insert(now);
        }
    }

    fn own<'a>(&'a self, diary: &'a mut [Asked]) -> impl Iterator<Item = &'a mut Asked> {
        diary.iter_mut().filter(|asked| asked.deployment == self.id)
    }
}

impl Script {
    fn act(&self, called: &str, arguments: &[Value]) -> Reply {
        let manner = *self.manner.lock().unwrap();
        if manner == Manner::Busy {
            let words = "the model is busy with another call";
            return Reply::Grpc(tonic::Status::resource_exhausted(words));
        }
        if called == method::TICK { self.tick(manner, arguments) } else { self.answer(manner, arguments) }
    }

    fn tick(&self, manner: Manner, arguments: &[Value]) -> Reply {
        self.known.lock().unwrap().extend(closes_in(arguments));
        let now = self.clock.now();
        let nothing = Reply::Value(Value::None);
        *self.busy_until.lock().unwrap() = (manner != Manner::HangInTicks).then_some(now);
        match manner {
            Manner::HangInTicks => Reply::Held(Box::new(nothing)),
            Manner::RaiseInTicks => raise(),
            _ => nothing,
        }
    }

    fn answer(&self, manner: Manner, arguments: &[Value]) -> Reply {
        let [Value::String(asset), Value::Int(horizon), Value::Int(step)] = arguments else {
            panic!("a question has an asset, a horizon and a step, not {arguments:?}")
        };
        let at = self.clock.now();
        let pause = match manner {
            Manner::Slow => Some(SLOW),
            Manner::Sluggish => Some(SLUGGISH),
            Manner::Late => Some(LATE),
            Manner::VeryLate => Some(VERY_LATE),
            Manner::Hang => None,
            _ => Some(Duration::ZERO),
        };
        let complete_at = pause.map(|pause| if pause.is_zero() { at } else { next_stop(at + pause) });
        *self.busy_until.lock().unwrap() = complete_at;
        let mut diary = self.diary.lock();
        let number = diary.len() as u32;
        let asset = Asset::new(asset).unwrap();
        let spans = [*horizon, *step].map(|seconds| Span::seconds(seconds as u32));
        diary.push(Asked {
            model: self.model.clone(),
            deployment: self.deployment.clone(),
            slot: slot_of(&asset, spans[0], spans[1], at),
            asset,
            horizon: spans[0],
            step: spans[1],
            at,
            manner,
            number,
            complete_at,
            known: self.known.lock().unwrap().clone(),
        });
        let densities = (*horizon / *step) as usize;
        let value = |count| Reply::Value(Value::Json(densities_of(number, count)));
        match manner {
            Manner::Garbage => Reply::Raw(Bytes::from_static(b"\xff\xff\xff\xffgarbage")),
            Manner::TooFew => value(densities - 1),
            Manner::Raise => raise(),
            Manner::Hang => Reply::Held(Box::new(value(densities))),
            _ => match pause {
                Some(pause) if !pause.is_zero() => Reply::After(pause, Box::new(value(densities))),
                _ => value(densities),
            },
        }
    }
}

fn raise() -> Reply {
    Reply::Status { code: status::MODEL_FAILED, message: "it raised".to_owned() }
}

/// An answer that tells its number.
fn densities_of(number: u32, count: usize) -> String {
    let density =
        format!(r#"{{"type":"builtin","name":"norm","params":{{"loc":{},"scale":0.01}}}}"#, location(number));
    format!("[{}]", vec![density; count].join(","))
}

/// Where the answer with this number is: nothing else in the world is such a number.
pub fn location(number: u32) -> f64 {
    (f64::from(number) + 0.123_456_789) * 1e-6
}

fn closes_in(arguments: &[Value]) -> Vec<((Asset, Timestamp), f64)> {
    let [Value::Json(json)] = arguments else { panic!("a tick has one JSON argument, not {arguments:?}") };
    let by_asset: BTreeMap<String, Vec<(i64, f64)>> = serde_json::from_str(json).unwrap();
    let mut closes = Vec::new();
    for (asset, points) in by_asset {
        let asset = Asset::new(&asset).unwrap();
        let at = |seconds| Timestamp::from_unix_seconds(seconds).unwrap();
        closes.extend(points.into_iter().map(|(seconds, price)| ((asset.clone(), at(seconds)), price)));
    }
    closes
}
