//! How the database is reached.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
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
    let read_only = if read_only { "on" } else { "off" };
    let options = options.application_name("condor").options([
        ("default_transaction_read_only", read_only),
        ("idle_in_transaction_session_timeout", SILENCE),
    ]);
    Ok(PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE).connect_lazy_with(options))
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
