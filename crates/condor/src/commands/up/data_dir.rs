//! The folder in which `condor up` keeps everything.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use domain::{Clock, SystemClock, TimestampExt};
use feeds::RecordedPrices;
use orchestrator::roster;

use super::super::UsageError;
use super::PRICES_BEFORE_WARM_UP;
use crate::cli::UpArgs;
use crate::config::{Config, PriceSource, load};

/// The seed of the simulated market.
const MARKET_SEED: u64 = 1;

/// The folder, held by this process alone.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Opens the folder; makes it and its files when they are not there. What an unfinished warm-up left is removed.
    pub fn open(args: &UpArgs) -> anyhow::Result<Self> {
        fs::create_dir_all(&args.data_dir)
            .with_context(|| format!("cannot make the folder {}", args.data_dir.display()))?;
        let path = args.data_dir.canonicalize()?;
        let data = DataDir { _lock: lock(&path)?, path };
        if !data.is_warmed_up() {
            data.remove_database()?;
            fs::write(data.config_file(), data.new_config(args)?).context("cannot write condor.toml")?;
            let models = roster(args.models);
            orchestrator::write_models_file(&data.models_file(), &models)
                .context("cannot write models.yml")?;
        }
        Ok(data)
    }

    /// The settings of every part.
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(load(Some(&self.config_file()), None)?.config)
    }

    /// `condor.toml`
    pub fn config_file(&self) -> PathBuf {
        self.path.join("condor.toml")
    }

    /// `models.yml`
    pub fn models_file(&self) -> PathBuf {
        self.path.join("models.yml")
    }

    /// True once a warm-up went to its end.
    pub fn is_warmed_up(&self) -> bool {
        self.warm_up_mark().is_file()
    }

    /// Notes that the warm-up went to its end.
    pub fn note_warmed_up(&self) -> anyhow::Result<()> {
        fs::write(self.warm_up_mark(), "").context("cannot note the end of the warm-up")
    }

    fn warm_up_mark(&self) -> PathBuf {
        self.path.join("warm-up-done")
    }

    fn database(&self) -> PathBuf {
        self.path.join("condor.db")
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

    /// Only what differs from the defaults.
    fn new_config(&self, args: &UpArgs) -> anyhow::Result<String> {
        let defaults = Config::default();
        let mut lines = toml::Table::new();
        let mut database = toml::Table::new();
        database.insert("url".into(), format!("sqlite://{}", self.database().display()).into());
        lines.insert("database".into(), database.into());
        let mut prices = toml::Table::new();
        let source = source(args, &defaults)?;
        prices.insert("sources".into(), toml::Value::try_from(vec![source])?);
        lines.insert("prices".into(), prices.into());
        Ok(format!(
            "# Written by `condor up`; read by every part at its start.\n{}",
            toml::to_string(&lines)?
        ))
    }
}

fn lock(path: &Path) -> anyhow::Result<File> {
    let name = path.join("up.lock");
    let file = File::create(&name).with_context(|| format!("cannot create {}", name.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another `condor up` runs on {}: stop it, or choose another --data-dir", path.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", name.display()))
        }
    }
}

fn source(args: &UpArgs, defaults: &Config) -> anyhow::Result<PriceSource> {
    let now = SystemClock.now().floor_to(defaults.prices.interval);
    let lead = args.warm_up + PRICES_BEFORE_WARM_UP;
    let Some(dir) = &args.prices else {
        return Ok(PriceSource::Simulated { seed: MARKET_SEED, origin: now - lead });
    };
    let assets = defaults.schedules()?.assets();
    let usage = |error: feeds::FeedError| UsageError(error.to_string());
    let prices = RecordedPrices::load(dir, &assets).map_err(usage)?;
    let shift = prices.live_shift(now, args.warm_up).map_err(usage)?;
    Ok(PriceSource::Files { dir: dir.canonicalize()?, shift })
}
