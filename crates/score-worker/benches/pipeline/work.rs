//! A score worker in a process of its own.

use std::num::NonZeroUsize;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::{SimulatedClock, Timestamp, TimestampExt};
use score_worker::{Progress, ScoreWorker, Spent};
use serde::{Deserialize, Serialize};
use storage::Store;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::scoring::settings;
use crate::{Result, cpu};

/// Between two looks whether others have stored what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a worker did; times in microseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub scored: u64,
    pub predictions: u64,
    /// Processor time.
    pub cpu_us: f64,
    /// What was read from files.
    pub file_bytes: u64,
    pub claiming_us: f64,
    pub prices_us: f64,
    pub loading_us: f64,
    pub scoring_us: f64,
    pub storing_us: f64,
    pub ranking_us: f64,
}

/// Says that it is ready, waits to be told to go, works until no round is left to score and the leaderboard is written if that
/// is its part, and prints its report.
pub async fn run(store: Arc<dyn Store>, now: i64, threads: usize) -> Result<()> {
    let clock = Arc::new(SimulatedClock::at(Timestamp::from_unix_seconds(now).ok_or("an instant")?));
    let mut worker = ScoreWorker::new(settings()?, Arc::clone(&store), clock);
    if let Some(threads) = NonZeroUsize::new(threads) {
        worker = worker.with_threads(threads)?;
    }
    // Connects, and puts the settings on record.
    store.ping().await?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    let (cpu, file_bytes) = (cpu::own()?, bytes_from_files());
    let mut all = Progress::default();
    loop {
        // Looked at before: what others store meanwhile is ranked by this turn.
        let is_last = store.counts(Timestamp::MAX_UTC).await?.rounds.closed == 0;
        all += worker.run_once().await?;
        if is_last {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let used = cpu::own()? - cpu;
    println!(
        "{}",
        serde_json::to_string(&report(&all, worker.spent(), used, bytes_from_files() - file_bytes))?
    );
    Ok(worker.give_back().await?)
}

fn report(progress: &Progress, spent: Spent, cpu: Duration, file_bytes: u64) -> Report {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    Report {
        scored: progress.scored,
        predictions: progress.predictions,
        cpu_us: us(cpu),
        file_bytes,
        claiming_us: us(spent.claiming),
        prices_us: us(spent.prices),
        loading_us: us(spent.loading),
        scoring_us: us(spent.scoring),
        storing_us: us(spent.storing),
        ranking_us: us(spent.ranking),
    }
}

/// 0 where there is no /proc.
fn bytes_from_files() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// A worker that was started and waits.
pub struct Worker {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one as of `now` and waits until it is ready; `threads` 0 is for as many as it takes by itself.
    pub async fn start(url: &str, now: Timestamp, threads: usize) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["work", url, &now.timestamp().to_string(), &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = process.stdin.take().ok_or("a pipe")?;
        let stdout = BufReader::new(process.stdout.take().ok_or("a pipe")?);
        let mut worker = Worker { process, stdin, stdout };
        match worker.line().await?.as_str() {
            "ready\n" => Ok(worker),
            _ => Err("a worker does not start".into()),
        }
    }

    /// Tells it to go.
    pub async fn go(&mut self) -> Result<()> {
        Ok(self.stdin.write_all(b"go\n").await?)
    }

    /// Its report, as soon as it is done.
    pub async fn report(&mut self) -> Result<Report> {
        Ok(serde_json::from_str(&self.line().await?)?)
    }

    /// Waits until the process has ended.
    pub async fn end(mut self) -> Result<()> {
        self.process.wait().await?;
        Ok(())
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).await?;
        Ok(line)
    }
}
