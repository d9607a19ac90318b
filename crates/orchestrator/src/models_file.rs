//! `models.yml`: which models the local orchestrator runs.
//!
//! ```yaml
//! models:
//!   - id: "1"                      # model_id
//!     submission_id: my-tracker    # a folder under the folder of submissions
//!     crunch_id: condor            # optional, the orchestrator's own when left out
//!     desired_state: RUNNING       # or STOPPED
//!     model_name: light            # this and all below are optional
//!     cruncher_name: degu
//!     cruncher_id: some-text
//!     cruncher_wallet_pubkey: …    # cruncher_id when left out
//!     cruncher_hotkey: …
//! ```
//!
//! This is the file of the public orchestrator's local mode. In the place of `submission_id` an entry may have
//! `builtin: random-walk:scale=2`: NAME[:key=value,…] of a built-in model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use domain::{CrunchId, ModelId};
use protocol::cluster::ModelInfos;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_yaml_ng::{Mapping, Value};

use crate::builtin::{BuiltinEntry, BuiltinSpec};
use crate::submission_id::SubmissionId;

/// What an entry wants of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DesiredState {
    /// It shall run.
    Running,
    /// It shall not.
    Stopped,
}

/// What a model runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelProgram {
    /// A built-in model.
    Builtin(BuiltinSpec),
    /// A Python submission.
    Submission(SubmissionId),
}

impl ModelProgram {
    /// True for what comes with the orchestrator. Participants' code comes as submissions alone, whatever its entry says of
    /// names.
    pub fn is_baseline(&self) -> bool {
        matches!(self, ModelProgram::Builtin(_))
    }
}

/// One model that the orchestrator is in charge of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// Stable over deployments.
    pub model_id: ModelId,
    /// What it runs.
    pub program: ModelProgram,
    /// Whether it shall run.
    pub desired_state: DesiredState,
    /// Who is behind it.
    pub infos: ModelInfos,
}

/// The name under which the built-in models take part.
const HOUSE: &str = "condor";

impl From<BuiltinEntry> for ModelEntry {
    fn from(entry: BuiltinEntry) -> Self {
        ModelEntry {
            model_id: entry.model_id,
            program: ModelProgram::Builtin(entry.spec),
            desired_state: DesiredState::Running,
            infos: ModelInfos {
                model_name: Some(entry.model_name),
                cruncher_id: Some(HOUSE.to_owned()),
                cruncher_name: Some(HOUSE.to_owned()),
                cruncher_wallet_pubkey: Some(HOUSE.to_owned()),
                cruncher_hotkey: None,
            },
        }
    }
}

/// What was read of a models file: the entries that hold, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct ModelsFile {
    /// In the order of the file.
    pub entries: Vec<ModelEntry>,
    /// None of them stops the other entries.
    pub faults: Vec<EntryFault>,
}

/// Something wrong within a models file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFault {
    /// Such as ``models[2] (id `light`)``; counted from 0.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for EntryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// A text that is no models file at all.
#[derive(Debug, thiserror::Error)]
#[error("this is no list of models: {0}; write `models:` and a list below it")]
pub struct InvalidModelsFile(#[from] serde_yaml_ng::Error);

#[derive(Deserialize)]
struct Document {
    #[serde(deserialize_with = "list_or_nothing")]
    models: Vec<Value>,
}

/// `models:` with nothing below is an empty list. Without the word, such as in an empty file, it is none: a file that an
/// editor has just emptied must not stop every model.
fn list_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The same where an entry has a key twice, which YAML forbids.
#[derive(Deserialize)]
struct FaultyDocument {
    models: Vec<FaultyEntry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FaultyEntry {
    Pairs(Pairs),
    Other(Value),
}

impl FaultyEntry {
    /// The entry, by what stands first under each key, and the keys that are there again.
    fn resolve(self) -> (Value, Vec<String>) {
        match self {
            FaultyEntry::Other(value) => (value, Vec::new()),
            FaultyEntry::Pairs(Pairs(pairs)) => {
                let (mut entry, mut repeated) = (Mapping::new(), Vec::new());
                for (key, value) in pairs {
                    if entry.contains_key(&key) {
                        repeated.push(as_id(&key).unwrap_or_else(|| format!("{key:?}")));
                    } else {
                        entry.insert(key, value);
                    }
                }
                (Value::Mapping(entry), repeated)
            }
        }
    }
}

/// What a mapping holds, its keys as often as they are written.
struct Pairs(Vec<(Value, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}

/// The entries of a models file, each with its keys that are there twice. The YAML library refuses the whole file for one such
/// key, so that is looked for only then.
fn read_document(text: &str) -> Result<Vec<(Value, Vec<String>)>, serde_yaml_ng::Error> {
    match serde_yaml_ng::from_str::<Document>(text) {
        Ok(document) => Ok(document.models.into_iter().map(|entry| (entry, Vec::new())).collect()),
        Err(error) => match serde_yaml_ng::from_str::<FaultyDocument>(text) {
            Ok(document) => Ok(document.models.into_iter().map(FaultyEntry::resolve).collect()),
            Err(_) => Err(error),
        },
    }
}

/// An entry as it is written.
#[derive(Deserialize, Serialize)]
struct Entry {
    #[serde(deserialize_with = "text_or_number")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    builtin: Option<String>,
    #[serde(default, deserialize_with = "optional_text_or_number", skip_serializing_if = "Option::is_none")]
    submission_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crunch_id: Option<CrunchId>,
    desired_state: DesiredState,
    model_name: Option<String>,
    cruncher_name: Option<String>,
    cruncher_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cruncher_wallet_pubkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cruncher_hotkey: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// People write `id: 1` as well as `id: "1"`.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    optional_text_or_number(deserializer)?.ok_or_else(|| serde::de::Error::custom("id: expected a text"))
}

fn optional_text_or_number<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => match as_id(&value) {
            Some(id) => Ok(Some(id)),
            None => Err(serde::de::Error::custom("an id: expected a text")),
        },
    }
}

/// An id as it is written, with or without quotes.
pub(crate) fn as_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl ModelsFile {
    /// Reads the text of a models file for the orchestrator of `crunch`. An invalid entry never stops the others.
    pub fn parse(text: &str, crunch: &CrunchId) -> Result<Self, InvalidModelsFile> {
        let mut file = ModelsFile::default();
        let mut seen = BTreeSet::new();
        for (index, (value, repeated)) in read_document(text)?.into_iter().enumerate() {
            let place = place(index, &value);
            let fault = |why| EntryFault { place: place.clone(), why };
            if let Some(key) = repeated.first() {
                file.faults.push(fault(format!("the key `{key}` is there twice: keep one")));
                continue;
            }
            match read_entry(value, crunch) {
                Ok((entry, _)) if !seen.insert(entry.model_id.clone()) => {
                    file.faults.push(fault("another entry above has the same id".to_owned()));
                }
                Ok((entry, unknown_keys)) => {
                    file.entries.push(entry);
                    let ignored = |key| fault(format!("the key `{key}` is unknown and was ignored"));
                    file.faults.extend(unknown_keys.into_iter().map(ignored));
                }
                Err(why) => file.faults.push(fault(why)),
            }
        }
        Ok(file)
    }
}

fn place(index: usize, value: &Value) -> String {
    match value.get("id").and_then(as_id) {
        Some(id) => format!("models[{index}] (id `{id}`)"),
        None => format!("models[{index}]"),
    }
}

/// The entry and its unknown keys; else what is wrong.
fn read_entry(value: Value, crunch: &CrunchId) -> Result<(ModelEntry, Vec<String>), String> {
    let entry: Entry = serde_yaml_ng::from_value(value).map_err(|error| error.to_string())?;
    if let Some(other) = entry.crunch_id.filter(|other| other != crunch) {
        return Err(format!("it belongs to the crunch `{other}`, this orchestrator runs `{crunch}`"));
    }
    let program = match (&entry.builtin, &entry.submission_id) {
        (Some(spec), None) => ModelProgram::Builtin(spec.parse().map_err(|e| format!("builtin: {e}"))?),
        (None, Some(id)) => {
            ModelProgram::Submission(SubmissionId::new(id).map_err(|e| format!("submission_id: {e}"))?)
        }
        (Some(_), Some(_)) => return Err("it has both `builtin` and `submission_id`: keep one".to_owned()),
        (None, None) => {
            return Err("it says nothing to run: write `submission_id: FOLDER` or `builtin: NAME`".to_owned());
        }
    };
    let model_entry = ModelEntry {
        model_id: ModelId::new(&entry.id).map_err(|error| error.to_string())?,
        program,
        desired_state: entry.desired_state,
        infos: ModelInfos {
            model_name: entry.model_name,
            cruncher_wallet_pubkey: entry.cruncher_wallet_pubkey.or_else(|| entry.cruncher_id.clone()),
            cruncher_id: entry.cruncher_id,
            cruncher_name: entry.cruncher_name,
            cruncher_hotkey: entry.cruncher_hotkey,
        },
    };
    Ok((model_entry, entry.unknown.into_keys().collect()))
}

const HEADER: &str = "# The models that the local orchestrator runs; it notices changes within a second. Comments in entries are\n\
    # lost when the deploy API changes the file.\n\
    # `submission_id` is a folder under --submissions; `builtin` is NAME[:key=value,…] as `condor model-host --help`\n\
    # lists them; desired_state is RUNNING or STOPPED.\n";

/// Writes a whole models file in one piece.
pub(crate) fn write_document(path: &Path, document: &Mapping) -> io::Result<()> {
    let list = serde_yaml_ng::to_string(document).map_err(io::Error::other)?;
    // what a link leads to is replaced, not the link
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(HEADER.as_bytes())?;
    file.write_all(list.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

/// The entry of a built-in model, as it is written.
pub(crate) fn written(entry: &BuiltinEntry) -> serde_yaml_ng::Result<Value> {
    serde_yaml_ng::to_value(Entry {
        id: entry.model_id.to_string(),
        builtin: Some(entry.spec.to_string()),
        submission_id: None,
        crunch_id: None,
        desired_state: DesiredState::Running,
        model_name: Some(entry.model_name.clone()),
        cruncher_name: Some(HOUSE.to_owned()),
        cruncher_id: Some(HOUSE.to_owned()),
        cruncher_wallet_pubkey: None,
        cruncher_hotkey: None,
        unknown: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condor() -> CrunchId {
        CrunchId::new("condor").unwrap()
    }

    #[test]
    fn a_key_that_is_there_twice_costs_its_entry_and_no_other() {
        let text = "models:\n\
            - {id: a, builtin: student-t, desired_state: RUNNING}\n\
            - {id: b, builtin: student-t, id: c, desired_state: RUNNING}\n\
            - {id: d, builtin: no-such, desired_state: RUNNING}\n\
            - 7\n\
            - {id: 1, submission_id: e, desired_state: STOPPED, colour: {red: [1.5, true, null]}}\n";
        let file = ModelsFile::parse(text, &condor()).unwrap();
        let ids: Vec<&str> = file.entries.iter().map(|entry| entry.model_id.as_str()).collect();
        assert_eq!(ids, ["a", "1"]);
        let faults: Vec<String> = file.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults[0], "models[1] (id `b`): the key `id` is there twice: keep one");
        assert!(faults[1].starts_with("models[2] (id `d`): builtin: "), "{faults:?}");
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(ModelsFile::parse("models: []\nmodels: []\n", &condor()).is_err());
    }

    #[test]
    fn what_is_built_in_is_a_baseline_and_a_submission_is_none_whatever_names_it_takes() {
        let text = "models:\n\
            - {id: a, builtin: student-t, desired_state: RUNNING, cruncher_id: ann}\n\
            - {id: random-walk, submission_id: random-walk, desired_state: RUNNING, model_name: Random walk,\n\
               cruncher_id: condor, cruncher_name: condor, baseline: true}\n";
        let file = ModelsFile::parse(text, &condor()).unwrap();
        let are_baselines: Vec<bool> = file.entries.iter().map(|entry| entry.program.is_baseline()).collect();
        assert_eq!(are_baselines, [true, false]);
    }

    #[test]
    fn one_invalid_entry_never_stops_the_others_and_is_named_by_its_place() {
        let text = r#"
models:
  - {id: 1, builtin: random-walk, desired_state: RUNNING, cruncher_id: abc, colour: red}
  - {id: b, builtin: no-such, desired_state: RUNNING}
  - just a text
  - {id: c, desired_state: RUNNING}
  - {id: d, builtin: student-t, desired_state: ASLEEP}
  - {id: "1", builtin: student-t, desired_state: RUNNING}
  - {id: e, builtin: student-t, desired_state: RUNNING, crunch_id: other}
  - {id: "x\ny", builtin: student-t, desired_state: RUNNING}
  - {id: f, builtin: student-t, desired_state: STOPPED, crunch_id: condor}
  - {id: g, submission_id: ../../etc, desired_state: RUNNING}
  - {id: h, submission_id: 7, builtin: student-t, desired_state: RUNNING}
  - {id: i, submission_id: 7, desired_state: RUNNING}
  - {id: [j], submission_id: j, desired_state: RUNNING}
  - {id: k, submission_id: {k: k}, desired_state: RUNNING}
  - {id: l, builtin: 7, desired_state: RUNNING}
  - {id: m, submission_id: m, desired_state: RUNNING, model_name: [m]}
  - {id: n, submission_id: n, desired_state: RUNNING, [7]: n}
  - {id: o, submission_id: .., desired_state: RUNNING}
  - null
  - {id: p, submission_id: p, desired_state: RUNNING}
"#;
        let file = ModelsFile::parse(text, &condor()).unwrap();
        let ids: Vec<&str> = file.entries.iter().map(|entry| entry.model_id.as_str()).collect();
        assert_eq!(ids, ["1", "f", "i", "p"]);
        assert_eq!(file.entries[2].program, ModelProgram::Submission(SubmissionId::new("7").unwrap()));
        assert_eq!(file.entries[0].infos.cruncher_wallet_pubkey.as_deref(), Some("abc"));
        let faults: Vec<String> = file.faults.iter().map(ToString::to_string).collect();
        let expected = [
            ("models[0] (id `1`)", "`colour` is unknown"),
            ("models[1] (id `b`)", "there is no built-in model `no-such`: choose one of random-walk"),
            ("models[2]", ""),
            ("models[3] (id `c`)", "write `submission_id: FOLDER`"),
            ("models[4] (id `d`)", "ASLEEP"),
            ("models[5] (id `1`)", "the same id"),
            ("models[6] (id `e`)", "it belongs to the crunch `other`"),
            ("models[7] (id `x\ny`)", "control character"),
            ("models[9] (id `g`)", "`../../etc` is no name"),
            ("models[10] (id `h`)", "keep one"),
            ("models[12]", "expected a text"),
            ("models[13] (id `k`)", "expected a text"),
            ("models[14] (id `l`)", "expected a string"),
            ("models[15] (id `m`)", "expected a string"),
            ("models[16] (id `n`)", ""),
            ("models[17] (id `o`)", "`..` is no name"),
            ("models[18]", ""),
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, (place, why)) in faults.iter().zip(expected) {
            assert!(fault.starts_with(place) && fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn an_empty_list_is_a_list_and_anything_else_is_refused() {
        assert!(ModelsFile::parse("models:\n", &condor()).unwrap().entries.is_empty());
        assert!(ModelsFile::parse("models: {a: 1}", &condor()).is_err());
        assert!(ModelsFile::parse("models: [", &condor()).is_err());
        assert!(ModelsFile::parse("", &condor()).is_err());
    }
}
