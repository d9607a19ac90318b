//! Changes are seen by a number that SQLite keeps for each connection.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use storage::{ChangeNumber, ChangeSource, ChangeWatch, Result, RoundRecord, Topic};

use crate::SqliteStore;
use crate::errors::failed;
use crate::rows::{self, Reader, limit_of};

/// How often is looked. It reads a few bytes of shared memory.
const LOOK_EVERY: Duration = Duration::from_millis(250);

struct Watch {
    options: SqliteConnectOptions,
    /// The connection and what it saw last; none before the first call, and after an error.
    seen: Option<(SqliteConnection, i64)>,
}

#[async_trait]
impl ChangeWatch for Watch {
    /// The number says that another connection has committed, and not what: it may be anything.
    async fn changed(&mut self) -> Result<BTreeSet<Topic>> {
        match self.seen.take() {
            None => {
                let mut connection = self.options.connect().await.map_err(failed)?;
                let version = data_version(&mut connection).await?;
                self.seen = Some((connection, version));
            }
            Some((mut connection, last)) => {
                let mut version = data_version(&mut connection).await?;
                while version == last {
                    tokio::time::sleep(LOOK_EVERY).await;
                    version = data_version(&mut connection).await?;
                }
                self.seen = Some((connection, version));
            }
        }
        Ok(Topic::ALL.into())
    }
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await.map_err(failed)
}

#[async_trait]
impl ChangeSource for SqliteStore {
    fn watch(&self) -> Box<dyn ChangeWatch> {
        Box::new(Watch { options: (*self.readers.connect_options()).clone(), seen: None })
    }

    async fn newest_rounds(&self, limit: usize) -> Result<Vec<RoundRecord>> {
        let sql = "SELECT * FROM rounds ORDER BY performed_at DESC, round_id DESC LIMIT ?";
        let rows = sqlx::query(sql).bind(limit_of(limit)).fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(rows::round).collect()
    }

    async fn last_change(&self) -> Result<ChangeNumber> {
        let sql = "SELECT last_number FROM change_counter";
        sqlx::query_scalar(sql).fetch_one(&self.readers).await.map(ChangeNumber).map_err(failed)
    }

    async fn judged_rounds(
        &self,
        after: ChangeNumber,
        limit: usize,
    ) -> Result<Vec<(ChangeNumber, RoundRecord)>> {
        let sql = "SELECT * FROM rounds WHERE change_number > ? ORDER BY change_number LIMIT ?";
        let rows = sqlx::query(sql)
            .bind(after.0)
            .bind(limit_of(limit))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let judged = |row| Ok((ChangeNumber(Reader::rounds(row).get("change_number")?), rows::round(row)?));
        rows.iter().map(judged).collect()
    }
}
