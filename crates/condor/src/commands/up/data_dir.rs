//! The folder in which `condor up` keeps everything.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use domain::{Schedule, Span};
use orchestrator::{Adopted, roster};

use super::super::UsageError;
use super::market::Market;
use crate::cli::UpArgs;
use crate::config::{Config, load};
use crate::store::lock_file;

const DEFAULT_MODELS: usize = 5;
/// Fills the longest window: its first rounds resolve within a day.
const DEFAULT_WARM_UP: Span = Span::days(8);

/// What a new folder is filled with.
pub struct Setup {
    /// How many built-in models there are.
    pub models: usize,
    /// How much is replayed.
    pub warm_up: Span,
}

impl Setup {
    fn from(args: &UpArgs) -> Self {
        Setup {
            models: args.models.unwrap_or(DEFAULT_MODELS),
            warm_up: args.warm_up.unwrap_or(DEFAULT_WARM_UP),
        }
    }
}

/// The folder, held by this process alone.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens the folder, and makes it when it is not there.
    pub fn open(args: &UpArgs) -> anyhow::Result<Self> {
        // closed to everybody else, submissions with users of their own included
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&args.data_dir)
            .with_context(|| format!("cannot make the folder {}", args.data_dir.display()))?;
        let path = args.data_dir.canonicalize()?;
        let held =
            format!("another `condor up` runs on {}: stop it, or choose another --data-dir", path.display());
        let data = DataDir { _lock: lock_file(&path.join("up.lock"), &held)?, path };
        data.refuse_late_choices(args)?;
        Ok(data)
    }

    /// The settings of every part. The database is the folder's, whatever the environment says.
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(load(Some(&self.config_file()), Some(&self.database_url()))?.config)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `condor.toml`
    pub fn config_file(&self) -> PathBuf {
        self.path.join("condor.toml")
    }

    /// `models.yml`
    pub fn models_file(&self) -> PathBuf {
        self.path.join("models.yml")
    }

    /// The folder of Python submissions.
    pub fn submissions(&self) -> PathBuf {
        self.path.join("submissions")
    }

    /// The journal of the predict worker.
    pub fn journal(&self) -> PathBuf {
        self.path.join("condor-journal.db")
    }

    /// What is to be done before live operation; `None` once a warm-up went to its end, unless all is to begin anew.
    pub fn setup_to_do(&self, args: &UpArgs) -> Option<Setup> {
        (args.reset || !self.set_up_mark().is_file()).then(|| Setup::from(args))
    }

    /// Notes that the warm-up went to its end.
    pub fn note_set_up(&self) -> anyhow::Result<()> {
        fs::write(self.set_up_mark(), "").context("cannot note the end of the warm-up")
    }

    /// Writes `condor.toml` for the market and `models.yml` with the built-in models. What an earlier run left is removed, rounds and
    /// scores included; submissions, their entries and the deploy key stay.
    pub fn set_up(&self, setup: &Setup, market: &Market) -> anyhow::Result<()> {
        let config = new_config(market, &self.database_url())?;
        // first of all: without it, whatever is left is made anew
        remove(&self.set_up_mark())?;
        remove_sqlite(&self.database())?;
        remove_sqlite(&self.journal())?;
        fs::write(self.config_file(), config).context("cannot write condor.toml")?;
        orchestrator::set_roster(&self.models_file(), &roster(setup.models))
            .context("cannot write models.yml")
    }

    /// Has every submission in the folder run that no entry of `models.yml` runs.
    pub fn adopt_submissions(&self) -> anyhow::Result<Adopted> {
        orchestrator::adopt_submissions(&self.models_file(), &self.submissions())
            .context("cannot enter the submissions into models.yml")
    }

    /// What a set-up chooses cannot be chosen again.
    fn refuse_late_choices(&self, args: &UpArgs) -> Result<(), UsageError> {
        let chooses =
            args.prices.is_some() || args.feed.is_some() || args.models.is_some() || args.warm_up.is_some();
        if !chooses || self.setup_to_do(args).is_some() {
            return Ok(());
        }
        let (path, file) = (self.path.display(), self.config_file());
        Err(UsageError(format!(
            "{path} is set up already, and --prices, --feed, --models and --warm-up are for a new folder: edit {} and \
             models.yml, add --reset to begin anew, or choose another --data-dir",
            file.display()
        )))
    }

    fn set_up_mark(&self) -> PathBuf {
        self.path.join("warm-up-done")
    }

    fn database(&self) -> PathBuf {
        self.path.join("condor.db")
    }

    fn database_url(&self) -> String {
        format!("sqlite://{}", self.database().display())
    }
}

/// Removes a database with the files that SQLite keeps beside it.
fn remove_sqlite(database: &Path) -> anyhow::Result<()> {
    let database = database.display();
    ["", "-wal", "-shm"].iter().try_for_each(|suffix| remove(Path::new(&format!("{database}{suffix}"))))
}

fn remove(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// Only what differs from the defaults. The database is in it for the commands that are given this file.
fn new_config(market: &Market, database: &str) -> anyhow::Result<String> {
    let defaults = Config::default();
    let mut config = toml::Table::new();
    if market.assets != defaults.schedules()?.assets() {
        let schedules = Vec::from_iter(defaults.schedules.into_iter().map(|schedule| {
            let assets = schedule.assets.into_iter().filter(|asset| market.assets.contains(asset)).collect();
            Schedule { assets, ..schedule }
        }));
        config.insert("schedules".into(), toml::Value::try_from(schedules)?);
    }
    let prices = toml::Table::from_iter([("sources".to_owned(), toml::Value::try_from(&market.sources)?)]);
    config.insert("prices".into(), prices.into());
    let database = toml::Table::from_iter([("url".to_owned(), database.into())]);
    config.insert("database".into(), database.into());
    Ok(format!(
        "# Written by `condor up`; read by every part at its start, and by other commands with --config.\n{}",
        toml::to_string(&config)?
    ))
}
