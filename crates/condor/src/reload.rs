//! Settings that change while a worker runs: on SIGHUP the configuration is read again.
//!
//! A configuration is taken as a whole or not at all: it is read, checked, and prepared before anything changes. What cannot
//! change while the worker runs stays as it is and is named.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, SystemClock};
use storage::{SettingsNote, Store};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cli::SettingsArgs;
use crate::config::{Config, ConfigError, DEFAULT_FILE, Reloaded, Worker, load};
use crate::signals::Hangups;

/// The pause before a database that is away is told again.
const RETRY: Duration = Duration::from_secs(5);

/// The settings of a worker that runs.
pub struct Reload {
    worker: Worker,
    args: SettingsArgs,
    in_force: Config,
    hangups: Hangups,
    record: Option<Record>,
}

impl Reload {
    /// Follows the configuration that `in_force` was read from. With a store that can be written, the settings and each of their
    /// changes go on record there.
    pub fn new(
        worker: Worker,
        args: &SettingsArgs,
        in_force: Config,
        hangups: Hangups,
        store: Option<Arc<dyn Store>>,
    ) -> Self {
        let reload =
            Reload { worker, args: args.clone(), in_force, hangups, record: store.map(Record::start) };
        reload.note(&format!("start of condor {worker}"));
        reload
    }

    /// Reads the configuration again at each SIGHUP and has `apply` put it in force, which changes nothing when it fails; for as
    /// long as what is returned is kept.
    pub fn follow(
        mut self,
        mut apply: impl FnMut(&Config) -> Result<(), ConfigError> + Send + 'static,
    ) -> DropGuard {
        let stop = CancellationToken::new();
        let following = stop.clone();
        // A task of its own: what it reads takes its time.
        tokio::spawn(async move {
            while following.run_until_cancelled(self.hangups.next()).await.is_some() {
                let reloaded = tokio::task::block_in_place(|| self.reload(&mut apply));
                match reloaded {
                    Ok(reloaded) => self.adopt(reloaded),
                    Err(error) => log_refused(&self.file(), &error),
                }
            }
        });
        stop.drop_guard()
    }

    fn reload(
        &self,
        apply: &mut impl FnMut(&Config) -> Result<(), ConfigError>,
    ) -> Result<Reloaded, ConfigError> {
        let new = load(self.args.config.as_deref(), self.args.database.as_deref())?.config;
        let reloaded = self.in_force.reloaded(&new, self.worker)?;
        if !reloaded.changed.is_empty() {
            apply(&reloaded.config)?;
        }
        Ok(reloaded)
    }

    fn adopt(&mut self, Reloaded { config, changed, waiting }: Reloaded) {
        let worker = self.worker;
        for change in &changed {
            let (key, from, to) = (change.key, &change.from, &change.to);
            tracing::info!(%worker, key, from, to, "SIGHUP: {key} changes from {from} to {to}");
        }
        if !waiting.is_empty() {
            let keys = Vec::from_iter(waiting).join(", ");
            tracing::warn!(%worker, keys, "SIGHUP: these cannot change while {worker} runs; restart to apply: {keys}");
        } else if changed.is_empty() {
            tracing::info!(%worker, "SIGHUP: no setting of {worker} has changed");
        }
        self.in_force = config;
        if !changed.is_empty() {
            self.note("SIGHUP");
        }
    }

    fn note(&self, cause: &str) {
        let Some(record) = &self.record else { return };
        match self.in_force.live_settings(self.worker) {
            Ok(settings) => {
                let by = format!("{cause} ({})", self.file());
                record.note(SettingsNote { at: SystemClock.now(), by, settings });
            }
            Err(error) => tracing::error!(%error, "the settings cannot be put on record"),
        }
    }

    /// Where the settings come from, without the folders of this machine: the record is public.
    fn file(&self) -> String {
        let path = self.args.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }
}

/// Tells in one line what is wrong with a configuration and how to mend it.
pub fn log_refused(file: &str, error: &dyn std::fmt::Display) {
    // Syntax errors come with a drawing of several lines.
    let error = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    tracing::error!(
        file,
        error,
        "SIGHUP: the configuration is refused and nothing has changed: {file}: {error}: mend it, try it with `condor config \
         check`, and send SIGHUP again"
    );
}

/// Puts settings on record in their order, however long the database is away.
struct Record(mpsc::UnboundedSender<SettingsNote>);

impl Record {
    fn start(store: Arc<dyn Store>) -> Self {
        let (notes, mut waiting) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(note) = waiting.recv().await {
                record(store.as_ref(), &note).await;
            }
        });
        Record(notes)
    }

    fn note(&self, note: SettingsNote) {
        // The task lives as long as this.
        let _ = self.0.send(note);
    }
}

async fn record(store: &dyn Store, note: &SettingsNote) {
    loop {
        match store.note_settings(note).await {
            Ok(_) => return,
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "the settings are not on record yet, trying again");
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => {
                tracing::error!(%error, by = note.by, "the settings are not put on record");
                return;
            }
        }
    }
}
