//! Where nodes hand in what is to be reported.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{DeploymentId, ModelId, Stopwatch};
use tokio::sync::Notify;

use crate::bounds::LiveBounds;
use crate::fuse::{Fuse, Wish};
use crate::health::FailureCode;

/// Why a deployment is to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub model_id: ModelId,
    pub deployment_id: DeploymentId,
    /// `host:port`
    pub address: String,
    /// The host alone.
    pub host: String,
    pub code: FailureCode,
    pub reason: String,
}

/// How reporting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportingStatus {
    /// So many models are to be reported that the fault is taken for ours: nothing is reported.
    pub is_paused: bool,
    /// Models that were reported, or wait to be, since the start.
    pub reported: u64,
    /// Wishes to report a model that were not followed because reporting was paused.
    pub withheld: u64,
}

/// The nodes of a cluster hand in, and the one who follows the orchestrator takes out.
#[derive(Debug)]
pub(crate) struct Desk {
    fuse: Mutex<Fuse<Complaint>>,
    is_blown: AtomicBool,
    bounds: LiveBounds,
    handed_in: Notify,
    clock: Stopwatch,
    reported: AtomicU64,
    withheld: AtomicU64,
}

impl Desk {
    pub fn new(bounds: LiveBounds, hold: Duration) -> Self {
        Desk {
            fuse: Mutex::new(Fuse::new(hold)),
            is_blown: AtomicBool::new(false),
            bounds,
            handed_in: Notify::new(),
            clock: Stopwatch::start(),
            reported: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
        }
    }

    /// The time since the desk was set up.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// False when failures are not reported.
    pub fn is_open(&self) -> bool {
        self.bounds.get().report_failures
    }

    pub fn hand_in(&self, complaint: Complaint) {
        let model_id = complaint.model_id.clone();
        let mut fuse = self.fuse();
        let wish = fuse.wish(&model_id, complaint, self.now());
        self.is_blown.store(fuse.is_blown(), Ordering::Relaxed);
        drop(fuse);
        match wish {
            Wish::Held => self.handed_in.notify_one(),
            Wish::Withheld => _ = self.withheld.fetch_add(1, Ordering::Relaxed),
            Wish::Blew { wanted, of } => {
                self.withheld.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    wanted,
                    models = of,
                    "REPORTING IS PAUSED: {wanted} of {of} models would be reported within ten minutes, so the fault \
                     is taken for ours; look at the reasons of their outcomes, the network and the settings. It goes \
                     on when most models answer again"
                );
            }
        }
    }

    /// A model has answered well.
    pub fn answered(&self, model_id: &ModelId) {
        // Without the lock in all good times.
        if !self.is_blown.load(Ordering::Relaxed) {
            return;
        }
        if self.fuse().answered(model_id, self.now()) {
            self.is_blown.store(false, Ordering::Relaxed);
            tracing::warn!("most models answer again: failures are reported again");
        }
    }

    pub fn connected(&self, count: usize) {
        self.fuse().connected(count);
    }

    /// Waits until something is to be reported. Nothing is lost when the future is dropped.
    pub async fn due(&self) -> Vec<Complaint> {
        loop {
            let next = {
                let mut fuse = self.fuse();
                let due = fuse.due(self.now());
                if !due.is_empty() {
                    return due;
                }
                fuse.next_due()
            };
            let pause = next.map_or(Duration::MAX, |at| at.saturating_sub(self.now()));
            // Handed in meanwhile or due now: looked at either way.
            let _ = tokio::time::timeout(pause, self.handed_in.notified()).await;
        }
    }

    pub fn note_reported(&self) {
        self.reported.fetch_add(1, Ordering::Relaxed);
    }

    pub fn status(&self) -> ReportingStatus {
        ReportingStatus {
            is_paused: self.is_blown.load(Ordering::Relaxed),
            reported: self.reported.load(Ordering::Relaxed),
            withheld: self.withheld.load(Ordering::Relaxed),
        }
    }

    fn fuse(&self) -> MutexGuard<'_, Fuse<Complaint>> {
        self.fuse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
