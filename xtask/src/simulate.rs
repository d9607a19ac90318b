//! Many sequences of the simulation, on both databases.

use anyhow::Result;
use clap::Args;
use throwaway_postgres::Durability;

use crate::{postgres, shell};

#[derive(Args)]
pub struct Options {
    /// How many sequences are played on each database
    #[arg(long, value_name = "N", default_value_t = 1000)]
    cases: u32,
    /// The first seed; each sequence has the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
    /// Start no PostgreSQL: on SQLite alone
    #[arg(long)]
    no_postgres: bool,
}

/// Plays until a sequence fails.
pub fn run(options: &Options) -> Result<()> {
    let mut tests = shell::cargo(&["test", "--package", "e2e", "--test", "simulation"]);
    tests.env("SIMULATION_CASES", options.cases.to_string());
    tests.env("SIMULATION_SEED", options.seed.to_string());
    if options.no_postgres {
        return shell::run(tests.env_remove("TEST_POSTGRES_URL"));
    }
    let server = postgres::start(Durability::None)?;
    shell::run(tests.env("TEST_POSTGRES_URL", server.url()))
}
