//! The repository's own commands. `cargo xtask test` is the gate: it runs everything that has to pass, and installs or
//! starts by itself what the tests need.

mod bench;
mod contract;
mod http;
mod install;
mod page;
mod postgres;
mod python;
mod served;
mod shell;
mod simulate;
mod soak;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The repository's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that has to pass: formatting, tidy, clippy, the tests against both databases, the Python checks, the HTTP interface against its document, the page in a browser
    Test(test::Options),
    /// Check what the compiler does not: dependency arrows, the one clock, leftovers, lints, migrations
    Tidy,
    /// Play many generated sequences of operations over simulated time, on both databases, and check the invariants
    Simulate(simulate::Options),
    /// Hold the report worker against its OpenAPI document with many generated requests
    Contract(contract::Options),
    /// Run a throw-away PostgreSQL, print its URL, and remove it on Ctrl-C
    Pg,
    /// Kill and starve the workers for long, under load
    #[command(subcommand)]
    Soak(soak::Soak),
    /// Measure a release build and print a Markdown table
    #[command(subcommand)]
    Bench(bench::Benchmark),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Tidy => tidy::run(repository()),
        Command::Simulate(options) => simulate::run(&options),
        Command::Contract(options) => contract::run(&options),
        Command::Pg => postgres::run_in_foreground(),
        Command::Soak(soak) => soak::run(&soak),
        Command::Bench(benchmark) => bench::run(&benchmark),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn repository() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where Cargo builds.
fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}
