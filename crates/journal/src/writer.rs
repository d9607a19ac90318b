//! The one connection that writes.

use std::ops::{Deref, DerefMut};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use crate::Result;

/// Gives out the one connection that writes, to one at a time, so that none finds the file locked.
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Writer {
    /// Goes on with `connection`; another is made with `options` when it has failed.
    pub fn new(options: SqliteConnectOptions, connection: SqliteConnection) -> Self {
        Writer { options, connection: Mutex::new(Some(connection)) }
    }

    /// How a connection to the same file is made.
    pub fn options(&self) -> &SqliteConnectOptions {
        &self.options
    }

    /// Waits for its turn to run statements that are transactions of their own.
    pub async fn turn(&self) -> Result<Turn<'_>> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(Turn { slot, connection, in_transaction: false })
    }

    /// Waits for its turn to run several statements as one transaction.
    pub async fn begin(&self) -> Result<Turn<'_>> {
        let mut turn = self.turn().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *turn).await?;
        turn.in_transaction = true;
        Ok(turn)
    }
}

/// A turn to write. One that is dropped before [`Turn::finish`], because its work failed or was given up, takes the
/// connection with it. After a COMMIT that failed for lack of room it is in doubt whether a transaction is open, and what
/// comes later would be committed into that one: it would seem to be safe, and be lost in a kill.
pub(crate) struct Turn<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
    in_transaction: bool,
}

impl Turn<'_> {
    /// Commits, and leaves the connection to the next.
    pub async fn finish(mut self) -> Result<()> {
        if self.in_transaction {
            sqlx::query("COMMIT").execute(&mut self.connection).await?;
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
