//! The local orchestrator: the models of a list, kept running and announced.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{CrunchId, ModelId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::board::Board;
use crate::door::Door;
use crate::fleet::{DeploymentIds, Fleet, Report};
use crate::models_file::ModelEntry;
use crate::models_watch::ModelsWatch;
use crate::runner::Runner;
use crate::server::Server;
use crate::status::{ModelStatus, Statuses};
use crate::submission_id::SubmissionId;
use crate::supervisor::RestartPolicy;

/// How often the models file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Reports that wait for the fleet; beyond them the clients wait.
const REPORTS_WAITING: usize = 64;

/// Where the list of models comes from.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// A `models.yml`, watched for changes.
    File(PathBuf),
    /// These, for ever.
    Fixed(Vec<ModelEntry>),
}

/// A running orchestrator. Dropping it stops the models too, without waiting for their end.
pub struct LocalOrchestrator {
    address: SocketAddr,
    board: Arc<Board>,
    control: Control,
    stop: DropGuard,
    models: JoinHandle<()>,
    clients: JoinHandle<()>,
}

impl LocalOrchestrator {
    /// Runs the models of `source` with `runner` and announces them on `listener`, at the path `/CRUNCH_ID`. The list has
    /// been read when this returns; the models are starting.
    pub async fn start(
        listener: TcpListener,
        source: ModelSource,
        crunch_id: CrunchId,
        runner: Arc<dyn Runner>,
        ids: impl DeploymentIds,
    ) -> io::Result<Self> {
        Self::start_with(listener, source, crunch_id, runner, ids, RestartPolicy::default()).await
    }

    /// The same with a rule of one's own about models that die.
    pub async fn start_with(
        listener: TcpListener,
        source: ModelSource,
        crunch_id: CrunchId,
        runner: Arc<dyn Runner>,
        ids: impl DeploymentIds,
        restarts: RestartPolicy,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (board, statuses) = (Arc::new(Board::new()), Arc::new(Statuses::default()));
        let (stop, clients_stop) = (CancellationToken::new(), CancellationToken::new());
        let (reports, reports_inbox) = mpsc::channel(REPORTS_WAITING);
        let (requests, requests_inbox) = mpsc::channel(1);
        let door = runner.door();
        let server = Server {
            crunch: crunch_id.clone(),
            board: board.clone(),
            door: door.clone(),
            reports,
            stop: clients_stop.clone(),
        };
        let mut keeper = Keeper {
            fleet: Fleet::new(runner, Box::new(ids), board.clone(), statuses.clone(), restarts),
            watch: None,
            reports: reports_inbox,
            requests: requests_inbox,
            stop: stop.clone(),
            _clients: clients_stop.drop_guard(),
        };
        keeper.begin(source, crunch_id).await;
        tracing::info!(%address, "the orchestrator announces its models at {address}");
        Ok(LocalOrchestrator {
            address,
            board,
            control: Control { statuses, requests, door },
            stop: stop.drop_guard(),
            models: tokio::spawn(keeper.run()),
            clients: tokio::spawn(server.run(listener)),
        })
    }

    /// What the deploy API needs of it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Where coordinators connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Waits until every model that shall run does. A list without models is done at once.
    pub async fn all_running(&self) {
        self.board.all_running().await;
    }

    /// Stops every model, tells the clients, and returns when all is done.
    pub async fn shutdown(self) {
        drop(self.stop);
        for part in [self.models, self.clients] {
            if let Err(error) = part.await {
                tracing::error!(%error, "a part of the orchestrator failed: {error}");
            }
        }
    }
}

/// Asks a running orchestrator about its models, and tells it that their list has changed.
#[derive(Clone)]
pub struct Control {
    statuses: Arc<Statuses>,
    requests: mpsc::Sender<Reload>,
    door: Door,
}

/// The models file was changed, in one piece.
struct Reload {
    /// This model shall have a fresh start although it has failed.
    forgive: Option<ModelId>,
    /// Told the submissions that are in use afterwards.
    done: oneshot::Sender<BTreeSet<SubmissionId>>,
}

impl Control {
    /// Who may reach what belongs to the orchestrator.
    pub(crate) fn door(&self) -> Door {
        self.door.clone()
    }

    /// Every model of the list, in its order.
    pub fn models(&self) -> Vec<ModelStatus> {
        self.statuses.list()
    }

    /// Takes over the models file as it is now. A model that is forgiven is started even if it was quarantined or reported
    /// and nothing of it has changed. Returns when the list has been read, with the submissions that run or are being
    /// started then; `None` when the orchestrator has stopped.
    pub async fn reload(&self, forgive: Option<ModelId>) -> Option<BTreeSet<SubmissionId>> {
        let (done, is_done) = oneshot::channel();
        self.requests.send(Reload { forgive, done }).await.ok()?;
        is_done.await.ok()
    }
}

/// The one task that changes the fleet.
struct Keeper {
    fleet: Fleet,
    watch: Option<ModelsWatch>,
    reports: mpsc::Receiver<Report>,
    requests: mpsc::Receiver<Reload>,
    stop: CancellationToken,
    /// Clients are served until the fleet has stopped, so that they hear of it.
    _clients: DropGuard,
}

impl Keeper {
    async fn begin(&mut self, source: ModelSource, crunch_id: CrunchId) {
        match source {
            ModelSource::Fixed(entries) => self.fleet.apply(entries),
            ModelSource::File(path) => {
                self.watch = Some(ModelsWatch::new(path, crunch_id));
                self.look().await;
            }
        }
    }

    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(report) = self.reports.recv() => self.fleet.report(report),
                Some(request) = self.requests.recv() => self.reload(request).await,
                _ = looks.tick() => self.look().await,
            }
        }
        self.fleet.stop_all().await;
    }

    /// Takes over what changed in the models file.
    async fn look(&mut self) {
        if let Some(watch) = &mut self.watch
            && let Some(entries) = watch.changed().await
        {
            self.fleet.apply(entries);
        }
    }

    async fn reload(&mut self, Reload { forgive, done }: Reload) {
        if let Some(watch) = &mut self.watch
            && let Some(entries) = watch.changed_now().await
        {
            self.fleet.apply(entries);
        }
        if let Some(model_id) = forgive {
            self.fleet.start_again(&model_id);
        }
        // whoever asked may have left
        let _ = done.send(self.fleet.submissions_in_use());
    }
}
