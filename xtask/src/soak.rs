//! The tests of kills and outages in full: too long for each change, and made before a release.

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

/// Runs the test; it prints what it found.
pub fn run(soak: &Soak) -> Result<()> {
    match soak {
        Soak::Kills(Kills { kills, models, longest_pause, seed, database }) => {
            let settings = [
                ("E2E_KILLS", kills.to_string()),
                ("E2E_MODELS", models.to_string()),
                ("E2E_LONGEST_PAUSE_MS", longest_pause.to_string()),
                ("E2E_SEED", seed.to_string()),
                ("E2E_DATABASE", database.clone().unwrap_or_default()),
            ];
            test("kill_9", &settings)
        }
        Soak::Outages(Outages { stopped, models }) => {
            test("outages", &[("E2E_STOPPED_S", stopped.to_string()), ("E2E_MODELS", models.to_string())])
        }
    }
}

fn test(name: &str, settings: &[(&str, String)]) -> Result<()> {
    let server = postgres::start(Durability::None)?;
    let watch = Stopwatch::start();
    let arguments = ["test", "--package", "e2e", "--test", name, "--", "--nocapture", "--test-threads=1"];
    let mut command = shell::cargo(&arguments);
    command.env("TEST_POSTGRES_URL", server.url()).envs(settings.iter().map(|(name, value)| (name, value)));
    shell::run(&mut command).with_context(|| format!("{name} failed"))?;
    println!("{name} passed in {:.0} s", watch.elapsed().as_secs_f64());
    Ok(())
}
