//! Settings: `condor.toml`, then the environment, then flags. Unknown keys are errors.

mod live;
mod report;
mod sources;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::{
    Asset, Clock, CrunchId, Market, MarketError, Markets, Schedule, ScheduleError, Schedules, Span,
    SystemClock, Weights,
};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Profile};
use model_client::{CredentialsError, FileChecks, Security};
use scoring::{Aggregation, GridSettings, PriceChoice, Rule, RuleSettings, SettlementSettings};
use serde::{Deserialize, Serialize};
use storage::{Prunable, Retention, without_secrets};

pub use live::{Reloaded, Worker};
pub use report::ReportConfig;
pub use sources::{PriceSource, ServiceConfig};

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "condor.toml";

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The competition's id.
    pub crunch_id: CrunchId,
    /// Where everything is stored.
    pub database: DatabaseConfig,
    /// Who runs the models.
    pub orchestrator: OrchestratorConfig,
    /// The predict worker.
    pub predict: PredictConfig,
    /// How models are called.
    pub models: ModelsConfig,
    /// What is asked when; the default game when there are none.
    pub schedules: Vec<Schedule>,
    /// When assets are traded that are not traded always.
    pub markets: Vec<Market>,
    /// Where prices come from.
    pub prices: PricesConfig,
    /// How predictions are scored.
    pub scoring: ScoringConfig,
    /// The HTTP interface.
    pub report: ReportConfig,
    /// How long what is stored is kept.
    pub retention: Retention,
}

/// `[database]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `sqlite://condor.db` or `postgres://user@host:port/db`.
    pub url: String,
    /// How long a worker waits for one answer of PostgreSQL before it gives the connection up.
    pub answer_timeout: Span,
}

/// `[orchestrator]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OrchestratorConfig {
    /// `ws://HOST:PORT`, without the crunch id.
    pub url: String,
    /// How the models' nodes are connected to.
    pub security: SecurityConfig,
}

/// `[orchestrator.security]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum SecurityConfig {
    /// No TLS.
    Plain {},
    /// Mutual TLS with wallet delegation.
    MutualTls {
        /// Holds `ca.crt`, `tls.crt` and `tls.key`.
        directory: PathBuf,
        /// How long before a certificate expires the log begins to warn.
        #[serde(default = "two_weeks")]
        warn_before: Span,
    },
    /// Gateways that end TLS; a signed token with each call.
    Gateway {
        /// Our RSA key, PEM.
        private_key: PathBuf,
        /// Certificates of authorities that are trusted besides the system's, PEM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authorities: Option<PathBuf>,
    },
}

const fn two_weeks() -> Span {
    Span::days(14)
}

/// `[predict]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PredictConfig {
    /// The file in which everything waits until it is in the database; beside an SQLite database unless set.
    pub journal: Option<PathBuf>,
    /// How large that file may grow.
    pub max_journal_bytes: u64,
}

/// `[models]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsConfig {
    /// The full name of the base class that a submission extends.
    pub base_class: String,
    /// From a slot to the deadline of its rounds.
    pub call_timeout: Span,
    /// How long a model's constructor may take.
    pub setup_timeout: Span,
    /// How long a newly announced model is waited for before slots are asked without it.
    pub join_grace: Span,
    /// So many failures of a method in a row are borne.
    pub max_consecutive_failures: u32,
    /// So many timeouts of a method in a row are borne.
    pub max_consecutive_timeouts: u32,
    /// Whether models past those limits are reported to the orchestrator, which stops them.
    pub report_failures: bool,
    /// The longest answer that is taken.
    pub max_answer_bytes: usize,
    /// How much memory answers may take while they come in, of all models together.
    pub max_buffered_answer_bytes: usize,
    /// The most normals, t's, … that one density may be mixed from.
    pub max_components: usize,
    /// The most densities within one another: 1 is no mixture, 2 a mixture of others.
    pub max_nesting: usize,
    /// The most points of a bucket dictionary, bins of a histogram, or quantiles in one density.
    pub max_buckets: usize,
    /// The most samples in one density.
    pub max_samples: usize,
}

/// `[prices]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PricesConfig {
    /// The spacing of prices.
    pub interval: Span,
    /// How far back a new model is told prices.
    pub history: Span,
    /// How long a question waits for the closes of its slot.
    pub open_grace: Span,
    /// Prices of sources that differ by more than this share contradict each other.
    pub max_deviation: f64,
    /// In order of preference.
    pub sources: Vec<PriceSource>,
}

/// `[scoring]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoringConfig {
    /// The scoring rule.
    pub rule: String,
    /// How the scores of all increments become one.
    pub aggregation: Aggregation,
    /// Which close is the price of an instant.
    pub settlement: PriceChoice,
    /// The price of an instant is less than this away from it; one price interval unless set.
    pub max_price_age: Option<Span>,
    /// How long a round waits for prices that are missing.
    pub settle_timeout: Span,
    /// Raw scores are capped at this many times the round's median.
    pub outlier_cap: f64,
    /// How long a model may be unconnected, and counted as absent, before it leaves the field.
    pub leave_after: Span,
    /// How much an asset counts in windows; 1 unless set.
    pub asset_weights: BTreeMap<Asset, f64>,
    /// How much a horizon counts in windows; 1 unless set.
    pub horizon_weights: BTreeMap<Span, f64>,
    /// What an asset's raw scores are divided by; 1 unless set.
    pub asset_scales: BTreeMap<Asset, f64>,
    /// Threads that score, and so rounds that a worker takes side by side; as many as there are cores unless set.
    pub threads: Option<NonZeroUsize>,
    /// The grids of the rule `crps_grid`.
    pub crps_grid: GridSettings,
}

impl Default for Config {
    fn default() -> Self {
        let name = |text: &str| Asset::new(text).ok();
        let assets: Vec<Asset> = ["BTC", "ETH", "SOL", "XAU"].into_iter().filter_map(name).collect();
        Config {
            crunch_id: default_crunch(),
            database: DatabaseConfig::default(),
            orchestrator: OrchestratorConfig::default(),
            predict: PredictConfig::default(),
            models: ModelsConfig::default(),
            schedules: Schedules::standard(&assets),
            markets: Vec::new(),
            prices: PricesConfig::default(),
            scoring: ScoringConfig::default(),
            report: ReportConfig::default(),
            retention: Retention::default(),
        }
    }
}

#[allow(clippy::unwrap_used, reason = "a constant that a test covers")]
fn default_crunch() -> CrunchId {
    CrunchId::new("condor").unwrap()
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        DatabaseConfig { url: "sqlite://condor.db".into(), answer_timeout: Span::seconds(60) }
    }
}

impl std::fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("url", &without_secrets(&self.url))
            .field("answer_timeout", &self.answer_timeout)
            .finish()
    }
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        OrchestratorConfig { url: "ws://127.0.0.1:9091".into(), security: SecurityConfig::Plain {} }
    }
}

impl Default for PredictConfig {
    fn default() -> Self {
        PredictConfig { journal: None, max_journal_bytes: journal::DEFAULT_MAX_BYTES }
    }
}

impl Default for ModelsConfig {
    fn default() -> Self {
        let limits = scoring::Limits::default();
        let health = model_client::HealthLimits::default();
        ModelsConfig {
            base_class: "crunch_synth.tracker.TrackerBase".into(),
            call_timeout: Span::seconds(50),
            setup_timeout: Span::seconds(120),
            join_grace: predict_worker::PredictSettings::JOIN_GRACE,
            max_consecutive_failures: health.max_consecutive_failures,
            max_consecutive_timeouts: health.max_consecutive_timeouts,
            report_failures: true,
            max_answer_bytes: limits.max_answer_bytes,
            max_buffered_answer_bytes: model_client::DEFAULT_MAX_BUFFERED_ANSWER_BYTES,
            max_components: limits.max_leaves,
            max_nesting: limits.max_nesting,
            max_buckets: limits.max_buckets,
            max_samples: limits.max_samples,
        }
    }
}

impl ModelsConfig {
    /// What a model may answer.
    pub fn limits(&self) -> scoring::Limits {
        scoring::Limits {
            max_answer_bytes: self.max_answer_bytes,
            max_leaves: self.max_components,
            max_nesting: self.max_nesting,
            max_buckets: self.max_buckets,
            max_samples: self.max_samples,
        }
    }
}

impl Default for PricesConfig {
    fn default() -> Self {
        PricesConfig {
            interval: Span::minutes(1),
            history: Span::days(30),
            open_grace: predict_worker::PredictSettings::OPEN_GRACE,
            max_deviation: 0.02,
            sources: vec![PriceSource::Simulated {
                seed: 1,
                origin: "2026-01-01T00:00:00Z".parse().unwrap_or_default(),
            }],
        }
    }
}

impl Default for ScoringConfig {
    fn default() -> Self {
        ScoringConfig {
            rule: "crps".into(),
            aggregation: Aggregation::default(),
            settlement: PriceChoice::default(),
            max_price_age: None,
            settle_timeout: Span::hours(6),
            outlier_cap: scoring::DEFAULT_OUTLIER_CAP,
            leave_after: Span::hours(168),
            asset_weights: BTreeMap::new(),
            horizon_weights: BTreeMap::new(),
            asset_scales: BTreeMap::new(),
            threads: None,
            crps_grid: GridSettings::default(),
        }
    }
}

/// Settings that make no sense. The message names the place and the cure.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that was named is not there.
    #[error("{}: no such file: give the path of a condor.toml to --config", .0.display())]
    NoFile(PathBuf),
    /// A key or value that cannot be taken.
    #[error("{0}")]
    Invalid(Box<figment::Error>),
    /// A timetable that cannot be kept.
    #[error("[[schedules]]: {0}")]
    Schedules(#[from] ScheduleError),
    /// A calendar that makes no sense.
    #[error("[[markets]]: {0}")]
    Markets(#[from] MarketError),
    /// A value that is well-formed but makes no sense.
    #[error("{key}: {fault}")]
    Value {
        /// Where, as in the file.
        key: &'static str,
        /// What is wrong and what to write.
        fault: String,
    },
    /// What can change while a worker runs does not go with what cannot.
    #[error("{0}, with the settings that cannot change while the worker runs: restart to apply")]
    BeforeRestart(Box<ConfigError>),
}

/// Settings together with where they came from.
pub struct Loaded {
    /// The settings in force.
    pub config: Config,
    figment: Figment,
}

/// Reads settings: defaults, then the file, then the environment, then `database` from the command line. Without a named
/// file, `condor.toml` in the current folder is read if it is there.
pub fn load(file: Option<&Path>, database: Option<&str>) -> Result<Loaded, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(path) = file.filter(|path| !path.is_file()) {
        return Err(ConfigError::NoFile(path.to_owned()));
    }
    let found = file.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|path| path.is_file()));
    if let Some(path) = found {
        figment = figment.merge(Toml::file_exact(path));
    }
    figment = figment
        .merge(Env::raw().only(&["DATABASE_URL"]).map(|_| "database.url".into()))
        // the key of the deploy API is no setting of the workers
        .merge(Env::prefixed("CONDOR_").ignore(&["deploy_key"]).split("__"));
    if let Some(url) = database {
        figment = figment.merge(Serialized::global("database.url", url).profile(Profile::Default));
    }
    let config: Config = figment.extract().map_err(|error| ConfigError::Invalid(Box::new(error)))?;
    config.check()?;
    Ok(Loaded { config, figment })
}

impl Config {
    /// The checked timetable.
    pub fn schedules(&self) -> Result<Schedules, ConfigError> {
        Ok(Schedules::new(self.schedules.clone(), self.prices.interval)?)
    }

    /// The checked calendars.
    pub fn markets(&self) -> Result<Markets, ConfigError> {
        Ok(Markets::new(self.markets.clone())?)
    }

    /// The journal of the predict worker.
    pub fn journal(&self) -> PathBuf {
        const DEFAULT: &str = "condor-journal.db";
        let beside = |path: &str| {
            let path = Path::new(path);
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{stem}-journal.db"))
        };
        let default = || self.database.url.strip_prefix("sqlite://").map_or(DEFAULT.into(), beside);
        self.predict.journal.clone().unwrap_or_else(default)
    }

    /// How much assets and horizons count in windows.
    pub fn weights(&self) -> Weights {
        Weights { assets: self.scoring.asset_weights.clone(), horizons: self.scoring.horizon_weights.clone() }
    }

    /// The scoring rule.
    pub fn rule(&self) -> Result<Arc<dyn Rule>, ConfigError> {
        let settings = RuleSettings { crps_grid: self.scoring.crps_grid.clone() };
        scoring::rule(&self.scoring.rule, &settings).map_err(|error| ConfigError::Value {
            key: match error {
                scoring::InvalidRule::Unknown { .. } => "scoring.rule",
                scoring::InvalidRule::Grid(_) => "scoring.crps_grid",
            },
            fault: error.to_string(),
        })
    }

    /// How prices become moves.
    pub fn settlement(&self) -> SettlementSettings {
        SettlementSettings {
            interval: self.prices.interval,
            choice: self.scoring.settlement,
            max_price_age: self.scoring.max_price_age.unwrap_or(self.prices.interval),
            settle_timeout: self.scoring.settle_timeout,
        }
    }

    /// How models' nodes are connected to: reads certificates and keys.
    pub fn security(&self) -> Result<Security, ConfigError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let checks = FileChecks::default();
        let read = match &self.orchestrator.security {
            SecurityConfig::Plain {} => Ok(Security::plain()),
            SecurityConfig::MutualTls { directory, warn_before } => {
                let checks = FileChecks { warn_before: warn_before.as_duration(), ..checks };
                Security::mutual_tls(directory, checks, clock)
            }
            SecurityConfig::Gateway { private_key, authorities } => {
                Security::gateway(private_key, authorities.as_deref(), checks, clock)
            }
        };
        let unusable = |error: CredentialsError| ConfigError::Value {
            key: "orchestrator.security",
            fault: error.to_string(),
        };
        read.map_err(unusable)
    }

    /// Finds values that make no sense, by themselves or beside each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.database.answer_timeout.is_zero() {
            return invalid("database.answer_timeout", "it is zero: write a span such as \"60s\"");
        }
        self.schedules()?;
        self.prices.check_sources(&self.schedules()?.assets())?;
        self.markets()?;
        self.check_security()?;
        self.check_predict()?;
        self.check_models()?;
        self.check_scoring()?;
        self.check_rule()?;
        self.check_asked()?;
        self.report.check()?;
        self.check_retention()
    }

    /// The files themselves are read by the workers that need them.
    fn check_security(&self) -> Result<(), ConfigError> {
        let (key, path) = match &self.orchestrator.security {
            SecurityConfig::Plain {} => return Ok(()),
            SecurityConfig::MutualTls { directory, .. } => ("orchestrator.security.directory", directory),
            SecurityConfig::Gateway { private_key, .. } => ("orchestrator.security.private_key", private_key),
        };
        if path.as_os_str().is_empty() {
            return invalid(key, "it is empty: write a path");
        }
        Ok(())
    }

    fn check_predict(&self) -> Result<(), ConfigError> {
        if self.predict.journal.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return invalid("predict.journal", "it is empty: write a path, or leave it out");
        }
        if self.predict.max_journal_bytes < LEAST_JOURNAL_BYTES {
            return invalid("predict.max_journal_bytes", format!("write at least {LEAST_JOURNAL_BYTES}"));
        }
        Ok(())
    }

    fn check_models(&self) -> Result<(), ConfigError> {
        let models = &self.models;
        if models.call_timeout.is_zero() {
            return invalid("models.call_timeout", "it is zero: write a span such as \"50s\"");
        }
        if models.call_timeout <= self.prices.open_grace {
            let grace = self.prices.open_grace;
            return invalid(
                "models.call_timeout",
                format!("it is not longer than prices.open_grace ({grace})"),
            );
        }
        let limits = [
            ("models.max_answer_bytes", models.max_answer_bytes),
            ("models.max_components", models.max_components),
            ("models.max_nesting", models.max_nesting),
            ("models.max_buckets", models.max_buckets),
            ("models.max_samples", models.max_samples),
        ];
        if let Some((key, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
            return invalid(key, "it is 0, so no answer would be accepted: write at least 1");
        }
        if models.max_buffered_answer_bytes < models.max_answer_bytes {
            return invalid(
                "models.max_buffered_answer_bytes",
                format!("it is less than models.max_answer_bytes ({})", models.max_answer_bytes),
            );
        }
        if models.max_nesting > MOST_NESTING {
            return invalid("models.max_nesting", format!("write at most {MOST_NESTING}"));
        }
        Ok(())
    }

    fn check_scoring(&self) -> Result<(), ConfigError> {
        let scoring = &self.scoring;
        let cap = scoring.outlier_cap;
        if !(cap.is_finite() && cap >= 1.0) {
            return invalid("scoring.outlier_cap", format!("{cap} is not a finite number of at least 1"));
        }
        let is_weight = |weight: f64| weight.is_finite() && weight >= 0.0;
        let weight_fault =
            |of: &dyn Display, weight| format!("{of} has {weight}: write a number of at least 0");
        if let Some((asset, weight)) = scoring.asset_weights.iter().find(|(_, weight)| !is_weight(**weight)) {
            return invalid("scoring.asset_weights", weight_fault(asset, weight));
        }
        if let Some((span, weight)) = scoring.horizon_weights.iter().find(|(_, weight)| !is_weight(**weight))
        {
            return invalid("scoring.horizon_weights", weight_fault(span, weight));
        }
        let is_scale = |scale: f64| (1e-100..=1e100).contains(&scale);
        if let Some((asset, scale)) = scoring.asset_scales.iter().find(|(_, scale)| !is_scale(**scale)) {
            let fault = format!("{asset} has {scale}: write a number from 1e-100 to 1e100, such as 1.0");
            return invalid("scoring.asset_scales", fault);
        }
        let (age, interval) = (self.settlement().max_price_age, self.prices.interval);
        if age < interval {
            let fault = format!(
                "{age} is shorter than prices.interval: write at least \"{interval}\" or leave it out"
            );
            return invalid("scoring.max_price_age", fault);
        }
        Ok(())
    }

    /// Whatever is asked can be scored.
    fn check_rule(&self) -> Result<(), ConfigError> {
        let rule = self.rule()?;
        match self.schedules()?.assets().iter().find(|asset| !rule.covers(asset)) {
            None => Ok(()),
            Some(asset) => Err(ConfigError::Value {
                key: "scoring.crps_grid.bounds",
                fault: format!("there is none for {asset}: write {asset} = T, in the unit of the target"),
            }),
        }
    }

    /// Nothing goes that is still needed.
    fn check_retention(&self) -> Result<(), ConfigError> {
        let longest = self.schedules()?.horizons().into_iter().max().unwrap_or_default();
        self.retention.check(longest, self.prices.history).map_err(|error| ConfigError::Value {
            key: match error.what {
                Prunable::RefusedAnswers => "retention.refused_answers",
                Prunable::Predictions => "retention.predictions",
                Prunable::Scores => "retention.scores",
                Prunable::Leaderboards => "retention.leaderboards",
                Prunable::Snapshots => "retention.snapshots",
                Prunable::Prices => "retention.prices",
            },
            fault: error.to_string(),
        })
    }

    /// A weight, scale or market of something that is not asked is a slip of the pen.
    fn check_asked(&self) -> Result<(), ConfigError> {
        let schedules = self.schedules()?;
        let (assets, horizons) = (schedules.assets(), schedules.horizons());
        let mut traded = self.markets.iter().flat_map(|market| &market.assets);
        if let Some(asset) = traded.find(|asset| !assets.contains(asset)) {
            return invalid("markets.assets", format!("no schedule asks about {asset}"));
        }
        let by_asset = [
            ("scoring.asset_weights", &self.scoring.asset_weights),
            ("scoring.asset_scales", &self.scoring.asset_scales),
        ];
        for (key, values) in by_asset {
            if let Some(asset) = values.keys().find(|asset| !assets.contains(asset)) {
                let fault = format!(
                    "no schedule asks about {asset}; in the environment keys are lower case: use the file"
                );
                return Err(ConfigError::Value { key, fault });
            }
        }
        if let Some(horizon) = self.scoring.horizon_weights.keys().find(|horizon| !horizons.contains(horizon))
        {
            let fault = format!("no schedule has the horizon {horizon}");
            return Err(ConfigError::Value { key: "scoring.horizon_weights", fault });
        }
        Ok(())
    }
}

/// JSON is not read much deeper than mixtures of this depth are.
const MOST_NESTING: usize = 40;

/// A round of many long answers has room in it.
const LEAST_JOURNAL_BYTES: u64 = 100 << 20;

fn invalid<T>(key: &'static str, fault: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key, fault: fault.into() })
}

/// A setting in force and where it came from.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// Dotted, as in the environment.
    pub key: String,
    /// As in the file; passwords are left out.
    pub value: String,
    /// `default`, a file, the environment, or the command line.
    pub source: String,
}

impl Loaded {
    /// Every setting in force and where it came from.
    pub fn settings(&self) -> Vec<Setting> {
        let mut leaves = Vec::new();
        let mut config = self.config.clone();
        config.scoring.max_price_age = Some(config.settlement().max_price_age);
        config.predict.journal = Some(config.journal());
        config.prices.sources = config.prices.sources.into_iter().map(PriceSource::masked).collect();
        config.scoring.threads = config.scoring.threads.or(std::thread::available_parallelism().ok());
        if let Ok(value) = toml::Value::try_from(&config) {
            collect_leaves("", &value, &mut leaves);
        }
        let describe = |(key, value): (String, String)| {
            let value = if key == "database.url" { without_secrets(&value) } else { value };
            Setting { source: self.source_of(&key), key, value }
        };
        leaves.into_iter().map(describe).collect()
    }

    fn source_of(&self, key: &str) -> String {
        let Some(metadata) = self.figment.find_metadata(key) else { return "default".into() };
        if let Some(path) = metadata.source.as_ref().and_then(|source| source.file_path()) {
            return path.display().to_string();
        }
        if metadata.name.contains("environment") {
            return "environment".into();
        }
        // Values from the command line are merged one by one, defaults as a whole.
        if metadata.name.contains("Config") { "default".into() } else { "command line".into() }
    }
}

fn collect_leaves(key: &str, value: &toml::Value, leaves: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                collect_leaves(&key, value, leaves);
            }
        }
        value => leaves.push((key.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(toml: &str) -> Result<Loaded, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        load(Some(file.path()), None)
    }

    fn refused(toml: &str) -> String {
        loaded(toml).err().expect("refused").to_string()
    }

    #[test]
    fn the_commented_sample_is_valid_and_shows_the_defaults() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../condor.toml");
        let loaded = load(Some(Path::new(sample)), None).unwrap();
        assert_eq!(loaded.config, Config::default());
    }

    #[test]
    fn unknown_keys_and_senseless_values_are_refused_with_the_place() {
        assert!(refused("[modles]\n").contains("modles"));
        assert!(refused("[models]\ncall_timeuot = \"5s\"\n").contains("call_timeuot"));
        assert!(refused("[models]\ncall_timeout = \"5 seconds\"\n").contains("90s, 15m, 24h"));
        assert!(refused("[models]\ncall_timeout = \"5s\"\n").contains("longer than prices.open_grace"));
        assert!(refused("[scoring]\nrule = \"best\"\n").contains("scoring.rule"));
        assert!(refused("[database]\nanswer_timeout = \"0s\"\n").contains("database.answer_timeout"));
        assert!(refused("[scoring]\noutlier_cap = nan\n").contains("scoring.outlier_cap"));
        assert!(
            refused("[scoring]\nasset_weights = { BTC = -1.0 }\n")
                .contains("scoring.asset_weights: BTC has -1")
        );
        assert!(
            refused("[scoring]\nhorizon_weights = { 24h = inf }\n")
                .contains("scoring.horizon_weights: 24h has inf")
        );
        assert!(refused("[scoring]\nasset_weights = { btc = 1.0 }\n").contains("no schedule asks about btc"));
        assert!(
            refused("[scoring]\nhorizon_weights = { 2h = 1.0 }\n").contains("no schedule has the horizon 2h")
        );
        let market = |zone: &str, asset: &str, sessions: &str| {
            let (name, assets) = ("name = \"metals\"", format!("assets = [\"{asset}\"]"));
            refused(&format!("[[markets]]\n{name}\n{assets}\nzone = \"{zone}\"\nsessions = {sessions}\n"))
        };
        assert!(market("Mars", "XAU", "[]").contains("America/New_York"));
        assert!(market("UTC", "XAU", "[\"9 to 5\"]").contains("Mon 09:30 - Mon 16:00"));
        assert!(market("UTC", "XAU", "[]").contains("[[markets]]: the market metals has no sessions"));
        let unasked = market("UTC", "PALLADIUM", "[\"Mon 09:30 - Mon 16:00\"]");
        assert!(unasked.contains("no schedule asks about PALLADIUM"), "{unasked}");
        let retention = refused("[retention]\npredictions = \"7d\"\n");
        assert!(retention.contains("retention.predictions: 7d is too short"), "{retention}");
        assert!(retention.contains("write at least \"16d\""), "{retention}");
        assert!(refused("[retention]\nprices = \"always\"\n").contains("or forever"));
        assert!(refused("[retention]\nanswers = \"30d\"\n").contains("answers"));
        let security = |settings: &str| refused(&format!("[orchestrator.security]\n{settings}\n"));
        assert!(security("kind = \"tls\"").contains("mutual_tls"));
        assert!(security("kind = \"plain\"\ndirectory = \"d\"").contains("directory"));
        assert!(security("kind = \"mutual_tls\"").contains("directory"));
        assert!(security("kind = \"mutual_tls\"\ndirectory = \"\"").contains("write a path"));
        assert!(security("kind = \"gateway\"").contains("private_key"));
        assert!(refused("[scoring]\naggregation = \"median\"\n").contains("aggregation"));
        assert!(refused("[scoring]\nthreads = 0\n").contains("threads"));
        assert!(
            refused("[scoring]\nasset_scales = { BTC = 0.0 }\n").contains("scoring.asset_scales: BTC has 0")
        );
        assert!(refused("[scoring]\nasset_scales = { BTC = 1e-320 }\n").contains("from 1e-100 to 1e100"));
        assert!(
            refused("[scoring]\nasset_scales = { DOGE = 1.0 }\n").contains("no schedule asks about DOGE")
        );
        assert!(refused("[scoring]\nsettlement = \"first\"\n").contains("settlement"));
        assert!(refused("[scoring]\nmax_price_age = \"59s\"\n").contains("write at least \"1m\""));
        let uneven =
            "[[schedules]]\nassets = [\"BTC\"]\nhorizon = \"1h\"\nsteps = [\"7m\"]\nevery = \"12m\"\n";
        assert!(refused(uneven).contains("step 7m does not divide the horizon 1h"));
        assert!(
            load(Some(Path::new("nowhere.toml")), None).err().unwrap().to_string().contains("nowhere.toml")
        );
    }

    #[test]
    fn credentials_are_read_by_whoever_needs_them_and_named_when_they_cannot_be() {
        let toml = "[orchestrator.security]\nkind = \"mutual_tls\"\ndirectory = \"nowhere\"\n";
        let config = loaded(toml).unwrap().config;
        let expected = SecurityConfig::MutualTls { directory: "nowhere".into(), warn_before: Span::days(14) };
        assert_eq!(config.orchestrator.security, expected);
        let fault = config.security().unwrap_err().to_string();
        assert!(fault.starts_with("orchestrator.security: nowhere/ca.crt: "), "{fault}");
        let toml = "[orchestrator.security]\nkind = \"gateway\"\nprivate_key = \"nowhere.key\"\n";
        let fault = loaded(toml).unwrap().config.security().unwrap_err().to_string();
        assert!(fault.starts_with("orchestrator.security: nowhere.key: "), "{fault}");
        assert!(Config::default().security().is_ok());
    }

    #[test]
    fn the_grid_rule_needs_a_bound_for_each_asset_that_is_asked() {
        let grid = |rest: &str| format!("[scoring]\nrule = \"crps_grid\"\n[scoring.crps_grid]\n{rest}\n");
        let most = "bounds = { BTC = 1500.0, ETH = 80.0, SOL = 4.0, XRP = 0.04 }";
        assert_eq!(
            refused(&grid(most)),
            "scoring.crps_grid.bounds: there is none for XAU: write XAU = T, in the unit of the target"
        );
        let all = "bounds = { BTC = 1500.0, ETH = 80.0, SOL = 4.0, XAU = 33.0 }";
        assert_eq!(loaded(&grid(all)).unwrap().config.rule().unwrap().to_string(), "crps_grid/1");
        assert!(refused(&grid(&format!("{all}\npoints = 1"))).starts_with("scoring.crps_grid: 1 points"));
        assert!(refused(&grid("bounds = { BTC = -1.0 }")).contains("the bound of BTC is -1"));
        assert!(refused(&grid("bound = { BTC = 1.0 }")).contains("bound"));
    }

    #[test]
    fn every_limit_of_answers_is_a_setting() {
        let toml = "[models]\nmax_answer_bytes = 9\nmax_components = 8\nmax_nesting = 7\nmax_buckets = 6\nmax_samples = 5\n";
        let limits = loaded(toml).unwrap().config.models.limits();
        let expected = scoring::Limits {
            max_answer_bytes: 9,
            max_leaves: 8,
            max_nesting: 7,
            max_buckets: 6,
            max_samples: 5,
        };
        assert_eq!(limits, expected);
        assert_eq!(Config::default().models.limits(), scoring::Limits::default());
        for line in toml.lines().skip(1) {
            let (key, _) = line.split_once(' ').unwrap();
            let refusal = refused(&format!("[models]\n{key} = 0\n"));
            assert_eq!(
                refusal,
                format!("models.{key}: it is 0, so no answer would be accepted: write at least 1")
            );
        }
        assert_eq!(
            refused("[models]\nmax_answer_bytes = 10\nmax_buffered_answer_bytes = 9\n"),
            "models.max_buffered_answer_bytes: it is less than models.max_answer_bytes (10)"
        );
        assert_eq!(refused("[models]\nmax_nesting = 41\n"), "models.max_nesting: write at most 40");
    }

    /// The deepest setting is one that the parser can keep.
    #[test]
    fn mixtures_as_deep_as_can_be_set_are_read() {
        let leaf = r#"{"type":"builtin","name":"norm","params":{"loc":0,"scale":1}}"#;
        let mixture = |inner: String| {
            format!(r#"{{"type":"mixture","components":[{{"weight":1,"density":{inner}}}]}}"#)
        };
        let deepest = (1..MOST_NESTING).fold(leaf.to_owned(), |inner, _| mixture(inner));
        let expected = scoring::Expected {
            horizon: Span::HOUR,
            steps: vec![Span::HOUR],
            method: domain::Method::PredictAll,
        };
        let limits = scoring::Limits { max_nesting: MOST_NESTING, ..scoring::Limits::default() };
        let answer = |density: &str| format!(r#"{{"3600":[{density}]}}"#);
        scoring::parse_answer(answer(&deepest).as_bytes(), &expected, &limits).unwrap();
        scoring::parse_answer(answer(&mixture(deepest)).as_bytes(), &expected, &limits).unwrap_err();
    }

    #[test]
    fn a_price_is_at_most_one_interval_old_unless_set() {
        let age = |toml: &str| {
            let loaded = loaded(toml).unwrap();
            let settings = loaded.settings().into_iter();
            let shown = settings.filter(|setting| setting.key == "scoring.max_price_age");
            (loaded.config.settlement().max_price_age, shown.map(|setting| setting.value).collect::<Vec<_>>())
        };
        assert_eq!(age(""), (Span::minutes(1), vec!["\"1m\"".to_owned()]));
        assert_eq!(age("[prices]\ninterval = \"30s\"\n").0, Span::seconds(30));
        assert_eq!(age("[scoring]\nmax_price_age = \"5m\"\n"), (Span::minutes(5), vec!["\"5m\"".to_owned()]));
    }

    #[test]
    fn the_journal_is_beside_the_database_unless_it_is_somewhere_else() {
        let journal = |toml: &str| loaded(toml).unwrap().config.journal();
        assert_eq!(journal(""), Path::new("condor-journal.db"));
        let beside = journal("[database]\nurl = \"sqlite:///var/lib/c.db\"\n");
        assert_eq!(beside, Path::new("/var/lib/c-journal.db"));
        let server = "[database]\nurl = \"postgres://host/condor\"\n";
        assert_eq!(journal(server), Path::new("condor-journal.db"));
        assert_eq!(journal(&format!("{server}[predict]\njournal = \"/j.db\"\n")), Path::new("/j.db"));
        assert!(refused("[predict]\njournal = \"\"\n").starts_with("predict.journal: it is empty"));
        assert!(refused("[predict]\nmax_journal_bytes = 1\n").contains("write at least 104857600"));
    }

    #[test]
    fn a_setting_says_where_it_came_from() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[models]\ncall_timeout = \"9s\"\n").unwrap();
        let loaded = load(Some(file.path()), Some("postgres://me:secret@host/db")).unwrap();
        let find = |key: &str| loaded.settings().into_iter().find(|setting| setting.key == key).unwrap();
        assert_eq!(find("models.call_timeout").value, "\"9s\"");
        assert_eq!(
            find("models.call_timeout").source,
            file.path().canonicalize().unwrap().display().to_string()
        );
        assert_eq!(find("models.setup_timeout").source, "default");
        assert_eq!(find("database.url").source, "command line");
        assert_eq!(find("database.url").value, "\"postgres://me@host/db\"");
    }
}
