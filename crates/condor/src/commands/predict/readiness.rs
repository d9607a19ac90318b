//! What a predict worker says of itself: to `/readyz`, to `/metrics`, and to the database.

use std::sync::Arc;

use domain::{Clock, Timestamp, TimestampExt};
use journal::Journal;
use model_client::Reporting;
use predict_worker::{Metrics, Status};
use serde_json::{Value, json};
use storage::{LeaseName, StorageError, Store, WorkerFacts};
use tokio::sync::watch;

use crate::admin::Readiness;
use crate::presence::Account;

/// What a predict worker is at the moment.
#[derive(Default)]
pub enum Role {
    /// Another worker leads.
    #[default]
    Standby,
    /// It leads and resumes from what is stored.
    Starting,
    /// It asks.
    Leader { status: Status, reporting: Reporting, since: Timestamp },
}

impl Role {
    fn name(&self) -> predict_worker::Role {
        match self {
            Role::Standby => predict_worker::Role::StandingBy,
            Role::Starting => predict_worker::Role::Starting,
            Role::Leader { .. } => predict_worker::Role::Leading,
        }
    }

    /// That of a leader.
    fn status(&self) -> Option<&Status> {
        if let Role::Leader { status, .. } = self { Some(status) } else { None }
    }
}

/// Asked by operators and their tools.
pub struct PredictReadiness {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub role: watch::Receiver<Role>,
    pub journal: Journal,
    pub metrics: Metrics,
}

#[async_trait::async_trait]
impl Readiness for PredictReadiness {
    async fn check(&self) -> (bool, Value) {
        match &*self.role.borrow() {
            Role::Leader { status, reporting, since } => return self.check_leader(status, reporting, *since),
            Role::Starting => return (false, json!({ "role": "leader", "started": false })),
            Role::Standby => {}
        }
        self.check_standby().await
    }

    fn look(&self) {
        let role = self.role.borrow();
        self.metrics.look(role.name(), role.status(), self.clock.as_ref());
        self.metrics.journal_takes(self.journal.size_bytes());
        let is_paused = matches!(&*role, Role::Leader { reporting, .. } if reporting.status().is_paused);
        self.metrics.reporting_is_paused(is_paused);
    }
}

#[async_trait::async_trait]
impl Account for PredictReadiness {
    async fn account(&self, _: &dyn Store) -> Result<(String, WorkerFacts), StorageError> {
        let role = self.role.borrow();
        let status = role.status();
        let facts = WorkerFacts {
            waiting_writes: status.map(|status| status.unstored_writes() as u64),
            journal_bytes: Some(self.journal.size_bytes()),
            oldest_waiting_at: status.and_then(Status::oldest_unstored_at),
            ..WorkerFacts::default()
        };
        Ok((role.name().as_str().to_owned(), facts))
    }
}

impl PredictReadiness {
    /// Ready once the models are set up; how fresh prices are is in the details, and a database that is away does not
    /// count, since writes wait for it in the journal.
    fn check_leader(&self, status: &Status, reporting: &Reporting, since: Timestamp) -> (bool, Value) {
        let age = |at: Option<Timestamp>| at.map(|at| self.clock.now().since(at).as_secs());
        let reporting = reporting.status();
        let details = json!({
            "role": "leader",
            "leads_since": since,
            "reporting_paused": reporting.is_paused,
            "models_reported": reporting.reported,
            "reports_withheld": reporting.withheld,
            "models": status.running_models(),
            "started": status.is_started(),
            "unstored_writes": status.unstored_writes(),
            "oldest_unstored_age_s": age(status.oldest_unstored_at()),
            "refused_writes": status.refused_writes(),
            "journal_fault": status.journal_fault().map(|fault| fault.to_string()),
            "newest_price_age_s": age(status.newest_price_at()),
        });
        (status.is_started(), details)
    }

    /// Ready while the database answers: without it nobody can begin to lead.
    async fn check_standby(&self) -> (bool, Value) {
        let leader = self.store.lease_holder(LeaseName::Predict, self.clock.now()).await;
        let (is_ready, database) = match &leader {
            Ok(_) => (true, "ok".to_owned()),
            Err(error) => (false, error.to_string()),
        };
        let leader = leader.ok().flatten();
        let details = json!({
            "role": "standby",
            "leader": leader.as_ref().map(|leader| &leader.holder),
            "leader_since": leader.as_ref().map(|leader| leader.since),
            "database": database,
        });
        (is_ready, details)
    }
}
