//! What rounds cost between the models' answers and the leaderboard, over a real database. `cargo xtask bench pipeline`
//! makes the databases and prints a table.
//!
//! ```text
//! cargo bench -p score-worker --bench pipeline -- URL [--rounds N]      URL is the address of an empty database
//! cargo bench -p score-worker --bench pipeline -- URL --weeks N         windows alone: N more weeks than they reach back
//! cargo bench -p score-worker --bench pipeline -- URL --filled          measures nothing: leaves a week and a month of
//!                                                                       snapshots for others to measure on
//! ```
//!
//! A measurement is a line of JSON. Score workers are processes of their own, as they are in life: this program again.

mod bytes;
mod cpu;
mod game;
mod scoring;
mod storing;
mod windows;
mod work;

use std::error::Error;
use std::sync::Arc;

use storage::Store;
use storage_postgres::PostgresStore;
use storage_sqlite::SqliteStore;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many rounds are scored unless told otherwise.
const ROUNDS: u32 = 200;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        // As `cargo test --benches` does.
        [] => Ok(()),
        [url] => measure(url, ROUNDS).await,
        [url, "--rounds", rounds] => measure(url, rounds.parse()?).await,
        ["work", url, now, threads] => work::run(open(url).await?, now.parse()?, threads.parse()?).await,
        [url, "--weeks", weeks] => windows::measure(url, weeks.parse()?).await,
        [url, "--filled"] => windows::fill(url).await,
        _ => Err(
            "usage: cargo bench -p score-worker --bench pipeline -- URL [--rounds N | --weeks N | --filled]"
                .into(),
        ),
    }
}

async fn measure(url: &str, rounds: u32) -> Result<()> {
    let store = open(url).await?;
    store.migrate().await?;
    storing::measure(store.as_ref()).await?;
    scoring::measure(store.as_ref(), url, rounds).await
}

async fn open(url: &str) -> Result<Arc<dyn Store>> {
    if url.starts_with("sqlite://") {
        Ok(Arc::new(SqliteStore::open(url).await?))
    } else {
        Ok(Arc::new(PostgresStore::open(url).await?))
    }
}
