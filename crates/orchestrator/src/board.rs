//! What the orchestrator says of its models: the state that a new client gets, and the changes after it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{DeploymentId, ModelId};
use protocol::cluster::{INIT, ModelInfos, ModelState, RunState, UPDATE};
use serde::Serialize;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// A client that is further behind than this many updates connects anew.
const UPDATES_KEPT: usize = 1024;

/// The announcement board. Each change is written here once and goes to all clients from here.
pub(crate) struct Board {
    state: Mutex<State>,
    updates: broadcast::Sender<Utf8Bytes>,
    all_running: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    /// The models that shall run.
    wanted: BTreeSet<ModelId>,
    infos: BTreeMap<ModelId, ModelInfos>,
    /// The deployments that run or recover, in the order in which they were first announced.
    announced: Vec<ModelState>,
}

impl State {
    fn runs(&self, model_id: &ModelId) -> bool {
        let mut announced = self.announced.iter();
        announced.any(|model| model.model_id == model_id.as_str() && model.state == RunState::Running)
    }

    /// Takes over a change; false when it is none, such as the stop of what never ran.
    fn put(&mut self, state: ModelState) -> bool {
        let place = self.announced.iter().position(|known| known.deployment_id == state.deployment_id);
        match (place, state.state) {
            (Some(place), RunState::Stopped) => {
                self.announced.remove(place);
            }
            (None, RunState::Stopped) => return false,
            (Some(place), _) => self.announced[place] = state,
            (None, _) => self.announced.push(state),
        }
        true
    }
}

#[derive(Serialize)]
struct Message<'a> {
    event: &'static str,
    data: Vec<&'a ModelState>,
}

fn message(event: &'static str, data: Vec<&ModelState>) -> Utf8Bytes {
    // texts, numbers and nulls only: this cannot fail
    serde_json::to_string(&Message { event, data }).unwrap_or_default().into()
}

impl Board {
    pub(crate) fn new() -> Self {
        Board {
            state: Mutex::default(),
            updates: broadcast::Sender::new(UPDATES_KEPT),
            all_running: watch::Sender::new(true),
        }
    }

    /// Says which models shall run, and who is behind them. Models that run and whose names changed are announced.
    pub(crate) fn want(&self, wanted: BTreeMap<ModelId, ModelInfos>) {
        let mut state = self.lock();
        state.wanted = wanted.keys().cloned().collect();
        let State { announced, infos, .. } = &mut *state;
        for model in announced.iter_mut() {
            let new = wanted.iter().find(|(id, _)| id.as_str() == model.model_id).map(|(_, infos)| infos);
            if new.is_some() && model.infos.as_ref() != new {
                model.infos = new.cloned();
                if model.state == RunState::Running {
                    self.send(model);
                }
            }
        }
        // the models that are about to stop keep their names until they have
        infos.extend(wanted);
        self.note_progress(&state);
    }

    /// One model more shall run.
    pub(crate) fn want_also(&self, model_id: &ModelId, infos: ModelInfos) {
        let mut state = self.lock();
        state.wanted.insert(model_id.clone());
        state.infos.insert(model_id.clone(), infos);
        self.note_progress(&state);
    }

    /// One model shall not run any more.
    pub(crate) fn unwant(&self, model_id: &ModelId) {
        let mut state = self.lock();
        state.wanted.remove(model_id);
        self.note_progress(&state);
    }

    /// Announces a deployment that can be called at `address`.
    /// It is a baseline when what runs there is none of a participant's.
    pub(crate) fn running(
        &self,
        model_id: &ModelId,
        deployment: &DeploymentId,
        address: SocketAddr,
        is_baseline: bool,
    ) {
        self.announce(model_id, deployment, RunState::Running, Some(address), is_baseline);
    }

    /// Announces a deployment that ended and will run again.
    pub(crate) fn recovering(&self, model_id: &ModelId, deployment: &DeploymentId) {
        self.announce(model_id, deployment, RunState::Recovering, None, false);
    }

    /// Announces that a deployment was stopped.
    pub(crate) fn stopped(&self, model_id: &ModelId, deployment: &DeploymentId) {
        self.announce(model_id, deployment, RunState::Stopped, None, false);
    }

    fn announce(
        &self,
        model_id: &ModelId,
        id: &DeploymentId,
        run_state: RunState,
        address: Option<SocketAddr>,
        baseline: bool,
    ) {
        let mut state = self.lock();
        let announcement = ModelState {
            deployment_id: id.to_string(),
            model_id: model_id.to_string(),
            state: run_state,
            ip: address.map(|address| address.ip().to_string()),
            port: address.map(|address| address.port()),
            infos: state.infos.get(model_id).cloned(),
            baseline,
        };
        if state.put(announcement.clone()) {
            self.send(&announcement);
        }
        if !state.wanted.contains(model_id) && !state.runs(model_id) {
            state.infos.remove(model_id);
        }
        self.note_progress(&state);
    }

    /// The `init` message as of now, and every update after it.
    pub(crate) fn subscribe(&self) -> (Utf8Bytes, broadcast::Receiver<Utf8Bytes>) {
        let state = self.lock();
        let running = state.announced.iter().filter(|model| model.state == RunState::Running);
        (message(INIT, running.collect()), self.updates.subscribe())
    }

    /// Waits until every model that shall run does.
    pub(crate) async fn all_running(&self) {
        // fails only when the sender is gone, and that is part of `self`
        let _ = self.all_running.subscribe().wait_for(|all| *all).await;
    }

    fn send(&self, model: &ModelState) {
        // without clients there is nobody to tell
        let _ = self.updates.send(message(UPDATE, vec![model]));
    }

    fn note_progress(&self, state: &State) {
        self.all_running.send_replace(state.wanted.iter().all(|model_id| state.runs(model_id)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // nothing that holds the lock leaves the state half-changed when it panics
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
