//! The one connection of a process that writes.

use std::ops::{Deref, DerefMut};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use storage::Result;
use tokio::sync::{Mutex, MutexGuard};

use crate::errors::failed;

/// Gives out the one connection that writes, to one at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Writer {
    /// Connects when there is something to write.
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        Writer { options, connection: Mutex::new(None) }
    }

    /// Waits for its turn to run one statement, which is a transaction of its own.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(failed)?,
        };
        Ok(Turn { slot, connection, in_transaction: false })
    }

    /// Waits for its turn to run several statements as one transaction, which holds the write lock from here on.
    pub(crate) async fn begin(&self) -> Result<Turn<'_>> {
        let mut turn = self.turn().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *turn).await.map_err(failed)?;
        turn.in_transaction = true;
        Ok(turn)
    }
}

/// A turn to write. One that is dropped before [`Turn::finish`], because its work failed or was given up, takes the
/// connection with it, and so SQLite rolls back: no later writer finds it in doubt.
pub(crate) struct Turn<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
    in_transaction: bool,
}

impl Turn<'_> {
    /// Commits, and leaves the connection to the next.
    pub(crate) async fn finish(mut self) -> Result<()> {
        if self.in_transaction {
            sqlx::query("COMMIT").execute(&mut self.connection).await.map_err(failed)?;
        }
        *self.slot = Some(self.connection);
        Ok(())
    }
}

impl Deref for Turn<'_> {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn count(writer: &Writer) -> i64 {
        let mut turn = writer.turn().await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut *turn).await.unwrap();
        turn.finish().await.unwrap();
        count
    }

    #[tokio::test]
    async fn a_transaction_that_is_given_up_leaves_nothing_behind_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let writer = Writer::new(SqliteConnectOptions::new().filename(&path).create_if_missing(true));
        let mut turn = writer.turn().await.unwrap();
        sqlx::query("CREATE TABLE t (x)").execute(&mut *turn).await.unwrap();
        turn.finish().await.unwrap();

        let mut given_up = writer.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *given_up).await.unwrap();
        drop(given_up);
        assert_eq!(count(&writer).await, 0);

        let mut failing = writer.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *failing).await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *failing).await.unwrap();
        assert!(failing.finish().await.is_err(), "there is nothing left to commit");

        let mut turn = writer.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *turn).await.unwrap();
        turn.finish().await.unwrap();
        assert_eq!(count(&writer).await, 1);
    }
}
