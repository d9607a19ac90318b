//! What the routes read, each value again when it has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Asset, Clock, Leaderboard, LedgerEntry, Model, ModelId, RoundId, Span, Standings, Timestamp};
use serde::Serialize;
use storage::{
    AuditEntry, Counts, FeedStatus, Hole, ScoredOutcome, ScoredQuestion, SnapshotMark, StorageError, Topic,
};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::boards;
use crate::browse;
use crate::cache::{Cached, Reading, Unavailable};
use crate::charts::snapshots::{Snapshot, Snapshots};
use crate::operations::Operations;
use crate::params::Limit;
use crate::problem::Problem;
use crate::source::Source;
use crate::stamp::Stamp;

/// Models that answered, and predictions of rounds asked, within this span are counted as recent.
const RECENT: Span = Span::hours(24);

/// How old a reading may be of which no change was told: changes are told, unless the database is away.
const EVERY: Duration = Duration::from_secs(15);

/// Counting is the one reading whose cost may grow with the database, so that no change makes it be done sooner.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How far back holes in the prices are looked for.
const HOLES_SINCE: Span = Span::hours(24);

/// Whether the database is there.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Workers give their signs without a word to anybody.
const OPERATIONS_EVERY: Duration = Duration::from_secs(2);

/// A snapshot may come without a leaderboard, and then nobody tells.
const MARK_EVERY: Duration = Duration::from_secs(2);

/// How long one check of readiness may take; two fit into a reading.
const CHECK_PATIENCE: Duration = Duration::from_millis(900);

/// Everything that is read from the database.
pub(crate) struct Reader {
    source: Box<dyn Source>,
    clock: Arc<dyn Clock>,
    leaderboard: Cached<Option<Leaderboard>>,
    standings: Cached<Option<Standings>>,
    earlier_leaderboard: Cached<Option<Leaderboard>>,
    earlier_standings: Cached<Option<Standings>>,
    models: Cached<Models>,
    overview: Cached<Overview>,
    holes: Cached<Holes>,
    operations: Cached<Operations>,
    audit: Cached<Record>,
    readiness: Cached<Readiness>,
    snapshot_mark: Cached<Option<SnapshotMark>>,
    snapshots: Snapshots,
    /// Another one since the last change that was told.
    changes: Mutex<Stamp>,
}

/// Every model ever seen.
#[derive(Debug, PartialEq)]
pub(crate) struct Models(BTreeMap<ModelId, Model>);

impl Models {
    pub(crate) fn get(&self, id: &ModelId) -> Option<&Model> {
        self.0.get(id)
    }

    /// In the order of ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Model> {
        self.0.values()
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
#[derive(Debug, PartialEq)]
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

/// Where closes of the last day are further apart than closes are, by asset, oldest first.
pub(crate) type Holes = BTreeMap<Asset, Vec<Hole>>;

/// What operators did, and what of it is in force.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) pause: Option<AuditEntry>,
    pub(crate) excluded_models: BTreeSet<ModelId>,
    /// The newest first, as many as any list may hold.
    pub(crate) entries: Vec<AuditEntry>,
}

/// Whether this worker can do its work; each check says `ok` or what is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// The database answers.
    pub(crate) database: String,
    /// Its schema is the one this program was made for.
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
            earlier_leaderboard: Cached::new("the leaderboard of a day before", EVERY),
            earlier_standings: Cached::new("the window scores of a day before", EVERY),
            models: Cached::new("the models", EVERY),
            overview: Cached::new("the counts", COUNT_EVERY),
            holes: Cached::new("the holes in the prices", COUNT_EVERY),
            operations: Cached::new("the state of the workers", OPERATIONS_EVERY),
            audit: Cached::new("what operators did", EVERY),
            readiness: Cached::new("the readiness", CHECK_EVERY),
            snapshot_mark: Cached::new("the mark of the snapshots", MARK_EVERY),
            snapshots: Snapshots::default(),
            changes: Mutex::new(Stamp::fresh()),
        }
    }

    /// What these changes are about is read again by who asks for it next.
    pub(crate) fn expire(&self, topics: &BTreeSet<Topic>) {
        if !topics.is_empty() {
            *self.changes.lock().unwrap_or_else(PoisonError::into_inner) = Stamp::fresh();
        }
        for topic in topics {
            match topic {
                Topic::Rounds | Topic::Scores => {}
                Topic::Leaderboard => {
                    self.leaderboard.expire();
                    self.standings.expire();
                    self.earlier_leaderboard.expire();
                    self.earlier_standings.expire();
                    self.snapshot_mark.expire();
                }
                Topic::Models => self.models.expire(),
                Topic::Audit => self.audit.expire(),
            }
        }
    }

    /// The same until the next change is told, whatever it is about.
    pub(crate) fn changes(&self) -> Stamp {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there is to read, for those who read for themselves.
    pub(crate) fn source(&self) -> &dyn Source {
        self.source.as_ref()
    }

    /// Reads what few ask for, anew each time.
    pub(crate) async fn read<'s, T, F>(&'s self, read: impl FnOnce(&'s dyn Source) -> F) -> Result<T, Problem>
    where
        F: Future<Output = storage::Result<T>>,
    {
        browse::read(self.source(), read).await
    }

    pub(crate) async fn leaderboard(&self) -> Result<Reading<Option<Leaderboard>>, Unavailable> {
        self.leaderboard.get(self.source.latest_leaderboard()).await
    }

    pub(crate) async fn standings(&self) -> Result<Reading<Option<Standings>>, Unavailable> {
        self.standings.get(self.source.latest_standings()).await
    }

    /// The leaderboard as of `then`, which moves with the newest one.
    pub(crate) async fn earlier_leaderboard(
        &self,
        then: Timestamp,
    ) -> Result<Reading<Option<Leaderboard>>, Unavailable> {
        self.earlier_leaderboard.get(boards::leaderboard_at(self.source(), then)).await
    }

    /// The window scores as of the last full hour up to `then`, which moves with the newest leaderboard.
    pub(crate) async fn earlier_standings(
        &self,
        then: Timestamp,
    ) -> Result<Reading<Option<Standings>>, Unavailable> {
        self.earlier_standings.get(boards::standings_at(self.source(), then)).await
    }

    pub(crate) async fn models(&self) -> Result<Reading<Models>, Unavailable> {
        self.models.get(self.read_models()).await
    }

    pub(crate) async fn overview(&self) -> Result<Reading<Overview>, Unavailable> {
        self.overview.get(self.read_overview()).await
    }

    /// Of `assets`, between closes that should be `interval` apart.
    pub(crate) async fn holes(
        &self,
        assets: impl Iterator<Item = Asset>,
        interval: Span,
    ) -> Result<Reading<Holes>, Unavailable> {
        self.holes.get(self.read_holes(assets, interval)).await
    }

    pub(crate) async fn operations(&self) -> Result<Reading<Operations>, Unavailable> {
        self.operations.get(Operations::read(self.source(), self.clock.now())).await
    }

    /// The newest migration that this program knows.
    pub(crate) fn known_schema(&self) -> i64 {
        self.source.known_schema()
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

    /// Which snapshots there are.
    pub(crate) async fn snapshot_mark(&self) -> Result<Reading<Option<SnapshotMark>>, Unavailable> {
        self.snapshot_mark.get(self.source.snapshot_mark()).await
    }

    /// The snapshots as of these instants, where there is one, in their order; `mark` is the newest that is known.
    pub(crate) async fn snapshots(
        &self,
        mark: SnapshotMark,
        instants: &[Timestamp],
    ) -> Result<Vec<Arc<Snapshot>>, Problem> {
        self.snapshots.get(&*self.source, mark, instants).await
    }

    /// The first `limit` scored rounds of a span.
    pub(crate) async fn scored_questions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<ScoredQuestion>, Problem> {
        self.source.scored_questions(from, to, limit).await.map_err(|error| Problem::unreadable(&error))
    }

    /// How these models did in these rounds.
    pub(crate) async fn scored_outcomes(
        &self,
        rounds: &[RoundId],
        models: &[ModelId],
    ) -> Result<Vec<ScoredOutcome>, Problem> {
        self.source.scored_outcomes(rounds, models).await.map_err(|error| Problem::unreadable(&error))
    }

    /// The latest closes of an asset, the latest first.
    pub(crate) async fn latest_prices(
        &self,
        asset: &Asset,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, Problem> {
        self.source.latest_prices(asset, limit).await.map_err(|error| Problem::unreadable(&error))
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

    async fn read_holes(
        &self,
        assets: impl Iterator<Item = Asset>,
        interval: Span,
    ) -> storage::Result<Holes> {
        let now = self.clock.now();
        let mut holes = Holes::new();
        for asset in assets {
            let of_asset = self.source.holes(&asset, now - HOLES_SINCE, now, interval).await?;
            holes.insert(asset, of_asset);
        }
        Ok(holes)
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
