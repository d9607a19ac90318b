//! Changes are told by NOTIFY, inside the transactions that make them.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgListener, PgNotification};
use sqlx::{PgPool, Postgres, Transaction};
use storage::{ChangeNumber, ChangeSource, ChangeWatch, Result, RoundRecord, StorageError, Topic};
use tokio::time::timeout;

use crate::PostgresStore;
use crate::errors::failed;
use crate::rows::{self, Reader, limit_of};

/// The channel; each database has its own.
const CHANNEL: &str = "condor";

/// How long nothing may come before the connection is asked whether it still is one.
const QUIET: Duration = Duration::from_secs(5);

/// How long the server may take to answer that, and to take a new listener.
const PATIENCE: Duration = Duration::from_secs(5);

/// More of the same kind arrive together: who is told reads once for all of them.
const GATHER: Duration = Duration::from_millis(50);

/// Commits a transaction and tells that it has.
pub(crate) async fn commit(mut transaction: Transaction<'static, Postgres>, topics: &[Topic]) -> Result<()> {
    let words: Vec<&str> = topics.iter().map(|topic| topic.as_str()).collect();
    sqlx::query("SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word")
        .bind(CHANNEL)
        .bind(words)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

struct Watch {
    pool: PgPool,
    /// None before the first call, and after an error.
    listener: Option<PgListener>,
}

#[async_trait]
impl ChangeWatch for Watch {
    async fn changed(&mut self) -> Result<BTreeSet<Topic>> {
        let Some(mut listener) = self.listener.take() else {
            self.listener = Some(listen(&self.pool).await?);
            return Ok(Topic::ALL.into());
        };
        let topics = gather(&mut listener).await?;
        self.listener = Some(listener);
        Ok(topics)
    }
}

async fn listen(pool: &PgPool) -> Result<PgListener> {
    let listen = async {
        let mut listener = PgListener::connect_with(pool).await.map_err(failed)?;
        listener.listen(CHANNEL).await.map_err(failed)?;
        Ok(listener)
    };
    timeout(PATIENCE, listen).await.unwrap_or_else(|_| Err(silent()))
}

/// Waits for a change and takes what comes with it.
async fn gather(listener: &mut PgListener) -> Result<BTreeSet<Topic>> {
    let mut topics = BTreeSet::new();
    topics.extend(topic(&wait(listener).await?));
    while let Ok(received) = timeout(GATHER, listener.try_recv()).await {
        topics.extend(topic(&received.map_err(failed)?.ok_or_else(silent)?));
    }
    Ok(topics)
}

async fn wait(listener: &mut PgListener) -> Result<PgNotification> {
    loop {
        match timeout(QUIET, listener.try_recv()).await {
            Ok(received) => return received.map_err(failed)?.ok_or_else(silent),
            Err(_) => {
                let ping = sqlx::query("SELECT 1").execute(&mut *listener);
                timeout(PATIENCE, ping).await.map_err(|_| silent())?.map_err(failed)?;
            }
        }
    }
}

/// A newer program may tell of what this one does not know.
fn topic(notification: &PgNotification) -> Option<Topic> {
    Topic::from_word(notification.payload())
}

fn silent() -> StorageError {
    StorageError::Unavailable("the connection that tells of changes was lost".into())
}

#[async_trait]
impl ChangeSource for PostgresStore {
    fn watch(&self) -> Box<dyn ChangeWatch> {
        Box::new(Watch { pool: self.pool.clone(), listener: None })
    }

    async fn newest_rounds(&self, limit: usize) -> Result<Vec<RoundRecord>> {
        let sql = "SELECT * FROM rounds ORDER BY performed_at DESC, round_id DESC LIMIT $1";
        let rows = sqlx::query(sql).bind(limit_of(limit)).fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(rows::round).collect()
    }

    async fn last_change(&self) -> Result<ChangeNumber> {
        let sql = "SELECT last_number FROM change_counter";
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.map(ChangeNumber).map_err(failed)
    }

    async fn judged_rounds(
        &self,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<(ChangeNumber, RoundRecord)>> {
        let sql = "SELECT * FROM rounds WHERE change_number > $1 ORDER BY change_number LIMIT $2";
        let rows = sqlx::query(sql)
            .bind(after.0)
            .bind(limit_of(limit))
            .fetch_all(&self.pool)
            .await
            .map_err(failed)?;
        let judged = |row| Ok((ChangeNumber(Reader::rounds(row).get("change_number")?), rows::round(row)?));
        rows.iter().map(judged).collect()
    }
}
