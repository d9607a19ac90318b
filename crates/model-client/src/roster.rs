//! Which models run where, from what the orchestrator says: messages in, changes out, no I/O.
//!
//! The order of changes matters to whoever follows them: the new place of a model is told before the old one is given
//! up, so that a replaced model is never without one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::{DeploymentId, ModelId};
use protocol::cluster::{ClusterMessage, INIT, ModelInfos, ModelState, RunState, UPDATE};
use serde::Deserialize;
use serde_json::Value;

use crate::address::Address;

/// One deployment at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placement {
    pub deployment_id: DeploymentId,
    pub address: Address,
    pub is_baseline: bool,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The first `init` of the connection was applied; its changes came before this.
    Initialised,
    /// The model is to be called at this place from now on.
    Joined { model_id: ModelId, placement: Placement, infos: ModelInfos },
    /// Names changed, nothing else.
    Renamed { model_id: ModelId, infos: ModelInfos },
    /// The model is not to be called at this place any more; when it has a new one, its `Joined` came before.
    Left { model_id: ModelId, placement: Placement, reason: String },
}

/// The models that run, as the orchestrator has told.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    models: BTreeMap<ModelId, Held>,
    /// Reported, and the report has not left yet: what the orchestrator says of these places it says without knowing.
    barred: BTreeMap<ModelId, Vec<Placement>>,
    is_initialised: bool,
    remarks: Remarks,
}

/// A running model.
#[derive(Debug, Clone)]
struct Held {
    /// In the order in which they were first announced; the last is in use. Never empty.
    deployments: Vec<Placement>,
    infos: ModelInfos,
}

impl Held {
    fn in_use(&self) -> Option<&Placement> {
        self.deployments.last()
    }
}

impl Roster {
    /// A new connection begins: its `init` is still to come.
    pub fn connected(&mut self) {
        self.is_initialised = false;
    }

    /// True once the connection's `init` was applied.
    pub fn is_initialised(&self) -> bool {
        self.is_initialised
    }

    /// Applies one message. What cannot be read is remarked in the log and otherwise without effect.
    pub fn apply(&mut self, text: &str) -> Vec<Change> {
        match serde_json::from_str::<ClusterMessage>(text) {
            Ok(message) if message.event == INIT => self.init(&message.data),
            Ok(message) if message.event == UPDATE => self.update(&message.data),
            Ok(message) => {
                self.remarks
                    .once(format!("the orchestrator's event `{}` is unknown: ignored", message.event));
                Vec::new()
            }
            Err(error) => {
                self.remarks.once(format!("a message of the orchestrator cannot be read, ignored: {error}"));
                Vec::new()
            }
        }
    }

    /// The model at this place is to be reported: it is gone, with all its places, and they are not taken again before
    /// [`Roster::reported`]. `None` when it is not in use there any more.
    pub fn report(
        &mut self,
        model_id: &ModelId,
        deployment_id: &DeploymentId,
        address: &str,
        reason: String,
    ) -> Option<Change> {
        let placement = self.models.get(model_id).and_then(Held::in_use)?;
        if placement.deployment_id != *deployment_id || placement.address.as_str() != address {
            return None;
        }
        let placement = placement.clone();
        let held = self.models.remove(model_id)?;
        self.barred.insert(model_id.clone(), held.deployments);
        Some(Change::Left { model_id: model_id.clone(), placement, reason })
    }

    /// The report has left, or will never leave: the model comes back with whatever announces it as running.
    pub fn reported(&mut self, model_id: &ModelId) {
        self.barred.remove(model_id);
    }

    /// True while the model is to be reported. Not any more when it has ended by itself or runs at another place.
    pub fn is_barred(&self, model_id: &ModelId) -> bool {
        self.barred.contains_key(model_id)
    }

    fn update(&mut self, data: &[Value]) -> Vec<Change> {
        let mut changes = Vec::new();
        for value in data {
            match self.read(value) {
                Entry::Running(running) => {
                    let model_id = running.model_id.clone();
                    let before = self.models.get(&model_id).cloned();
                    self.announce(running);
                    changes.extend(self.changes(&model_id, before.as_ref(), None));
                }
                Entry::Ended { model_id, deployment_id, how } => {
                    let before = self.models.get(&model_id).cloned();
                    self.end(&model_id, &deployment_id);
                    changes.extend(self.changes(&model_id, before.as_ref(), Some(how)));
                }
                Entry::Unreadable(_) => {}
            }
        }
        changes
    }

    /// The complete list: what is absent from it is gone. An entry that cannot be read is not absent.
    fn init(&mut self, data: &[Value]) -> Vec<Change> {
        let before = self.models.clone();
        let entries: Vec<Entry> = data.iter().map(|value| self.read(value)).collect();
        self.keep_listed(&entries);
        for entry in entries {
            if let Entry::Running(running) = entry {
                self.announce(running);
            }
        }
        let model_ids: BTreeSet<ModelId> = before.keys().chain(self.models.keys()).cloned().collect();
        let mut changes: Vec<Change> = model_ids
            .iter()
            .flat_map(|model_id| self.changes(model_id, before.get(model_id), None))
            .collect();
        if !self.is_initialised {
            self.is_initialised = true;
            changes.push(Change::Initialised);
        }
        changes
    }

    fn keep_listed(&mut self, entries: &[Entry]) {
        let listed: HashSet<(&ModelId, &DeploymentId)> = entries.iter().filter_map(Entry::present).collect();
        for (model_id, held) in &mut self.models {
            held.deployments.retain(|known| listed.contains(&(model_id, &known.deployment_id)));
        }
        self.models.retain(|_, held| !held.deployments.is_empty());
        for (model_id, places) in &mut self.barred {
            places.retain(|known| listed.contains(&(model_id, &known.deployment_id)));
        }
        self.barred.retain(|_, places| !places.is_empty());
    }

    /// A deployment that is known keeps its place in the order, so that a message about one that is not in use does not
    /// put it into use.
    fn announce(&mut self, Running { model_id, placement, infos }: Running) {
        if self.barred.get(&model_id).is_some_and(|places| places.contains(&placement)) {
            return;
        }
        self.barred.remove(&model_id);
        let held = self
            .models
            .entry(model_id)
            .or_insert_with(|| Held { deployments: Vec::new(), infos: ModelInfos::default() });
        if let Some(infos) = infos {
            held.infos = infos;
        }
        match held.deployments.iter_mut().find(|known| known.deployment_id == placement.deployment_id) {
            Some(known) => *known = placement,
            None => held.deployments.push(placement),
        }
    }

    fn end(&mut self, model_id: &ModelId, deployment_id: &DeploymentId) {
        if let Some(places) = self.barred.get_mut(model_id) {
            places.retain(|known| known.deployment_id != *deployment_id);
            if places.is_empty() {
                self.barred.remove(model_id);
            }
        }
        let Some(held) = self.models.get_mut(model_id) else { return };
        held.deployments.retain(|known| known.deployment_id != *deployment_id);
        if held.deployments.is_empty() {
            self.models.remove(model_id);
        }
    }

    /// What is different about a model; `ended` says how the deployment that the message was about ended.
    fn changes(&self, model_id: &ModelId, before: Option<&Held>, ended: Option<&str>) -> Vec<Change> {
        let after = self.models.get(model_id);
        let old = before.and_then(Held::in_use);
        let new = after.and_then(Held::in_use);
        let mut changes = Vec::new();
        if let (Some(held), Some(placement)) = (after, new) {
            let (model_id, infos) = (model_id.clone(), held.infos.clone());
            if old != new {
                changes.push(Change::Joined { model_id, placement: placement.clone(), infos });
            } else if before.is_some_and(|before| before.infos != infos) {
                changes.push(Change::Renamed { model_id, infos });
            }
        }
        if let Some(old) = old.filter(|_| old != new) {
            let reason = match (ended, new) {
                (Some(how), _) => how.to_owned(),
                (None, Some(new)) if new.deployment_id == old.deployment_id => {
                    format!("moved to {}", new.address)
                }
                (None, Some(new)) => format!("replaced by deployment {}", new.deployment_id),
                (None, None) => "no longer in the orchestrator's list".to_owned(),
            };
            changes.push(Change::Left { model_id: model_id.clone(), placement: old.clone(), reason });
        }
        changes
    }

    fn read(&mut self, value: &Value) -> Entry {
        self.remark_unknown_fields(value);
        Entry::read(value).or_else(|_| self.without_infos(value)).unwrap_or_else(|fault| {
            self.remarks
                .once(format!("an entry of the orchestrator's list cannot be read, ignored: {fault}"));
            Entry::Unreadable(identity(value))
        })
    }

    /// Names that cannot be read cost a model its names and nothing else.
    fn without_infos(&mut self, value: &Value) -> Result<Entry, Unreadable> {
        let mut bare = value.clone();
        if let Some(fields) = bare.as_object_mut() {
            fields.remove("infos");
        }
        let entry = Entry::read(&bare)?;
        self.remarks.once("the infos of a model cannot be read: it stays without names".to_owned());
        Ok(entry)
    }

    fn remark_unknown_fields(&mut self, value: &Value) {
        const FIELDS: [&str; 7] = ["deployment_id", "model_id", "state", "ip", "port", "infos", "baseline"];
        const INFOS: [&str; 5] =
            ["model_name", "cruncher_id", "cruncher_name", "cruncher_wallet_pubkey", "cruncher_hotkey"];
        let fields = |value: Option<&Value>, known: &[&str]| -> Vec<String> {
            let names = value.and_then(Value::as_object).into_iter().flat_map(|fields| fields.keys());
            names.filter(|name| !known.contains(&name.as_str())).cloned().collect()
        };
        let unknown = fields(Some(value), &FIELDS).into_iter().chain(fields(value.get("infos"), &INFOS));
        for name in unknown {
            self.remarks.once(format!("the field `{name}` in the orchestrator's list is unknown: ignored"));
        }
    }
}

/// One entry of a message.
#[derive(Debug)]
enum Entry {
    Running(Running),
    Ended {
        model_id: ModelId,
        deployment_id: DeploymentId,
        how: &'static str,
    },
    /// With the deployment that it is about, where at least that can be read.
    Unreadable(Option<(ModelId, DeploymentId)>),
}

#[derive(Debug)]
struct Running {
    model_id: ModelId,
    placement: Placement,
    /// `None` when the message is silent about names: what is known stays.
    infos: Option<ModelInfos>,
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    #[error(transparent)]
    Id(#[from] domain::InvalidId),
    #[error(transparent)]
    Host(#[from] crate::address::InvalidHost),
    #[error("a RUNNING model has no address")]
    NoAddress,
}

impl Entry {
    fn read(value: &Value) -> Result<Self, Unreadable> {
        let state = ModelState::deserialize(value)?;
        let model_id = ModelId::new(&state.model_id)?;
        let deployment_id = DeploymentId::new(&state.deployment_id)?;
        let ended = |model_id, deployment_id, how| Ok(Entry::Ended { model_id, deployment_id, how });
        match state.state {
            RunState::Stopped => ended(model_id, deployment_id, "stopped"),
            RunState::Recovering => ended(model_id, deployment_id, "recovering"),
            RunState::Running => {
                let (host, port) = state.address().ok_or(Unreadable::NoAddress)?;
                let address = Address::new(host, port)?;
                let placement = Placement { deployment_id, address, is_baseline: state.baseline };
                Ok(Entry::Running(Running { model_id, placement, infos: state.infos }))
            }
        }
    }

    /// The deployment that a complete list with this entry has.
    fn present(&self) -> Option<(&ModelId, &DeploymentId)> {
        match self {
            Entry::Running(running) => Some((&running.model_id, &running.placement.deployment_id)),
            Entry::Unreadable(identity) => identity.as_ref().map(|(model, deployment)| (model, deployment)),
            Entry::Ended { .. } => None,
        }
    }
}

fn identity(value: &Value) -> Option<(ModelId, DeploymentId)> {
    let text = |field| value.get(field).and_then(Value::as_str);
    let model_id = ModelId::new(text("model_id")?).ok()?;
    let deployment_id = DeploymentId::new(text("deployment_id")?).ok()?;
    Some((model_id, deployment_id))
}

/// Oddities of the orchestrator, each logged once.
#[derive(Debug, Default)]
struct Remarks(HashSet<String>);

impl Remarks {
    /// A flood of different oddities ends here.
    const MOST: usize = 1000;
    const LONGEST_BYTES: usize = 300;

    fn once(&mut self, mut remark: String) {
        remark.truncate(remark.floor_char_boundary(Self::LONGEST_BYTES));
        if self.0.len() < Self::MOST && !self.0.contains(&remark) {
            tracing::warn!("{remark}");
            self.0.insert(remark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A roster whose changes are told in short words: `+1 d1@h:1` joined, `-1 d1@h:1 (reason)` left, `~1 name` renamed.
    #[derive(Default)]
    struct Told(Roster);

    impl Told {
        fn init(&mut self, entries: &[Value]) -> Vec<String> {
            self.message(json!({"event": "init", "data": entries}))
        }

        fn update(&mut self, entries: &[Value]) -> Vec<String> {
            self.message(json!({"event": "update", "data": entries}))
        }

        fn message(&mut self, message: Value) -> Vec<String> {
            self.text(&message.to_string())
        }

        fn text(&mut self, text: &str) -> Vec<String> {
            self.0.apply(text).into_iter().map(short).collect()
        }

        fn with(entries: &[Value]) -> Self {
            let mut told = Told::default();
            told.init(entries);
            told
        }

        fn remarks(&self) -> usize {
            self.0.remarks.0.len()
        }
    }

    fn short(change: Change) -> String {
        let place = |placement: Placement| format!("{}@{}", placement.deployment_id, placement.address);
        match change {
            Change::Initialised => "initialised".to_owned(),
            Change::Joined { model_id, placement, infos } => {
                let name = infos.model_name.map(|name| format!(" {name}")).unwrap_or_default();
                format!("+{model_id} {}{name}", place(placement))
            }
            Change::Renamed { model_id, infos } => {
                format!("~{model_id} {}", infos.model_name.unwrap_or_default())
            }
            Change::Left { model_id, placement, reason } => {
                format!("-{model_id} {} ({reason})", place(placement))
            }
        }
    }

    fn running(model: &str, deployment: &str, port: u16) -> Value {
        json!({"model_id": model, "deployment_id": deployment, "state": "RUNNING", "ip": "h", "port": port, "infos": null})
    }

    fn named(mut entry: Value, name: &str) -> Value {
        entry["infos"] = json!({ "model_name": name });
        entry
    }

    fn ended(model: &str, deployment: &str, state: &str) -> Value {
        json!({"model_id": model, "deployment_id": deployment, "state": state, "ip": null, "port": 0})
    }

    #[test]
    fn the_first_list_joins_everyone_and_then_says_so() {
        let mut roster = Told::default();
        let changes = roster.init(&[running("1", "d1", 1), named(running("2", "d2", 2), "light")]);
        assert_eq!(changes, ["+1 d1@h:1", "+2 d2@h:2 light", "initialised"]);
        assert_eq!(roster.update(&[running("3", "d3", 3)]), ["+3 d3@h:3"]);
    }

    #[test]
    fn an_empty_list_is_an_initialisation_too() {
        assert_eq!(Told::default().init(&[]), ["initialised"]);
    }

    #[test]
    fn a_port_in_digits_is_a_port() {
        let mut entry = running("1", "d1", 1);
        entry["port"] = json!("7001");
        assert_eq!(Told::default().update(&[entry]), ["+1 d1@h:7001"]);
    }

    #[test]
    fn the_same_address_again_changes_names_only() {
        let mut roster = Told::with(&[named(running("1", "d1", 1), "old")]);
        assert!(roster.update(&[named(running("1", "d1", 1), "old")]).is_empty());
        assert_eq!(roster.update(&[named(running("1", "d1", 1), "new")]), ["~1 new"]);
        assert!(roster.update(&[running("1", "d1", 1)]).is_empty(), "silence about names keeps them");
    }

    #[test]
    fn a_new_deployment_joins_before_the_old_one_leaves() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        let changes = roster.update(&[running("1", "d2", 2)]);
        assert_eq!(changes, ["+1 d2@h:2", "-1 d1@h:1 (replaced by deployment d2)"]);
    }

    #[test]
    fn a_new_deployment_at_the_old_address_is_a_new_one() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        let changes = roster.update(&[running("1", "d2", 1)]);
        assert_eq!(changes, ["+1 d2@h:1", "-1 d1@h:1 (replaced by deployment d2)"]);
    }

    #[test]
    fn a_deployment_at_another_address_joins_there_before_it_leaves() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        assert_eq!(roster.update(&[running("1", "d1", 2)]), ["+1 d1@h:2", "-1 d1@h:1 (moved to h:2)"]);
    }

    #[test]
    fn the_late_stop_of_an_old_deployment_does_not_touch_the_new_one() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        roster.update(&[running("1", "d2", 2)]);
        assert!(roster.update(&[ended("1", "d1", "STOPPED")]).is_empty());
        assert!(roster.update(&[ended("1", "d1", "RECOVERING")]).is_empty());
        assert!(roster.update(&[ended("9", "d9", "STOPPED")]).is_empty());
        assert_eq!(roster.update(&[ended("1", "d2", "STOPPED")]), ["-1 d2@h:2 (stopped)"]);
    }

    #[test]
    fn a_recovering_model_leaves_and_joins_again_with_the_same_deployment() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        assert_eq!(roster.update(&[ended("1", "d1", "RECOVERING")]), ["-1 d1@h:1 (recovering)"]);
        assert_eq!(roster.update(&[running("1", "d1", 1)]), ["+1 d1@h:1"]);
    }

    #[test]
    fn a_later_message_about_the_deployment_not_in_use_changes_names_only() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        roster.update(&[running("1", "d2", 2)]);
        assert!(roster.update(&[running("1", "d1", 1)]).is_empty());
        assert_eq!(roster.update(&[named(running("1", "d1", 1), "new")]), ["~1 new"]);
    }

    #[test]
    fn when_the_deployment_in_use_stops_the_other_is_used() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        roster.update(&[running("1", "d2", 2)]);
        assert!(roster.update(&[running("1", "d1", 3)]).is_empty(), "the other one has moved meanwhile");
        let changes = roster.update(&[ended("1", "d2", "STOPPED")]);
        assert_eq!(changes, ["+1 d1@h:3", "-1 d2@h:2 (stopped)"]);
        assert_eq!(roster.update(&[ended("1", "d1", "STOPPED")]), ["-1 d1@h:3 (stopped)"]);
    }

    #[test]
    fn of_two_deployments_in_one_list_the_last_is_used() {
        let mut roster = Told::default();
        let changes = roster.init(&[running("1", "d1", 1), running("1", "d2", 2)]);
        assert_eq!(changes, ["+1 d2@h:2", "initialised"]);
        assert_eq!(roster.update(&[ended("1", "d2", "STOPPED")]), ["+1 d1@h:1", "-1 d2@h:2 (stopped)"]);
    }

    #[test]
    fn the_list_after_a_reconnect_is_applied_as_a_difference() {
        let mut roster = Told::with(&[
            running("stays", "d1", 1),
            running("goes", "d2", 2),
            running("moves", "d3", 3),
            running("restarts", "d4", 4),
        ]);
        roster.0.connected();
        assert!(!roster.0.is_initialised());
        let changes = roster.init(&[
            running("new", "d9", 9),
            running("restarts", "d5", 5),
            running("moves", "d3", 33),
            named(running("stays", "d1", 1), "named"),
        ]);
        assert_eq!(
            changes,
            [
                "-goes d2@h:2 (no longer in the orchestrator's list)",
                "+moves d3@h:33",
                "-moves d3@h:3 (moved to h:33)",
                "+new d9@h:9",
                "+restarts d5@h:5",
                "-restarts d4@h:4 (replaced by deployment d5)",
                "~stays named",
                "initialised",
            ]
        );
        assert!(roster.0.is_initialised());
    }

    #[test]
    fn the_order_of_a_later_list_does_not_change_which_deployment_is_used() {
        let mut roster = Told::with(&[running("1", "d1", 1), running("1", "d2", 2)]);
        roster.0.connected();
        assert_eq!(roster.init(&[running("1", "d2", 2), running("1", "d1", 1)]), ["initialised"]);
        roster.0.connected();
        let changes = roster.init(&[running("1", "d1", 1)]);
        assert_eq!(changes, ["+1 d1@h:1", "-1 d2@h:2 (replaced by deployment d1)", "initialised"]);
    }

    #[test]
    fn a_second_list_on_one_connection_is_no_second_initialisation() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        assert_eq!(roster.init(&[]), ["-1 d1@h:1 (no longer in the orchestrator's list)"]);
    }

    #[test]
    fn a_model_that_a_list_calls_stopped_is_gone() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        let changes = roster.init(&[ended("1", "d1", "STOPPED")]);
        assert_eq!(changes, ["-1 d1@h:1 (no longer in the orchestrator's list)"]);
    }

    #[test]
    fn a_broken_entry_takes_no_other_with_it() {
        let broken = [
            json!(null),
            json!(5),
            json!({"model_id": "2"}),
            json!({"model_id": "2", "deployment_id": "d", "state": "RUNNING", "ip": "h", "port": 70000}),
            json!({"model_id": "2", "deployment_id": "d", "state": "RUNNING", "ip": null, "port": 0}),
            json!({"model_id": "2", "deployment_id": "d", "state": "RUNNING", "ip": "a b", "port": 1}),
            json!({"model_id": "", "deployment_id": "d", "state": "RUNNING", "ip": "h", "port": 1}),
            json!({"model_id": "2\n", "deployment_id": "d", "state": "RUNNING", "ip": "h", "port": 1}),
        ];
        for entry in broken {
            let mut roster = Told::default();
            let changes = roster.init(&[running("1", "d1", 1), entry.clone(), running("3", "d3", 3)]);
            assert_eq!(changes, ["+1 d1@h:1", "+3 d3@h:3", "initialised"], "{entry}");
            assert_eq!(roster.remarks(), 1, "{entry}");
        }
    }

    #[test]
    fn a_held_model_whose_entry_in_a_list_cannot_be_read_is_not_gone() {
        let mut roster = Told::with(&[running("1", "d1", 1), running("2", "d2", 2)]);
        let unknown_state = ended("1", "d1", "PAUSED");
        let mut broken_port = running("2", "d2", 2);
        broken_port["port"] = json!("many");
        assert!(roster.init(&[unknown_state, broken_port]).is_empty());
    }

    #[test]
    fn names_that_cannot_be_read_do_not_keep_a_model_out() {
        let mut entry = running("1", "d1", 1);
        entry["infos"] = json!({"model_name": 42});
        let mut roster = Told::default();
        assert_eq!(roster.update(&[entry]), ["+1 d1@h:1"]);
        assert_eq!(roster.remarks(), 1);
    }

    #[test]
    fn broken_messages_change_nothing() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"event":"init"#,
            r#"{"event":"init","data":null}"#,
            r#"{"event":5}"#,
        ] {
            assert!(roster.text(text).is_empty(), "{text}");
        }
        assert!(roster.text(&"[".repeat(100_000)).is_empty());
    }

    #[test]
    fn what_is_unknown_is_remarked_once_and_ignored() {
        let mut roster = Told::with(&[]);
        for _ in 0..3 {
            assert!(roster.message(json!({"event": "party", "data": []})).is_empty());
        }
        assert_eq!(roster.remarks(), 1);
        for port in 1..4 {
            roster.update(&[ended(&port.to_string(), "d", "ASLEEP")]);
        }
        assert_eq!(roster.remarks(), 2);
        for port in 1..4 {
            let mut entry = named(running(&port.to_string(), "d", port), "n");
            entry["zone"] = json!("eu");
            entry["infos"]["team"] = json!("t");
            assert_eq!(roster.update(&[entry]).len(), 1);
        }
        assert_eq!(roster.remarks(), 4);
    }

    #[test]
    fn a_flood_of_oddities_is_remembered_within_bounds() {
        let mut roster = Told::default();
        for n in 0..2000 {
            roster.message(json!({"event": format!("{n}{}", "é".repeat(1000))}));
        }
        assert_eq!(roster.remarks(), Remarks::MOST);
        assert!(roster.0.remarks.0.iter().all(|remark| remark.len() <= Remarks::LONGEST_BYTES));
    }

    fn report(roster: &mut Told, model: &str, deployment: &str, port: u16) -> Option<String> {
        let (model, deployment) = (ModelId::new(model).unwrap(), DeploymentId::new(deployment).unwrap());
        let change = roster.0.report(&model, &deployment, &format!("h:{port}"), "reported".into())?;
        Some(short(change))
    }

    fn reported(roster: &mut Told, model: &str) {
        roster.0.reported(&ModelId::new(model).unwrap());
    }

    #[test]
    fn a_reported_model_leaves_at_once_and_comes_back_when_it_is_announced_after_the_report() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        assert_eq!(report(&mut roster, "1", "d1", 1).as_deref(), Some("-1 d1@h:1 (reported)"));
        assert!(roster.init(&[running("1", "d1", 1)]).is_empty(), "the orchestrator cannot know yet");
        assert!(roster.update(&[named(running("1", "d1", 1), "n")]).is_empty());
        reported(&mut roster, "1");
        assert_eq!(roster.update(&[running("1", "d1", 1)]), ["+1 d1@h:1"]);
    }

    #[test]
    fn an_old_report_stops_nothing_that_runs_anew() {
        let anew: [(&[Value], &str); 3] = [
            (&[running("1", "d2", 1)], "+1 d2@h:1"),
            (&[running("1", "d1", 2)], "+1 d1@h:2"),
            (&[ended("1", "d1", "RECOVERING"), running("1", "d1", 1)], "+1 d1@h:1"),
        ];
        for (entries, expected) in anew {
            let mut roster = Told::with(&[running("1", "d1", 1)]);
            report(&mut roster, "1", "d1", 1);
            assert!(roster.0.is_barred(&ModelId::new("1").unwrap()));
            assert_eq!(roster.update(entries), [expected]);
            assert!(!roster.0.is_barred(&ModelId::new("1").unwrap()), "{expected}");
        }
    }

    #[test]
    fn a_reported_model_that_is_gone_by_itself_needs_no_report() {
        let mut roster = Told::with(&[running("1", "d1", 1)]);
        report(&mut roster, "1", "d1", 1);
        roster.init(&[]);
        assert!(!roster.0.is_barred(&ModelId::new("1").unwrap()));
    }

    #[test]
    fn a_report_takes_all_deployments_of_its_model_along_and_one_on_the_past_none() {
        let mut roster = Told::with(&[running("1", "d1", 1), running("1", "d2", 2)]);
        assert_eq!(report(&mut roster, "1", "d1", 1), None, "d2 is in use");
        assert_eq!(report(&mut roster, "1", "d2", 2).as_deref(), Some("-1 d2@h:2 (reported)"));
        assert!(roster.init(&[running("1", "d1", 1), running("1", "d2", 2)]).is_empty());
        assert_eq!(report(&mut roster, "1", "d2", 2), None);
    }

    #[test]
    fn a_list_of_many_thousands_is_applied() {
        let entries: Vec<Value> = (0..20_000).map(|n| running(&n.to_string(), "d", 1)).collect();
        assert_eq!(Told::default().init(&entries).len(), 20_001);
    }
}
