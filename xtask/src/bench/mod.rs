//! Measurements of release builds.

mod pipeline;
mod replay;
mod scoring;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Subcommand)]
pub enum Benchmark {
    /// Rounds of 1,000 models into both databases, and what a score worker makes of them
    Pipeline(pipeline::Options),
    /// Nine days of three assets through five models over gRPC into SQLite, scored
    Replay(replay::Options),
    /// Scoring and parsing, side by side with public Python packages on the same inputs
    Scoring(scoring::Options),
}

/// Runs a benchmark and prints its table.
pub fn run(benchmark: &Benchmark) -> Result<()> {
    match benchmark {
        Benchmark::Pipeline(options) => pipeline::run(options),
        Benchmark::Replay(options) => replay::run(options),
        Benchmark::Scoring(options) => scoring::run(options),
    }
}
