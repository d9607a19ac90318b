//! Who is there: follows the orchestrator's announcements, keeps a lane for each running model, and says for each round
//! who is in its field.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{
    Cruncher, DeploymentId, LedgerPosition, Model, ModelId, Prediction, PredictionStatus, Timestamp,
    TimestampExt,
};
use model_client::{ClusterEvent, ModelNode};
use protocol::method;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, oneshot};

use crate::lane::{Lane, LaneContext, Stage};
use crate::outcome::printable;
use crate::recorder::Recorder;
use crate::round::Collector;

/// How often it is stored that a model is still connected.
const SEEN_EVERY: Duration = Duration::from_secs(3600);

/// How far a model of the field can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ModelState {
    /// It takes questions.
    Ready,
    /// It has hung so often that it rests for a while.
    CoolingDown,
    /// Its constructor runs.
    SettingUp,
    /// Its set-up has failed and is tried again.
    Broken,
    /// The orchestrator does not run it.
    NotRunning,
}

impl ModelState {
    /// Every state.
    pub const ALL: [ModelState; 5] = [
        ModelState::Ready,
        ModelState::CoolingDown,
        ModelState::SettingUp,
        ModelState::Broken,
        ModelState::NotRunning,
    ];

    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            ModelState::Ready => "ready",
            ModelState::CoolingDown => "cooling_down",
            ModelState::SettingUp => "setting_up",
            ModelState::Broken => "broken",
            ModelState::NotRunning => "not_running",
        }
    }

    fn of(lane: &Lane) -> Self {
        let is_cooling_down =
            || [method::PREDICT, method::PREDICT_ALL].iter().any(|method| lane.node.is_cooling_down(method));
        match lane.stage() {
            Stage::Ready if is_cooling_down() => ModelState::CoolingDown,
            Stage::Ready => ModelState::Ready,
            Stage::SettingUp { .. } => ModelState::SettingUp,
            Stage::Broken(_) => ModelState::Broken,
        }
    }
}

impl Running {
    /// The lane that takes questions.
    fn answering(&self) -> &Lane {
        let is_setting_up = matches!(self.lane.stage(), Stage::SettingUp { .. });
        self.replaced.as_ref().filter(|_| is_setting_up).unwrap_or(&self.lane)
    }

    fn push_tick(&mut self, up_to: LedgerPosition) {
        if !matches!(self.lane.stage(), Stage::SettingUp { .. }) {
            self.replaced = None;
        }
        self.lane.push_tick(up_to);
        self.replaced.iter().for_each(|lane| lane.push_tick(up_to));
    }
}

/// The models, known and running.
pub struct Fleet {
    context: Arc<LaneContext>,
    recorder: Recorder,
    state: Mutex<State>,
    settled: Arc<Notify>,
}

struct State {
    /// The first `init` has come.
    initialised: bool,
    /// Each model of that `init` was set up, has failed, or had its time. Whoever joins later holds nobody up.
    started: bool,
    known: BTreeMap<ModelId, Model>,
    running: BTreeMap<ModelId, Running>,
    /// Why those that ran before do not run now.
    gone: BTreeMap<ModelId, String>,
    seen_stored_at: Option<Timestamp>,
}

/// A deployment in use.
struct Running {
    lane: Lane,
    /// The deployment that it replaces, which answers until this one is set up or has failed.
    replaced: Option<Lane>,
    /// It was in no field before: until it is set up, has failed or had its time it is in none.
    is_newcomer: bool,
}

impl Fleet {
    /// A fleet of known models, none running.
    pub fn new(context: Arc<LaneContext>, recorder: Recorder, known: Vec<Model>) -> Self {
        let known = known.into_iter().map(|model| (model.id.clone(), model)).collect();
        let state = State {
            initialised: false,
            started: false,
            known,
            running: BTreeMap::new(),
            gone: BTreeMap::new(),
            seen_stored_at: None,
        };
        Fleet { context, recorder, state: Mutex::new(state), settled: Arc::new(Notify::new()) }
    }

    /// Follows the orchestrator until its client ends.
    pub async fn follow(self: Arc<Self>, mut events: UnboundedReceiver<ClusterEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                ClusterEvent::Initialised => self.initialise(),
                ClusterEvent::Joined(node) => self.join(node),
                ClusterEvent::Renamed(node) => {
                    self.note_model(&mut self.lock(), &node);
                }
                ClusterEvent::Left { model_id, deployment_id, address, reason } => {
                    self.leave(&model_id, &deployment_id, &address, reason);
                }
                ClusterEvent::Disconnected { reason } => {
                    tracing::warn!(reason, "lost the orchestrator; running models are still asked");
                }
            }
        }
    }

    /// True from when the first `init` has come and each announced model is set up, has failed, or had its time.
    pub fn is_started(&self) -> bool {
        let mut state = self.lock();
        if !state.started {
            let is_settled = |running: &Running| !self.is_joining(&running.lane);
            state.started = state.initialised && state.running.values().all(is_settled);
        }
        state.started
    }

    /// Waits until [`Fleet::is_started`].
    pub async fn wait_until_started(&self) {
        loop {
            let settled = self.settled.notified();
            if self.is_started() {
                return;
            }
            // A model that has had its time tells nobody.
            let _ = tokio::time::timeout(Duration::from_millis(200), settled).await;
        }
    }

    /// Queues a tick for every running model.
    pub fn push_tick(&self, up_to: LedgerPosition) {
        self.lock().running.values_mut().for_each(|running| running.push_tick(up_to));
    }

    /// Puts the questions of one instant, in their order, to the field as it is at `now`.
    pub fn ask(&self, rounds: &mut [Collector], now: Timestamp) {
        let state = self.lock();
        let leave_after = self.context.settings().leave_after;
        let in_field = |model: &&Model| model.is_in_field(now, leave_after);
        for model in state.known.values().filter(in_field) {
            match state.running.get(&model.id) {
                Some(running) => self.ask_one(running, model, rounds, now),
                None => {
                    let mut reason = "the orchestrator does not run it".to_owned();
                    if let Some(why) = state.gone.get(&model.id) {
                        reason = format!("{reason}: {why}");
                    }
                    note_all(rounds, model, None, PredictionStatus::Absent, &printable(&reason));
                }
            }
        }
    }

    /// Why a model has not answered.
    pub fn why_silent(&self, id: &ModelId) -> String {
        let lane_says = self.lock().running.get(id).map(|running| running.answering().why_silent());
        lane_says.unwrap_or_else(|| "its deployment went away before it answered".to_owned())
    }

    /// Resolves when every model that is set up has worked off what is queued for it now.
    pub async fn idle(&self) {
        let barriers: Vec<oneshot::Receiver<()>> = {
            let state = self.lock();
            let lanes = state.running.values().map(Running::answering);
            lanes.filter(|lane| matches!(lane.stage(), Stage::Ready)).map(Lane::barrier).collect()
        };
        for barrier in barriers {
            // A lane that ended has nothing queued.
            let _ = barrier.await;
        }
    }

    /// Notes that the running models are connected at `now`, and stores it now and then.
    pub fn note_connected(&self, now: Timestamp) {
        let mut state = self.lock();
        let State { known, running, seen_stored_at, .. } = &mut *state;
        for id in running.keys() {
            if let Some(model) = known.get_mut(id) {
                model.last_connected_at = model.last_connected_at.max(now);
            }
        }
        let is_due = seen_stored_at.is_none_or(|stored| now.since(stored) >= SEEN_EVERY);
        if is_due {
            *seen_stored_at = Some(now);
            self.recorder.models(running.keys().filter_map(|id| known.get(id).cloned()).collect());
        }
    }

    /// How many models run.
    pub fn running(&self) -> usize {
        self.lock().running.len()
    }

    /// The running models whose set-up has failed, and why.
    pub fn broken(&self) -> Vec<(ModelId, String)> {
        let state = self.lock();
        let stages = state.running.iter().map(|(id, running)| (id, running.answering().stage()));
        let broken = |(id, stage): (&ModelId, Stage)| match stage {
            Stage::Broken(fault) => Some((id.clone(), fault.reason)),
            Stage::SettingUp { .. } | Stage::Ready => None,
        };
        stages.filter_map(broken).collect()
    }

    /// How many models of the field at `now` are in which state.
    pub fn count(&self, now: Timestamp) -> BTreeMap<ModelState, usize> {
        let state = self.lock();
        let leave_after = self.context.settings().leave_after;
        let mut counts = BTreeMap::new();
        for model in state.known.values().filter(|model| model.is_in_field(now, leave_after)) {
            let running = state.running.get(&model.id);
            let its = running.map_or(ModelState::NotRunning, |running| ModelState::of(running.answering()));
            *counts.entry(its).or_default() += 1;
        }
        counts
    }

    fn ask_one(&self, running: &Running, model: &Model, rounds: &mut [Collector], now: Timestamp) {
        let lane = running.answering();
        let deployment = lane.node.deployment_id();
        match lane.stage() {
            Stage::Ready => {
                for round in rounds {
                    lane.push_ask(round.ask(&model.id, deployment));
                }
            }
            Stage::Broken(fault) => {
                let outcome = fault.prediction(&model.id, deployment);
                rounds.iter_mut().for_each(|round| outcome.iter().for_each(|it| round.note(it.clone())));
            }
            Stage::SettingUp { .. } if running.is_newcomer && self.is_joining(lane) => {}
            Stage::SettingUp { since } => {
                let reason = format!("its set-up has not finished after {:.0?}", now.since(since));
                note_all(rounds, model, Some(deployment), PredictionStatus::Absent, &reason);
            }
        }
    }

    fn is_joining(&self, lane: &Lane) -> bool {
        let grace = self.context.settings().join_grace.as_duration();
        let now = self.context.clock.now();
        matches!(lane.stage(), Stage::SettingUp { since } if now.since(since) < grace)
    }

    fn initialise(&self) {
        let mut state = self.lock();
        state.initialised = true;
        tracing::info!(models = state.running.len(), "the orchestrator has announced its models");
        self.settled.notify_waiters();
    }

    fn join(&self, node: Arc<ModelNode>) {
        let mut state = self.lock();
        let is_newcomer = self.note_model(&mut state, &node);
        let lane = Lane::start(Arc::clone(&node), Arc::clone(&self.context), Arc::clone(&self.settled));
        lane.push_tick(self.context.ledger.end());
        state.gone.remove(node.model_id());
        // The lane of a deployment that is not set up finishes what was queued for it, and ends.
        let replaced = state.running.remove(node.model_id());
        let replaced = replaced
            .and_then(|before| [Some(before.lane), before.replaced].into_iter().flatten().find(is_ready));
        state.running.insert(node.model_id().clone(), Running { lane, replaced, is_newcomer });
    }

    /// A model that has been replaced in the meantime stays.
    fn leave(&self, id: &ModelId, deployment: &DeploymentId, address: &str, reason: String) {
        let mut state = self.lock();
        let is_gone = |node: &ModelNode| node.deployment_id() == deployment && node.address() == address;
        if state.running.get(id).is_some_and(|running| is_gone(&running.lane.node)) {
            state.running.remove(id);
            state.gone.insert(id.clone(), reason);
            self.store_last_sight(state.known.get(id));
        }
    }

    /// That a model is still connected is stored now and then only: of one that goes, when it was last.
    fn store_last_sight(&self, gone: Option<&Model>) {
        self.recorder.models(gone.cloned().into_iter().collect());
    }

    /// Takes what the orchestrator says about a model; true when it was not in the field before.
    fn note_model(&self, state: &mut State, node: &ModelNode) -> bool {
        let now = self.context.clock.now();
        let leave_after = self.context.settings().leave_after;
        let known = state.known.get(node.model_id());
        self.store_last_sight(known.filter(|model| model.deployment_id != *node.deployment_id()));
        let known = known.filter(|model| model.is_in_field(now, leave_after));
        let infos = node.infos();
        let clean = |text: Option<String>| text.map(|text| printable(&text));
        let model = Model {
            id: node.model_id().clone(),
            deployment_id: node.deployment_id().clone(),
            name: clean(infos.model_name),
            cruncher: Cruncher { id: clean(infos.cruncher_id), name: clean(infos.cruncher_name) },
            joined_at: known.map_or(now, |model| model.joined_at),
            last_connected_at: now,
            is_baseline: node.is_baseline(),
        };
        self.recorder.models(vec![model.clone()]);
        let is_newcomer = known.is_none();
        state.known.insert(model.id.clone(), model);
        is_newcomer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ready(lane: &Lane) -> bool {
    matches!(lane.stage(), Stage::Ready)
}

fn note_all(
    rounds: &mut [Collector],
    model: &Model,
    deployment: Option<&DeploymentId>,
    status: PredictionStatus,
    reason: &str,
) {
    for round in rounds {
        round.note(Prediction::unanswered(model.id.clone(), deployment.cloned(), status, reason));
    }
}
