//! The predict worker's journal: everything that it has to store goes here first, and from here in order into the
//! database. So nothing that was committed is lost in a kill, and nothing waits in memory while the database is away.
//!
//! It is an SQLite file of its own. What is committed survives a kill at any time. The disk gets it at once too, but nobody waits
//! for that: a power cut costs what was committed while the last sync was under way, milliseconds or what a busy disk makes of
//! them. The file's size is bounded; a journal at its bound fails as one on a full disk does. Pages that become free are used
//! again, and given back when there are many.

mod error;
mod open;
mod record;
mod syncer;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use domain::{Prediction, RoundId, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

pub use error::{JournalError, Result};
pub use open::{DEFAULT_MAX_BYTES, Owner};
pub use record::{Entry, Record, Seq};
use syncer::Syncer;
use writer::{Turn, Writer};

/// How many outcomes one statement inserts at most.
const ROWS_PER_STATEMENT: usize = 1000;

/// Free pages that are kept for the next rounds: 64 MiB.
const SPARE_PAGES: i64 = 16_384;

/// An open journal, held by this process alone.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    writer: Arc<Writer>,
    syncer: Syncer,
    /// Reads do not hold up writes.
    reader: Mutex<SqliteConnection>,
    path: PathBuf,
    _lock: File,
}

impl Journal {
    /// Commits records, in this order, and outcomes of rounds, all or nothing. Returns the records' places. Of a round
    /// and model several outcomes may be appended; the first counts.
    pub async fn append(
        &self,
        at: Timestamp,
        records: &[&Record],
        outcomes: &[(RoundId, &Prediction)],
    ) -> Result<Vec<Seq>> {
        self.0.syncer.check()?;
        let mut transaction = self.0.writer.begin().await?;
        for outcomes in outcomes.chunks(ROWS_PER_STATEMENT) {
            insert_outcomes(&mut transaction, outcomes).await?;
        }
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let inserted = sqlx::query("INSERT INTO records (at, payload) VALUES (?1, ?2)")
                .bind(at.timestamp_micros())
                .bind(record::encode(record)?)
                .execute(&mut *transaction)
                .await?;
            places.push(Seq(inserted.last_insert_rowid()));
        }
        self.finish(transaction).await?;
        Ok(places)
    }

    /// Up to `limit` records after `after` up to `up_to`, in order.
    pub async fn read(&self, after: Seq, up_to: Seq, limit: u32) -> Result<Vec<Entry>> {
        let sql = "SELECT seq, at, payload FROM records WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
        let mut reader = self.0.reader.lock().await;
        let query = sqlx::query(sql).bind(after.0).bind(up_to.0).bind(limit);
        query.fetch_all(&mut *reader).await?.iter().map(entry).collect()
    }

    /// The place of the newest record.
    pub async fn end(&self) -> Result<Seq> {
        let mut reader = self.0.reader.lock().await;
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT max(seq) FROM records").fetch_one(&mut *reader).await?;
        Ok(Seq(newest.unwrap_or(0)))
    }

    /// The outcomes of a round, in the order of arrival.
    pub async fn outcomes(&self, round_id: RoundId) -> Result<Vec<Prediction>> {
        let sql = "SELECT payload, answer FROM outcomes WHERE round_id = ?1 ORDER BY seq";
        let mut reader = self.0.reader.lock().await;
        let rows = sqlx::query(sql).bind(round_id.as_uuid()).fetch_all(&mut *reader).await?;
        let outcome = |row: &SqliteRow| {
            let payload: &str = row.try_get("payload")?;
            record::decode_outcome(round_id, payload, row.try_get("answer")?)
        };
        rows.iter().map(outcome).collect()
    }

    /// The rounds of which there are outcomes, in order.
    pub async fn rounds(&self) -> Result<Vec<RoundId>> {
        let sql = "SELECT DISTINCT round_id FROM outcomes ORDER BY round_id";
        let mut reader = self.0.reader.lock().await;
        let ids: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&mut *reader).await?;
        Ok(ids.into_iter().map(RoundId::from_uuid).collect())
    }

    /// Removes the records up to `up_to` and the outcomes of these rounds: all that is in the database now.
    pub async fn remove(&self, up_to: Seq, rounds: &[RoundId]) -> Result<()> {
        let mut transaction = self.0.writer.begin().await?;
        sqlx::query("DELETE FROM records WHERE seq <= ?1").bind(up_to.0).execute(&mut *transaction).await?;
        for round in rounds {
            delete_outcomes(&mut transaction, *round).await?;
        }
        self.finish(transaction).await
    }

    /// Sets a record aside that the database refuses for good; with a closed round goes what `round` holds.
    pub async fn set_aside(&self, seq: Seq, round: Option<RoundId>, why: &str) -> Result<()> {
        let mut transaction = self.0.writer.begin().await?;
        sqlx::query("INSERT INTO refused (why, payload) SELECT ?2, payload FROM records WHERE seq = ?1")
            .bind(seq.0)
            .bind(why)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM records WHERE seq = ?1").bind(seq.0).execute(&mut *transaction).await?;
        if let Some(round) = round {
            set_outcomes_aside(&mut transaction, round, why).await?;
        }
        self.finish(transaction).await
    }

    /// Sets the outcomes of a round aside that cannot be stored.
    pub async fn set_round_aside(&self, round: RoundId, why: &str) -> Result<()> {
        let mut transaction = self.0.writer.begin().await?;
        set_outcomes_aside(&mut transaction, round, why).await?;
        self.finish(transaction).await
    }

    /// Notes under which lease records are written from now on.
    pub async fn set_lease(&self, token: i64) -> Result<()> {
        let mut transaction = self.0.writer.begin().await?;
        sqlx::query("DELETE FROM lease").execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO lease (token) VALUES (?1)").bind(token).execute(&mut *transaction).await?;
        self.finish(transaction).await
    }

    /// The lease that was noted last; `None` in the journal of a worker that needed none.
    pub async fn lease(&self) -> Result<Option<i64>> {
        let mut reader = self.0.reader.lock().await;
        Ok(sqlx::query_scalar("SELECT token FROM lease").fetch_optional(&mut *reader).await?)
    }

    /// How many records and outcomes are set aside.
    pub async fn refused(&self) -> Result<u64> {
        let mut reader = self.0.reader.lock().await;
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM refused").fetch_one(&mut *reader).await?;
        Ok(count.unsigned_abs())
    }

    /// What its files take of the disk, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let files = [self.0.path.clone(), open::beside(&self.0.path, "-wal")];
        files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
    }

    async fn finish(&self, turn: Turn<'_>) -> Result<()> {
        turn.finish().await?;
        self.0.syncer.note_committed();
        Ok(())
    }

    /// Gives the room of an outage back once it is over.
    pub async fn give_room_back(&self) -> Result<()> {
        let mut writer = self.0.writer.turn().await?;
        let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *writer).await?;
        if free > SPARE_PAGES {
            // In parts, so that no outcome waits long for its turn.
            sqlx::query("PRAGMA incremental_vacuum(2048)").fetch_all(&mut *writer).await?;
        }
        self.finish(writer).await
    }
}

async fn insert_outcomes(
    connection: &mut SqliteConnection,
    outcomes: &[(RoundId, &Prediction)],
) -> Result<()> {
    let mut rows = Vec::with_capacity(outcomes.len());
    for (round_id, prediction) in outcomes {
        rows.push((round_id.as_uuid(), record::encode_outcome(prediction)?));
    }
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO outcomes (round_id, payload, answer) ");
    sql.push_values(rows, |mut row, (round_id, (payload, answer))| {
        row.push_bind(round_id).push_bind(payload).push_bind(answer);
    });
    sql.build().execute(connection).await?;
    Ok(())
}

async fn delete_outcomes(connection: &mut SqliteConnection, round: RoundId) -> Result<()> {
    let sql = "DELETE FROM outcomes WHERE round_id = ?1";
    sqlx::query(sql).bind(round.as_uuid()).execute(connection).await?;
    Ok(())
}

async fn set_outcomes_aside(connection: &mut SqliteConnection, round: RoundId, why: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO refused (why, round_id, payload, answer)
         SELECT ?2, round_id, payload, answer FROM outcomes WHERE round_id = ?1",
    )
    .bind(round.as_uuid())
    .bind(why)
    .execute(&mut *connection)
    .await?;
    delete_outcomes(connection, round).await
}

fn entry(row: &SqliteRow) -> Result<Entry> {
    let seq = Seq(row.try_get("seq")?);
    let at = Timestamp::from_timestamp_micros(row.try_get("at")?).unwrap_or_default();
    let payload: &str = row.try_get("payload")?;
    Ok(Entry { seq, at, record: record::decode(seq, payload) })
}
