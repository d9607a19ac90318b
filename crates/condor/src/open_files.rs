//! The limit of open files, which is that of connections: each model takes one.

use model_client::ClusterEvent;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What a process has open besides its connections to models: database, logs, listeners, health checks.
const RESERVE: u64 = 100;

/// Raises this process's limit as far as the system lets it; usual soft limits are below a thousand models.
pub fn raise_limit() {
    if let Err(error) = try_raise() {
        tracing::warn!(%error, "cannot raise the limit of open files: {error}");
    }
}

fn try_raise() -> Result<(), Errno> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}

/// Passes the events on, and warns once when more models run than connections can be open.
pub fn watch(mut events: UnboundedReceiver<ClusterEvent>) -> UnboundedReceiver<ClusterEvent> {
    let (passed_on, watched) = unbounded_channel();
    let mut tally = Tally::default();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            tally.note(&event);
            if passed_on.send(event).is_err() {
                return;
            }
        }
    });
    watched
}

#[derive(Default)]
struct Tally {
    models: u64,
    is_complete: bool,
    has_warned: bool,
}

impl Tally {
    fn note(&mut self, event: &ClusterEvent) {
        match event {
            ClusterEvent::Joined(_) => self.models += 1,
            ClusterEvent::Left { .. } => self.models = self.models.saturating_sub(1),
            ClusterEvent::Initialised => self.is_complete = true,
            ClusterEvent::Renamed(_) | ClusterEvent::Disconnected { .. } => return,
        }
        if self.is_complete && !self.has_warned {
            self.has_warned = self.warn_if_short();
        }
    }

    fn warn_if_short(&self) -> bool {
        let (models, wanted) = (self.models, self.models + RESERVE);
        // Where the limit cannot be told, there is nothing to say of it.
        let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return false };
        if limit >= wanted {
            return false;
        }
        tracing::warn!(
            models,
            limit,
            "{models} models run and this process may have {limit} files and connections open: some models will not be \
             reached. Raise the limit before the start, with ulimit -n {wanted} or LimitNOFILE= of the service"
        );
        true
    }
}
