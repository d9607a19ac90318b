//! Partitions by the day in which a round was asked.
//!
//! A day of a thousand models is 0.8 million predictions and 1 GB with the default timetable, and at the most that is
//! meant to be possible 10 million and 50 GB: in either case a table that PostgreSQL looks after well, and what is kept
//! are tens of them, where hours would be thousands, and weeks would hold up to a week more than what is asked for.
//!
//! Who stores predictions makes the partitions of the next days ahead of time. Nothing depends on it: a round whose day has
//! no partition is stored in the default one, where it is found as any other, and from where it leaves some rows at a time
//! when it is old. Such a day then never gets a partition: PostgreSQL refuses one while rows of it lie elsewhere.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use domain::{RoundId, Span, Timestamp, TimestampExt};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use storage::Result;

use crate::errors::failed;

/// The tables that are partitioned, all alike.
const TABLES: [&str; 3] = ["predictions", "refused_answers", "scores"];

/// What a partition holds.
const DAY: Span = Span::days(1);

/// So many days after that of a round have their partitions made: enough for days without success.
const AHEAD: u32 = 2;

/// Whoever makes a partition has this advisory lock until it is there; any number would do.
const LOCK: i64 = 0x636f_6e64_6f72;

/// The partitions of the table $1: name and bounds. No upper bound have the default one and one that is gone since the
/// statement began: by what the system tables' rows hold it is still there, functions that open it answer NULL.
macro_rules! partitions {
    () => {
        "(SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname) AS name,
                 coalesce(substring(bound FROM 'FROM \\(''([0-9a-f-]+)''\\)')::uuid,
                          '00000000-0000-0000-0000-000000000000') AS lower,
                 substring(bound FROM 'TO \\(''([0-9a-f-]+)''\\)')::uuid AS upper
          FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
               CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS bound
          WHERE inhparent = to_regclass($1)) AS partitions"
    };
}
pub(crate) use partitions;

/// Which days this process has seen to.
#[derive(Debug, Default)]
pub(crate) struct Partitions(Mutex<BTreeSet<Timestamp>>);

impl Partitions {
    /// Sees to the partitions of the day of a round and of the next days. That it cannot is no error: the rows lie in the
    /// default partition then.
    pub(crate) async fn prepare(&self, pool: &PgPool, performed_at: Timestamp) {
        for day in days(performed_at) {
            if self.is_settled(day) {
                continue;
            }
            match make_day(pool, day).await {
                Ok(()) => self.settle(day),
                // The next round is the next chance; usually there are hundreds before the day comes.
                Err(error) if error.is_transient() => {
                    tracing::debug!(%day, %error, "no partitions for a day yet");
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        %day, %error,
                        "a day has no partitions of its own: its rows lie in the default ones, and leave more slowly"
                    );
                    self.settle(day);
                }
            }
        }
    }

    fn is_settled(&self, day: Timestamp) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&day)
    }

    fn settle(&self, day: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
    }
}

/// The day of an instant and the next ones; none for instants that ids do not tell apart.
fn days(performed_at: Timestamp) -> impl Iterator<Item = Timestamp> {
    let far = Timestamp::UNIX_EPOCH + DAY.times(40_000);
    let is_usual = (Timestamp::UNIX_EPOCH..far).contains(&performed_at);
    let first = performed_at.floor_to(DAY);
    (0..=AHEAD).filter(move |_| is_usual).map(move |n| first + DAY.times(n))
}

async fn make_day(pool: &PgPool, day: Timestamp) -> Result<()> {
    for table in TABLES {
        let mut connection = pool.acquire().await.map_err(failed)?;
        if !is_covered(&mut connection, table, day).await? {
            make(&mut connection, table, day).await?;
        }
    }
    Ok(())
}

async fn is_covered(connection: &mut PgConnection, table: &str, day: Timestamp) -> Result<bool> {
    let sql = concat!("SELECT EXISTS (SELECT 1 FROM ", partitions!(), " WHERE lower <= $2 AND $2 < upper)");
    sqlx::query_scalar(sql)
        .bind(table)
        .bind(RoundId::first_at(day).as_uuid())
        .fetch_one(connection)
        .await
        .map_err(failed)
}

/// Makes a partition, unless another process is faster. To attach one locks nobody out but those who read the default
/// partition, which is all but empty.
async fn make(connection: &mut PgConnection, table: &str, day: Timestamp) -> Result<()> {
    let mut transaction = connection.begin().await.map_err(failed)?;
    // Nobody waits behind those who wait here.
    sqlx::query("SET LOCAL lock_timeout = '2s'").execute(&mut *transaction).await.map_err(failed)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    limit_waiting(&mut transaction).await?;
    if !is_covered(&mut transaction, table, day).await? {
        let [from, to] = [day, day + DAY].map(|at| RoundId::first_at(at).as_uuid());
        let name = format!("{table}_{}", day.format("%Y_%m_%d"));
        for sql in [
            format!(
                "CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING INDEXES INCLUDING STORAGE)"
            ),
            format!("ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Has the transaction give up soon when it has to wait for a lock: while it waits for a table, others wait behind it.
pub(crate) async fn limit_waiting(connection: &mut PgConnection) -> Result<()> {
    sqlx::query("SET LOCAL lock_timeout = '100ms'").execute(connection).await.map_err(failed).map(drop)
}
