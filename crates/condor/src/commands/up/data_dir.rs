//! The folder in which `condor up` keeps everything.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use domain::{Clock, Schedule, Span, SystemClock, TimestampExt};
use feeds::{FeedError, RecordedPrices};
use orchestrator::roster;

use super::super::{UsageError, recorded_assets};
use crate::cli::UpArgs;
use crate::config::{Config, PriceSource, load};
use crate::store::lock_file;

/// The seed of the simulated market.
const MARKET_SEED: u64 = 1;
/// The simulated market opens this long before the warm-up, so that models have seen prices when they are first asked.
const MARKET_LEAD: Span = Span::days(1);
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
    /// Opens the folder; makes it and its files when they are not there. What an unfinished warm-up left is made anew.
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
        if data.setup_to_do(args).is_some() {
            data.set_up(args)?;
        } else if args.prices.is_some() || args.models.is_some() || args.warm_up.is_some() {
            let file = data.config_file();
            bail!(UsageError(format!(
                "{} is set up already, and --prices, --models and --warm-up are for a new folder: \
                 edit {} and models.yml, or choose another --data-dir",
                data.path.display(),
                file.display()
            )));
        }
        Ok(data)
    }

    /// The settings of every part. The database is the folder's, whatever the environment says.
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(load(Some(&self.config_file()), Some(&self.database_url()))?.config)
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

    /// What is to be done before live operation; `None` once a warm-up went to its end.
    pub fn setup_to_do(&self, args: &UpArgs) -> Option<Setup> {
        (!self.set_up_mark().is_file()).then(|| Setup::from(args))
    }

    /// Notes that the warm-up went to its end.
    pub fn note_set_up(&self) -> anyhow::Result<()> {
        fs::write(self.set_up_mark(), "").context("cannot note the end of the warm-up")
    }

    fn set_up(&self, args: &UpArgs) -> anyhow::Result<()> {
        let setup = Setup::from(args);
        let config = new_config(args, setup.warm_up, &self.database_url())?;
        self.remove_database()?;
        fs::write(self.config_file(), config).context("cannot write condor.toml")?;
        orchestrator::write_models_file(&self.models_file(), &roster(setup.models))
            .context("cannot write models.yml")
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

    fn remove_database(&self) -> anyhow::Result<()> {
        for suffix in ["", "-wal", "-shm"] {
            let file = PathBuf::from(format!("{}{suffix}", self.database().display()));
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", file.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Only what differs from the defaults. The database is in it for the commands that are given this file.
fn new_config(args: &UpArgs, warm_up: Span, database: &str) -> anyhow::Result<String> {
    let defaults = Config::default();
    let now = SystemClock.now().floor_to(defaults.prices.interval);
    let mut config = toml::Table::new();
    let source = match &args.prices {
        None => PriceSource::Simulated { seed: MARKET_SEED, origin: now - (warm_up + MARKET_LEAD) },
        Some(dir) => {
            let assets = recorded_assets(dir, &defaults.schedules()?.assets())?;
            let usage = |error: FeedError| UsageError(error.to_string());
            let shift = RecordedPrices::load(dir, &assets).and_then(|prices| prices.live_shift(now, warm_up));
            let schedules = Vec::from_iter(defaults.schedules.iter().cloned().map(|schedule| {
                let assets = schedule.assets.into_iter().filter(|asset| assets.contains(asset)).collect();
                Schedule { assets, ..schedule }
            }));
            config.insert("schedules".into(), toml::Value::try_from(schedules)?);
            PriceSource::Files { dir: dir.canonicalize()?, shift: shift.map_err(usage)? }
        }
    };
    let prices = toml::Table::from_iter([("sources".to_owned(), toml::Value::try_from(vec![source])?)]);
    config.insert("prices".into(), prices.into());
    let database = toml::Table::from_iter([("url".to_owned(), database.into())]);
    config.insert("database".into(), database.into());
    Ok(format!(
        "# Written by `condor up`; read by every part at its start, and by other commands with --config.\n{}",
        toml::to_string(&config)?
    ))
}
