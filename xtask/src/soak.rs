//! The tests of kills, outages and takeovers in full: too long for each change, and made before a release. They run a release
//! build, so that a machine of two cores has time for hundreds of models.

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use domain::Stopwatch;
use throwaway_postgres::Durability;

use crate::{postgres, shell};

/// What to do to the workers.
#[derive(Subcommand)]
pub enum Soak {
    /// Kill -9 of random workers under load, on both databases
    Kills(Kills),
    /// PostgreSQL stopped, refusing, hanging, read-only, out of patience; a full disk: each under load
    Outages(Outages),
    /// One leading predict worker after the other killed or stopped, under load, on PostgreSQL
    Takeovers(Takeovers),
}

#[derive(Args)]
pub struct Kills {
    /// How many kills on each database
    #[arg(long, value_name = "N", default_value_t = 200)]
    kills: u32,
    /// How many models are asked in each round
    #[arg(long, value_name = "N", default_value_t = 200)]
    models: u32,
    /// The longest pause between two kills, in milliseconds; the shortest is 500
    #[arg(long, value_name = "MS", default_value_t = 3500)]
    longest_pause: u32,
    /// Another sequence of pauses and victims
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u32,
    /// Beside somebody who writes to the same disk without end
    #[arg(long)]
    busy_disk: bool,
    /// On one database alone
    #[arg(long, value_name = "KIND", value_parser = ["sqlite", "postgres"])]
    database: Option<String>,
}

#[derive(Args)]
pub struct Outages {
    /// How long PostgreSQL is stopped, in seconds; other outages are as long as they need to be
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    stopped: u32,
    /// How many models are asked in each round
    #[arg(long, value_name = "N", default_value_t = 200)]
    models: u32,
}

#[derive(Args)]
pub struct Takeovers {
    /// How many leaders end: every other one by kill -9
    #[arg(long, value_name = "N", default_value_t = 40)]
    takeovers: u32,
    /// How many models are asked in each round
    #[arg(long, value_name = "N", default_value_t = 200)]
    models: u32,
}

/// Runs the test; it prints what it found.
pub fn run(soak: &Soak) -> Result<()> {
    match soak {
        Soak::Kills(Kills { kills, models, longest_pause, seed, busy_disk, database }) => {
            let settings = [
                ("E2E_KILLS", kills.to_string()),
                ("E2E_MODELS", models.to_string()),
                ("E2E_LONGEST_PAUSE_MS", longest_pause.to_string()),
                ("E2E_SEED", seed.to_string()),
                ("E2E_BUSY_DISK", busy_disk.to_string()),
                ("E2E_DATABASE", database.clone().unwrap_or_default()),
            ];
            test("kill_9", "", &settings)
        }
        Soak::Outages(Outages { stopped, models }) => {
            let settings = [("E2E_STOPPED_S", stopped.to_string()), ("E2E_MODELS", models.to_string())];
            test("outages", "", &settings)
        }
        Soak::Takeovers(Takeovers { takeovers, models }) => {
            let settings = [("E2E_TAKEOVERS", takeovers.to_string()), ("E2E_MODELS", models.to_string())];
            test("leaders", "a_standby_takes_over", &settings)
        }
    }
}

/// Runs the tests of a file whose names begin with `filter`.
fn test(name: &str, filter: &str, settings: &[(&str, String)]) -> Result<()> {
    let server = postgres::start(Durability::None)?;
    let watch = Stopwatch::start();
    let mut command = shell::cargo(&["test", "--release", "--package", "e2e", "--test", name]);
    command.args(["--", filter, "--nocapture", "--test-threads=1"]);
    command.env("TEST_POSTGRES_URL", server.url()).envs(settings.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command).with_context(|| format!("{name} failed"))?;
    println!("{name} passed in {:.0} s", watch.elapsed().as_secs_f64());
    Ok(())
}
