//! An empty database of either kind, opened by each process for itself, and the disk that the journals are on.

use std::path::PathBuf;
use std::sync::Arc;

use domain::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, SqliteConnection};
use storage::{HolderId, ReportStore};
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::operation::PREDICTORS;
use crate::process::Process;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Puts the server's clock in the simulation's hands: whoever asks for the time finds this function before its own.
const SIMULATED_CLOCK: &str = "
    CREATE TABLE simulated_clock AS SELECT clock_timestamp() AS now;
    CREATE FUNCTION public.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE sql VOLATILE
        AS 'SELECT now FROM public.simulated_clock';
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database());
    END $$";

/// Has everything fail that a journal does on a disk without room.
const FILL: &str = "
    CREATE TRIGGER no_room_1 BEFORE INSERT ON records BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;
    CREATE TRIGGER no_room_2 BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;
    CREATE TRIGGER no_room_3 BEFORE INSERT ON outcomes BEGIN SELECT RAISE(ABORT, 'the disk is full'); END;
    CREATE TRIGGER no_room_4 BEFORE DELETE ON outcomes BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";

/// Makes room again.
const CLEAR: &str =
    "DROP TRIGGER no_room_1; DROP TRIGGER no_room_2; DROP TRIGGER no_room_3; DROP TRIGGER no_room_4";

/// An empty database, and the folder of the predict workers' journals.
pub struct Database {
    url: String,
    server: Option<Server>,
    folder: TempDir,
}

struct Server {
    url: String,
    /// To the database itself.
    connection: Arc<Mutex<PgConnection>>,
    /// Where that connection is used.
    process: Process,
}

impl Database {
    /// `None` where no server is named.
    pub fn fresh(kind: Kind) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        match kind {
            Kind::Sqlite => {
                let url = format!("sqlite://{}", folder.path().join("condor.db").display());
                Some(Database { url, server: None, folder })
            }
            Kind::Postgres => {
                let server = std::env::var("TEST_POSTGRES_URL").ok()?;
                let name = format!("simulation_{}", HolderId::random().as_str().replace('-', "_"));
                let (address, _) = server.rsplit_once('/').unwrap();
                let url = format!("{address}/{name}");
                let server = Server::with_database(server, &name, url.clone());
                Some(Database { url, server: Some(server), folder })
            }
        }
    }

    /// How many predict workers it may have.
    pub fn predictors(&self) -> usize {
        if self.server.is_some() { PREDICTORS } else { 1 }
    }

    /// Opens it, as a process does.
    pub async fn open(&self) -> Arc<dyn ReportStore> {
        match self.server {
            None => Arc::new(SqliteStore::open(&self.url).await.unwrap()),
            Some(_) => Arc::new(PostgresStore::open(&self.url).await.unwrap()),
        }
    }

    /// Sets the server's clock; that of an SQLite database is its users'.
    pub fn set_clock(&self, now: Timestamp) {
        if let Some(Server { connection, process, .. }) = &self.server {
            let connection = Arc::clone(connection);
            process.run(async move {
                let set = sqlx::query("UPDATE simulated_clock SET now = $1").bind(now);
                set.execute(&mut *connection.lock().await).await.unwrap();
            });
        }
    }

    /// Where a predict worker's journal is.
    pub fn journal(&self, predictor: usize) -> PathBuf {
        self.folder.path().join(format!("journal-{predictor}.db"))
    }

    /// How much is in a predict worker's journal, whether or not somebody has it open.
    pub async fn journal_depth(&self, predictor: usize) -> i64 {
        let Some(mut journal) = self.look_into_journal(predictor).await else { return 0 };
        let count = "SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM outcomes)";
        let depth = sqlx::query_scalar(count).fetch_one(&mut journal).await.unwrap();
        journal.close().await.unwrap();
        depth
    }

    /// Fills the disk that the journals are on, or makes room there.
    pub async fn set_full(&self, is_full: bool) {
        for predictor in 0..self.predictors() {
            if let Some(mut journal) = self.look_into_journal(predictor).await {
                journal.execute(if is_full { FILL } else { CLEAR }).await.unwrap();
                journal.close().await.unwrap();
            }
        }
    }

    async fn look_into_journal(&self, predictor: usize) -> Option<SqliteConnection> {
        let path = self.journal(predictor);
        if !path.exists() {
            return None;
        }
        Some(SqliteConnectOptions::new().filename(path).connect().await.unwrap())
    }
}

impl Server {
    fn with_database(server: String, name: &str, url: String) -> Self {
        let process = Process::start();
        run_on(&process, &server, format!("CREATE DATABASE {name}"));
        let connection = process.run(async move {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            connection.execute(SIMULATED_CLOCK).await.unwrap();
            connection
        });
        Server { url: server, connection: Arc::new(Mutex::new(connection)), process }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            let (_, name) = self.url.rsplit_once('/').unwrap();
            run_on(&Process::start(), &server.url, format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

/// Runs a statement on a server.
fn run_on(process: &Process, server: &str, sql: String) {
    let server = server.to_owned();
    process.run(async move {
        let mut connection = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}
