//! Leases: what one process at a time may do.
//!
//! A lease ends by itself unless its holder renews it, so that another process soon takes the place of one that died. Each
//! new holder gets a higher token, which goes with whatever the lease allows to write: a holder that fell asleep and wakes
//! after its lease was taken writes nothing any more.
//!
//! Whether something still holds is judged by the database's clock on PostgreSQL, whose users have many machines, and by the
//! caller's ([`Hold::now`]) on SQLite, whose users have one. There, what ends later than if it were granted now comes from a
//! clock that has been set back since, and holds nobody up.

use std::fmt;

use async_trait::async_trait;
use domain::{Span, Timestamp};
use uuid::Uuid;

use crate::Result;

/// One process among those that share the work; no other ever has the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HolderId(String);

impl HolderId {
    /// A new one; it begins with the number of the process, for people who look into the database.
    pub fn random() -> Self {
        HolderId(format!("{}-{}", std::process::id(), Uuid::new_v4().simple()))
    }

    /// The same for a process on a machine of this name.
    pub fn random_on(machine: &str) -> Self {
        HolderId(format!("{machine}/{}", HolderId::random()))
    }

    /// As it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who wants to hold something, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub by: HolderId,
    /// The caller's clock.
    pub now: Timestamp,
    /// From now on, unless it is renewed.
    pub lasts: Span,
}

/// What one process at a time may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeaseName {
    /// Write leaderboards and snapshots.
    Ranking,
    /// Ask models, and write prices, marks of rounds and what is known of models.
    Predict,
}

impl LeaseName {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaseName::Ranking => "ranking",
            LeaseName::Predict => "predict",
        }
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A lease as it was granted. It may have run out since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it allows.
    pub name: LeaseName,
    /// Higher than that of every holder before.
    pub token: i64,
}

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    /// Who, as [`HolderId`] has it.
    pub holder: String,
    /// Since when, by the clock that judges leases.
    pub since: Timestamp,
}

/// Who may do what.
#[async_trait]
pub trait LeaseRepository {
    /// Takes a lease that is free, that ran out, or that the same holder has, who then keeps its token. `None` while another
    /// has it.
    async fn take_lease(&self, name: LeaseName, hold: &Hold) -> Result<Option<Lease>>;

    /// Takes a lease from a holder that is known to be dead, without waiting for its end; with a new token. `None` when
    /// somebody else has taken it from the dead one before.
    async fn succeed_lease(&self, dead: &Lease, hold: &Hold) -> Result<Option<Lease>>;

    /// Who has a lease at `now`; `None` when it is free.
    async fn lease_holder(&self, name: LeaseName, now: Timestamp) -> Result<Option<LeaseHolder>>;

    /// Makes a lease last longer, also one that ran out but that nobody else has taken; false when somebody has.
    async fn renew_lease(&self, lease: &Lease, hold: &Hold) -> Result<bool>;

    /// Gives a lease back; nothing changes when somebody else has taken it.
    async fn release_lease(&self, lease: &Lease) -> Result<()>;
}
