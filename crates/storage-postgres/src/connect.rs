//! How the database is reached.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use storage::{Result, StorageError};

/// Per process; PostgreSQL allows 100 unless told otherwise.
const CONNECTIONS: u32 = 8;

/// A caller that cannot wait for the database wants to know soon that it is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server ends transactions of a process that fell silent in one, so that its locks hold nobody up.
const SILENCE: &str = "60s";

/// Connections that are made when they are needed.
pub(crate) fn pool(url: &str, read_only: bool) -> Result<PgPool> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(StorageError::invalid_url(url, "it does not begin with postgres://"));
    }
    let options: PgConnectOptions =
        url.parse().map_err(|error: sqlx::Error| StorageError::invalid_url(url, why(&error)))?;
    let mut options =
        options.application_name("condor").options([("idle_in_transaction_session_timeout", SILENCE)]);
    if read_only {
        options = options.options([("default_transaction_read_only", "on")]);
    }
    Ok(PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .after_release(move |connection, _| Box::pin(is_of_use(connection, read_only)))
        .connect_lazy_with(options))
}

/// Whether a connection that comes back to the pool goes there. The pool itself waits without end for an answer: one through
/// which nothing comes any more would take its place for ever. One that was made while the server took no writes would
/// refuse them for as long as it lives.
async fn is_of_use(connection: &mut PgConnection, read_only: bool) -> sqlx::Result<bool> {
    let look = sqlx::query_scalar("SHOW transaction_read_only").fetch_one(connection);
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(takes_no_writes) => takes_no_writes.map(|setting: String| read_only || setting == "off"),
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// The cause alone; around it is a sentence of sqlx's own.
fn why(error: &sqlx::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_makes_no_sense_is_refused_without_showing_its_password() {
        for url in
            ["sqlite://me:secret@a.db", "postgres://me:secret@host:port/db", "me:secret@host", "postgres://["]
        {
            let error = pool(url, false).unwrap_err();
            assert!(matches!(error, StorageError::InvalidUrl { .. }), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(pool("postgresql://me@host/db", true).is_ok());
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_unavailable_and_may_come_back() {
        // Port 1 is reserved: nothing listens there.
        let store = crate::PostgresStore::open("postgres://me@127.0.0.1:1/db").await.unwrap();
        let error = storage::Store::ping(&store).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
}
