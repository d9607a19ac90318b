//! Measurements of release builds.

mod fanout;
mod fleet;
mod machine;
mod numbers;
mod pipeline;
mod replay;
mod report;
mod scoring;

use std::io::{IsTerminal, Write};

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub enum Benchmark {
    /// Calling a thousand models at once, side by side with the Python client of the field
    Fanout(fanout::Options),
    /// Rounds of 1,000 models into both databases, and what a score worker makes of them
    Pipeline(pipeline::Options),
    /// Nine days of three assets through five models over gRPC into SQLite, scored
    Replay(replay::Options),
    /// The report worker under load, side by side with FastAPI, SQLModel and uvicorn over the same rows
    Report(report::Options),
    /// Scoring and parsing, side by side with public Python packages on the same inputs
    Scoring(scoring::Options),
}

/// Runs a benchmark and prints its table.
pub fn run(benchmark: &Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Fanout(options) => fanout::run(options),
        Benchmark::Pipeline(options) => pipeline::run(options),
        Benchmark::Replay(options) => replay::run(options),
        Benchmark::Report(options) => report::run(options),
        Benchmark::Scoring(options) => scoring::run(options),
    }
}

/// One line that is written over, where there is a terminal.
fn show_progress(text: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        // What cannot be shown is not missed.
        let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
    } else if !text.is_empty() {
        eprintln!("{text}");
    }
}
