//! Who asks: of the predict workers over one database the one that holds the lease.
//!
//! A [`Candidate`] stands by until the lease is its own; from then on it has the [`Leadership`], which it renews until it
//! gives it back or another has taken it. The database judges: who cannot reach it can neither take the lease nor lose it
//! knowingly, and goes on asking.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Clock, Span, Stopwatch, TimestampExt};
use journal::Journal;
use storage::{Hold, HolderId, Lease, LeaseHolder, LeaseName, Result, StorageError, Store};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::recorder::Recorder;

/// How long the lease lasts unless it is renewed: a leader that died is missed so long.
pub const LEASE: Span = Span::seconds(5);

/// Renewed so often that several attempts in a row may fail.
const RENEWAL: Duration = Duration::from_secs(1);

/// How often a worker that stands by looks whether the lease is free.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long the database may take for one answer about the lease.
const PATIENCE: Duration = Duration::from_secs(1);

/// A predict worker that wants to lead.
pub struct Candidate {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    id: HolderId,
}

impl Candidate {
    /// A candidate on a machine of this name.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, machine: &str) -> Self {
        Candidate { store, clock, id: HolderId::random_on(machine) }
    }

    /// Waits until this worker leads.
    ///
    /// The lease of the run that used this journal before is taken over at once, for that run is dead. When another worker
    /// has led since, it has written what that run had left in the journal but for the outcomes of its rounds: those are
    /// stored before anything else.
    pub async fn stand_by(&self, journal: &Journal) -> Leadership {
        if let Some(dead) = lease_of(journal).await {
            if let Some(lease) = self.succeed(&dead).await {
                return self.lead(lease, journal).await;
            }
            Recorder::recover(journal, &Leadership::sole(self.store.led_by(&dead)), &self.clock).await;
        }
        let mut watch = Watch::default();
        loop {
            match self.look().await {
                Ok(Ok(lease)) => return self.lead(lease, journal).await,
                Ok(Err(leader)) => watch.note_leader(leader),
                Err(error) => watch.note_error(&error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The lease when it was free, else who has it.
    async fn look(&self) -> Result<Result<Lease, Option<LeaseHolder>>> {
        let now = self.clock.now();
        if let Some(leader) = self.store.lease_holder(LeaseName::Predict, now).await? {
            return Ok(Err(Some(leader)));
        }
        // Somebody may have been quicker.
        Ok(self.store.take_lease(LeaseName::Predict, &self.hold()).await?.ok_or(None))
    }

    async fn succeed(&self, dead: &Lease) -> Option<Lease> {
        let mut watch = Watch::default();
        loop {
            match self.store.succeed_lease(dead, &self.hold()).await {
                Ok(lease) => return lease,
                Err(error) => watch.note_error(&error),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn lead(&self, lease: Lease, journal: &Journal) -> Leadership {
        tracing::info!(worker = %self.id, token = lease.token, "this predict worker leads from now on");
        if let Err(error) = journal.set_lease(lease.token).await {
            tracing::warn!(%error, "cannot note the lease in the journal: a restart will have to wait until it ends");
        }
        Leadership::hold(Tenure {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            id: self.id.clone(),
            lease,
            is_held: tokio::sync::Mutex::new(true),
            renewal: Mutex::new(Renewal { at: Stopwatch::start(), is_out_of_reach: false }),
            over: CancellationToken::new(),
            lost: CancellationToken::new(),
        })
    }

    fn hold(&self) -> Hold {
        hold(&self.id, self.clock.as_ref())
    }
}

fn hold(id: &HolderId, clock: &dyn Clock) -> Hold {
    Hold { by: id.clone(), now: clock.now(), lasts: LEASE }
}

/// The lease under which the run before wrote to this journal.
async fn lease_of(journal: &Journal) -> Option<Lease> {
    match journal.lease().await {
        Ok(token) => token.map(|token| Lease { name: LeaseName::Predict, token }),
        Err(error) => {
            tracing::warn!(%error, "the journal cannot be read");
            None
        }
    }
}

/// What the log says while a worker stands by: each leader, and each trouble when it begins and ends.
#[derive(Default)]
struct Watch {
    leader: Option<LeaseHolder>,
    is_troubled: bool,
}

impl Watch {
    fn note_leader(&mut self, leader: Option<LeaseHolder>) {
        if std::mem::take(&mut self.is_troubled) {
            tracing::info!("the database is back");
        }
        if let Some(leader) = leader.filter(|leader| self.leader.as_ref() != Some(leader)) {
            let LeaseHolder { holder, since } = &leader;
            tracing::info!(leader = %holder, since = since.to_utc_string(), "standing by: another predict worker leads");
            self.leader = Some(leader);
        }
    }

    fn note_error(&mut self, error: &StorageError) {
        if !std::mem::replace(&mut self.is_troubled, true) {
            tracing::warn!(%error, "standing by: who leads cannot be told, and nobody can begin to lead");
        }
    }
}

/// The right to ask.
#[derive(Clone)]
pub struct Leadership {
    store: Arc<dyn Store>,
    tenure: Option<Arc<Tenure>>,
    /// Renews it until the last handle is gone.
    _keeper: Option<Arc<DropGuard>>,
}

impl Leadership {
    /// Of a worker that nobody can take the lead from, over a database that is its alone.
    pub fn sole(store: Arc<dyn Store>) -> Self {
        Leadership { store, tenure: None, _keeper: None }
    }

    fn hold(tenure: Tenure) -> Self {
        let (tenure, stop) = (Arc::new(tenure), CancellationToken::new());
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&tenure).keep()));
        let store = tenure.store.led_by(&tenure.lease);
        Leadership { store, tenure: Some(tenure), _keeper: Some(Arc::new(stop.drop_guard())) }
    }

    /// True once another worker has the lead.
    pub fn is_lost(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| tenure.lost.is_cancelled())
    }

    /// Lets others lead at once; to be called when this worker asks no more.
    pub async fn give_back(&self) {
        if let Some(tenure) = &self.tenure {
            tenure.give_back().await;
        }
    }

    /// Cancelled as soon as another worker leads or may lead.
    pub(crate) fn over(&self) -> CancellationToken {
        self.tenure.as_ref().map(|tenure| tenure.over.clone()).unwrap_or_default()
    }

    /// The database, as far as the lead allows to write to it.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Resolves once another worker has the lead.
    pub(crate) async fn lost(&self) {
        match &self.tenure {
            Some(tenure) => tenure.lost.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// The database has refused a write: another worker has the lead.
    pub(crate) fn note_lost(&self) {
        if let Some(tenure) = &self.tenure {
            tenure.note_lost();
        }
    }

    /// False when another worker leads. A worker that was asleep for longer than its lease lasts finds out here, unless
    /// the database is out of reach: then it asks, for it cannot know better.
    pub(crate) async fn may_ask(&self) -> bool {
        match &self.tenure {
            Some(tenure) => tenure.may_ask().await,
            None => true,
        }
    }
}

/// A time as leader.
struct Tenure {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    id: HolderId,
    lease: Lease,
    /// Locked by who tells the database, so that nothing is renewed after it was given back.
    is_held: tokio::sync::Mutex<bool>,
    renewal: Mutex<Renewal>,
    /// It is lost, or about to be given back.
    over: CancellationToken,
    lost: CancellationToken,
}

/// How the last attempts to renew a lease went.
struct Renewal {
    /// The lease lasts from here.
    at: Stopwatch,
    /// The latest attempt failed.
    is_out_of_reach: bool,
}

impl Tenure {
    async fn keep(self: Arc<Self>) {
        while !self.lost.is_cancelled() {
            tokio::time::sleep(RENEWAL).await;
            self.renew().await;
        }
    }

    async fn renew(&self) {
        let is_held = self.is_held.lock().await;
        if !*is_held || self.lost.is_cancelled() {
            return;
        }
        let began = Stopwatch::start();
        let hold = hold(&self.id, self.clock.as_ref());
        match tokio::time::timeout(PATIENCE, self.store.renew_lease(&self.lease, &hold)).await {
            Ok(Ok(true)) => self.note_renewed(began),
            Ok(Ok(false)) => self.note_lost(),
            Ok(Err(error)) => self.note_out_of_reach(&error.to_string()),
            Err(_) => self.note_out_of_reach("the database does not answer"),
        }
    }

    async fn may_ask(&self) -> bool {
        if !self.is_certain() {
            self.renew().await;
        }
        !self.lost.is_cancelled()
    }

    /// Nobody can have taken the lease, or nobody can be asked.
    fn is_certain(&self) -> bool {
        let renewal = self.renewal();
        renewal.is_out_of_reach || renewal.at.elapsed() < LEASE.as_duration()
    }

    async fn give_back(&self) {
        self.over.cancel();
        let mut is_held = self.is_held.lock().await;
        if !std::mem::replace(&mut *is_held, false) || self.lost.is_cancelled() {
            return;
        }
        match tokio::time::timeout(PATIENCE, self.store.release_lease(&self.lease)).await {
            Ok(Ok(())) => tracing::info!("gave the lead back: another predict worker may take it"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot give the lead back: it ends within {LEASE}"),
            Err(_) => tracing::warn!("the database does not answer: the lead ends within {LEASE}"),
        }
    }

    fn note_renewed(&self, began: Stopwatch) {
        let before = std::mem::replace(&mut *self.renewal(), Renewal { at: began, is_out_of_reach: false });
        if before.is_out_of_reach {
            let away_s = before.at.elapsed().as_secs();
            tracing::info!(away_s, "the lead is renewed again: nobody has taken it");
        }
    }

    fn note_lost(&self) {
        if !self.lost.is_cancelled() {
            self.over.cancel();
            self.lost.cancel();
            tracing::warn!(worker = %self.id, token = self.lease.token, "another predict worker leads by now: this one asks no more");
        }
    }

    fn note_out_of_reach(&self, why: &str) {
        if !std::mem::replace(&mut self.renewal().is_out_of_reach, true) {
            tracing::warn!(
                why,
                "cannot renew the lead: asking goes on, and another worker may begin to ask after {LEASE}"
            );
        }
    }

    fn renewal(&self) -> std::sync::MutexGuard<'_, Renewal> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
