//! What the routes read, each value at most once a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Leaderboard, Model, ModelId, Span, Standings, Timestamp};
use serde::Serialize;
use storage::{AuditEntry, Counts, FeedStatus, StorageError};
use tokio::time::timeout;

use crate::cache::{Cached, Reading, Unavailable};
use crate::params::Limit;
use crate::source::Source;

/// Models that answered, and predictions of rounds asked, within this span are counted as recent.
const RECENT: Span = Span::hours(24);

const EVERY: Duration = Duration::from_secs(1);

/// Counting is the one reading whose cost may grow with the database.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How long one check of readiness may take; two fit into a reading.
const CHECK_PATIENCE: Duration = Duration::from_millis(900);

/// Everything that is read from the database.
pub(crate) struct Reader {
    source: Box<dyn Source>,
    clock: Arc<dyn Clock>,
    leaderboard: Cached<Option<Leaderboard>>,
    standings: Cached<Option<Standings>>,
    models: Cached<Models>,
    overview: Cached<Overview>,
    audit: Cached<Record>,
    readiness: Cached<Readiness>,
}

/// Every model ever seen.
#[derive(Debug)]
pub(crate) struct Models(BTreeMap<ModelId, Model>);

impl Models {
    pub(crate) fn get(&self, id: &ModelId) -> Option<&Model> {
        self.0.get(id)
    }

    /// The name to show; the id for a model that is not on record.
    pub(crate) fn name<'a>(&'a self, id: &'a ModelId) -> &'a str {
        self.0.get(id).map_or(id.as_str(), Model::display_name)
    }

    /// True for the orchestrator's own models.
    pub(crate) fn is_baseline(&self, id: &ModelId) -> bool {
        self.0.get(id).is_some_and(|model| model.is_baseline)
    }

    pub(crate) fn cruncher_name(&self, id: &ModelId) -> Option<&str> {
        self.0.get(id)?.cruncher.name.as_deref()
    }
}

/// What is stored, counted.
#[derive(Debug)]
pub(crate) struct Overview {
    /// When it was counted.
    pub(crate) as_of: Timestamp,
    pub(crate) counts: Counts,
    pub(crate) feeds: Vec<FeedStatus>,
}

impl Overview {
    pub(crate) fn newest_price_at(&self) -> Option<Timestamp> {
        self.feeds.iter().map(|feed| feed.newest_at).max()
    }
}

/// What operators did, and what of it is in force.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) pause: Option<AuditEntry>,
    pub(crate) excluded_models: BTreeSet<ModelId>,
    /// The newest first, as many as any list may hold.
    pub(crate) entries: Vec<AuditEntry>,
}

/// Whether this worker can do its work; each check says `ok` or what is wrong.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Readiness {
    pub(crate) database: String,
    pub(crate) schema: String,
}

const OK: &str = "ok";

impl Readiness {
    pub(crate) fn is_ready(&self) -> bool {
        self.database == OK && self.schema == OK
    }

    pub(crate) fn unknown() -> Self {
        Readiness { database: "unavailable".into(), schema: "unknown".into() }
    }
}

impl Reader {
    pub(crate) fn new(source: Box<dyn Source>, clock: Arc<dyn Clock>) -> Self {
        Reader {
            source,
            clock,
            leaderboard: Cached::new("the leaderboard", EVERY),
            standings: Cached::new("the window scores", EVERY),
            models: Cached::new("the models", EVERY),
            overview: Cached::new("the counts", COUNT_EVERY),
            audit: Cached::new("what operators did", EVERY),
            readiness: Cached::new("the readiness", EVERY),
        }
    }

    pub(crate) async fn leaderboard(&self) -> Result<Reading<Option<Leaderboard>>, Unavailable> {
        self.leaderboard.get(self.source.latest_leaderboard()).await
    }

    pub(crate) async fn standings(&self) -> Result<Reading<Option<Standings>>, Unavailable> {
        self.standings.get(self.source.latest_standings()).await
    }

    pub(crate) async fn models(&self) -> Result<Reading<Models>, Unavailable> {
        self.models.get(self.read_models()).await
    }

    pub(crate) async fn overview(&self) -> Result<Reading<Overview>, Unavailable> {
        self.overview.get(self.read_overview()).await
    }

    pub(crate) async fn audit(&self) -> Result<Reading<Record>, Unavailable> {
        self.audit.get(self.read_audit()).await
    }

    pub(crate) async fn readiness(&self) -> Readiness {
        match self.readiness.get(self.check()).await {
            Ok(readiness) if !readiness.stale => readiness.clone(),
            _ => Readiness::unknown(),
        }
    }

    async fn read_models(&self) -> storage::Result<Models> {
        let models = self.source.models().await?;
        Ok(Models(models.into_iter().map(|model| (model.id.clone(), model)).collect()))
    }

    async fn read_overview(&self) -> storage::Result<Overview> {
        let as_of = self.clock.now();
        let counts = self.source.counts(as_of - RECENT).await?;
        let feeds = self.source.feed_status().await?;
        Ok(Overview { as_of, counts, feeds })
    }

    async fn read_audit(&self) -> storage::Result<Record> {
        Ok(Record {
            pause: self.source.pause().await?,
            excluded_models: self.source.excluded_models().await?,
            entries: self.source.audit(Limit::MAX).await?,
        })
    }

    async fn check(&self) -> storage::Result<Readiness> {
        if !matches!(timeout(CHECK_PATIENCE, self.source.ping()).await, Ok(Ok(()))) {
            return Ok(Readiness::unknown());
        }
        let schema = match timeout(CHECK_PATIENCE, self.source.check_schema()).await {
            Ok(Ok(())) => OK.into(),
            Ok(Err(error @ (StorageError::SchemaTooOld { .. } | StorageError::SchemaTooNew { .. }))) => {
                error.to_string()
            }
            Ok(Err(_)) | Err(_) => "unreadable".into(),
        };
        Ok(Readiness { database: OK.into(), schema })
    }
}
