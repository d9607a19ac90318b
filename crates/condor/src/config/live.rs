//! Which settings may change while workers run, and what a configuration that was read again changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

use super::{Config, ConfigError, collect_leaves};

/// A process that reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    /// `condor predict`
    Predict,
    /// `condor score`
    Score,
    /// `condor report`
    Report,
}

impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Worker::Predict => "predict",
            Worker::Score => "score",
            Worker::Report => "report",
        })
    }
}

use Worker::{Predict, Report, Score};

/// The settings that may change while workers run, and the workers that work with them.
const LIVE: [(&str, &[Worker]); 24] = [
    ("schedules", &[Predict, Report]),
    ("markets", &[Predict, Report]),
    ("models.call_timeout", &[Predict]),
    ("models.setup_timeout", &[Predict]),
    ("models.join_grace", &[Predict]),
    ("models.max_consecutive_failures", &[Predict]),
    ("models.max_consecutive_timeouts", &[Predict]),
    ("models.report_failures", &[Predict]),
    ("models.max_answer_bytes", &[Predict]),
    ("models.max_components", &[Predict]),
    ("models.max_nesting", &[Predict]),
    ("models.max_buckets", &[Predict]),
    ("models.max_samples", &[Predict]),
    ("prices.open_grace", &[Predict]),
    ("scoring.leave_after", &[Predict, Report]),
    ("scoring.asset_weights", &[Score, Report]),
    ("scoring.horizon_weights", &[Score, Report]),
    ("report.read", &[Report]),
    ("report.metrics", &[Report]),
    ("report.keys", &[Report]),
    ("report.cors_origins", &[Report]),
    ("report.requests_per_second", &[Report]),
    ("report.answers", &[Report]),
    ("report.zone_in_reports", &[Report]),
];

/// What a configuration that was read again changes for a worker that runs.
#[derive(Debug)]
pub struct Reloaded {
    /// The settings in force from now on.
    pub config: Config,
    /// Those that this worker works with and that are others now.
    pub changed: Vec<Changed>,
    /// The keys of those that this worker reads at its start, and that are others in the file now.
    pub waiting: BTreeSet<String>,
}

/// A setting that is another now.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// Dotted.
    pub key: &'static str,
    /// As in the file.
    pub from: String,
    /// As in the file.
    pub to: String,
}

impl Config {
    /// What `new`, which is valid by itself, changes for a worker with these settings in force. Refused as a whole when what can
    /// change does not go with what cannot.
    pub fn reloaded(&self, new: &Config, worker: Worker) -> Result<Reloaded, ConfigError> {
        let (before, after) = (self.tree()?, new.tree()?);
        let mut tree = before.clone();
        for (key, _) in LIVE {
            put(&mut tree, key, at(&after, key).cloned());
        }
        let config: Config = tree.try_into().map_err(unreadable)?;
        let waiting = waiting(&before, &after, worker);
        config.check().map_err(|error| ConfigError::BeforeRestart(Box::new(error)))?;
        let (from, to) = (self.live_settings(worker)?, config.live_settings(worker)?);
        let of_worker = LIVE.iter().filter(|(key, _)| from.get(*key) != to.get(*key));
        let text = |settings: &BTreeMap<String, String>, key: &str| settings.get(key).cloned();
        let changed = of_worker
            .filter_map(|(key, _)| Some(Changed { key, from: text(&from, key)?, to: text(&to, key)? }));
        Ok(Reloaded { changed: changed.collect(), config, waiting })
    }

    /// The settings that a worker works with and that may change meanwhile, as in the file.
    pub fn live_settings(&self, worker: Worker) -> Result<BTreeMap<String, String>, ConfigError> {
        let tree = self.tree()?;
        let of_worker = LIVE.iter().filter(|(_, workers)| workers.contains(&worker));
        let text = |key: &str| at(&tree, key).map(|value| (key.to_owned(), value.to_string()));
        Ok(of_worker.filter_map(|(key, _)| text(key)).collect())
    }

    fn tree(&self) -> Result<Table, ConfigError> {
        Table::try_from(self).map_err(unreadable)
    }
}

fn unreadable(error: impl fmt::Display) -> ConfigError {
    ConfigError::Invalid(Box::new(figment::Error::from(error.to_string())))
}

/// The keys of settings that differ, that this worker reads and that cannot change while it runs.
fn waiting(before: &Table, after: &Table, worker: Worker) -> BTreeSet<String> {
    let leaves = |tree: &Table| {
        let mut leaves = Vec::new();
        collect_leaves("", &Value::Table(tree.clone()), &mut leaves);
        BTreeSet::from_iter(leaves)
    };
    let (before, after) = (leaves(before), leaves(after));
    let different = before.symmetric_difference(&after).map(|(key, _)| key);
    different.filter(|key| !is_live(key) && is_read_by(worker, key)).cloned().collect()
}

fn is_live(key: &str) -> bool {
    let is_part =
        |whole: &str| key.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    LIVE.iter().any(|(live, _)| is_part(live))
}

/// Whether a worker has any use for a setting.
fn is_read_by(worker: Worker, key: &str) -> bool {
    match key.split('.').next().unwrap_or_default() {
        "orchestrator" | "predict" | "models" => worker == Predict,
        "scoring" => matches!(worker, Score | Report),
        "report" => worker == Report,
        _ => true,
    }
}

fn at<'a>(tree: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => tree.get(key),
        Some((section, key)) => tree.get(section)?.as_table()?.get(key),
    }
}

fn put(tree: &mut Table, key: &str, value: Option<Value>) {
    let (table, key) = match key.split_once('.') {
        None => (Some(tree), key),
        Some((section, key)) => (tree.get_mut(section).and_then(Value::as_table_mut), key),
    };
    let Some(table) = table else { return };
    match value {
        Some(value) => table.insert(key.to_owned(), value),
        None => table.remove(key),
    };
}

#[cfg(test)]
mod tests {
    use domain::{Asset, Span};

    use super::*;

    fn keys(reloaded: &Reloaded) -> Vec<&str> {
        reloaded.changed.iter().map(|changed| changed.key).collect()
    }

    #[test]
    fn every_key_that_may_change_is_a_setting_that_somebody_works_with() {
        let tree = Config::default().tree().unwrap();
        for (key, workers) in LIVE {
            assert!(at(&tree, key).is_some() && !workers.is_empty(), "{key}");
        }
    }

    #[test]
    fn what_is_as_it_was_changes_nothing() {
        for worker in [Predict, Score, Report] {
            let reloaded = Config::default().reloaded(&Config::default(), worker).unwrap();
            assert_eq!((&reloaded.config, keys(&reloaded)), (&Config::default(), vec![]));
            assert!(reloaded.waiting.is_empty(), "{:?}", reloaded.waiting);
        }
    }

    #[test]
    fn each_worker_takes_what_it_works_with_and_names_what_waits_for_a_restart() {
        let before = Config::default();
        let mut new = before.clone();
        new.schedules.pop();
        new.models.max_consecutive_failures = 3;
        new.models.base_class = "other.Base".into();
        new.scoring.asset_weights.insert(Asset::new("BTC").unwrap(), 2.0);
        new.scoring.outlier_cap = 7.0;
        new.database.url = "sqlite://other.db".into();
        new.prices.history = Span::days(1);
        new.report.listen = "127.0.0.1:1".into();
        let expected = [
            (
                Predict,
                vec!["schedules", "models.max_consecutive_failures"],
                vec!["database.url", "models.base_class", "prices.history"],
            ),
            (
                Score,
                vec!["scoring.asset_weights"],
                vec!["database.url", "prices.history", "scoring.outlier_cap"],
            ),
            (
                Report,
                vec!["schedules", "scoring.asset_weights"],
                vec!["database.url", "prices.history", "report.listen", "scoring.outlier_cap"],
            ),
        ];
        for (worker, changed, waiting) in expected {
            let reloaded = before.reloaded(&new, worker).unwrap();
            assert_eq!(keys(&reloaded), changed, "{worker}");
            assert!(reloaded.waiting.iter().eq(&waiting), "{worker}: {:?}", reloaded.waiting);
            let config = &reloaded.config;
            assert_eq!((config.schedules.len(), &config.database), (2, &before.database));
            assert_eq!(config.scoring.outlier_cap, before.scoring.outlier_cap);
            assert_eq!(config.scoring.asset_weights, new.scoring.asset_weights);
            // A second look finds the same settings waiting, and nothing new.
            let again = config.reloaded(&new, worker).unwrap();
            assert_eq!((keys(&again), &again.waiting), (vec![], &reloaded.waiting));
        }
        let changed = &before.reloaded(&new, Score).unwrap().changed[0];
        assert_eq!((changed.from.as_str(), changed.to.as_str()), ("{}", "{ BTC = 2.0 }"));
    }

    #[test]
    fn what_does_not_go_with_settings_that_wait_for_a_restart_is_refused_as_a_whole() {
        let mut new = Config::default();
        new.models.max_answer_bytes = 2 * Config::default().models.max_buffered_answer_bytes;
        new.models.max_buffered_answer_bytes = new.models.max_answer_bytes;
        new.check().unwrap();
        let error = Config::default().reloaded(&new, Predict).unwrap_err().to_string();
        assert!(error.contains("models.max_buffered_answer_bytes: it is less"), "{error}");
        assert!(error.ends_with("restart to apply"), "{error}");
    }
}
