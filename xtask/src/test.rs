//! Everything that has to pass.

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use domain::Stopwatch;
use throwaway_postgres::Durability;

use crate::{contract, page, postgres, python, repository, shell, tidy};

#[derive(Args)]
pub struct Options {
    /// Run one phase alone
    #[arg(long, value_name = "PHASE")]
    only: Option<Phase>,
    /// Start no PostgreSQL; the tests that need one skip themselves
    #[arg(long)]
    no_postgres: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// Formatting
    Fmt,
    /// What the compiler does not check
    Tidy,
    /// Lints, warnings refused
    Clippy,
    /// The tests of all crates, against SQLite and a throw-away PostgreSQL
    Tests,
    /// The independent check of scores, checked itself; interoperation with the Python of the field
    Python,
    /// The HTTP interface against its OpenAPI document, by schemathesis, over a replay
    Contract,
    /// The web page in Chromium, over a replay
    Page,
}

/// Runs the phases in order and ends with the first that fails.
pub fn run(options: &Options) -> Result<()> {
    let whole = Stopwatch::start();
    let phases =
        Phase::value_variants().iter().filter(|phase| options.only.is_none_or(|only| only == **phase));
    for phase in phases {
        let name = name(*phase);
        println!("── {name}");
        let stopwatch = Stopwatch::start();
        run_phase(*phase, options)
            .with_context(|| format!("{name} failed; run it alone with `cargo xtask test --only {name}`"))?;
        println!("── {name} passed in {:.1} s", stopwatch.elapsed().as_secs_f64());
    }
    println!("── all passed in {:.1} s", whole.elapsed().as_secs_f64());
    Ok(())
}

fn run_phase(phase: Phase, options: &Options) -> Result<()> {
    match phase {
        Phase::Fmt => shell::run(&mut shell::cargo(&["fmt", "--all", "--check"])),
        Phase::Tidy => tidy::run(repository()),
        Phase::Clippy => {
            shell::run(&mut shell::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        }
        Phase::Tests => run_tests(options),
        Phase::Python => python::check(),
        Phase::Contract => contract::check(),
        Phase::Page => page::check(),
    }
}

fn run_tests(options: &Options) -> Result<()> {
    // The model host's tests run Python submissions.
    python::ensure_installed()?;
    if options.no_postgres {
        return shell::run(&mut tests());
    }
    let server = postgres::start(Durability::None)?;
    println!("PostgreSQL for the tests: {}", server.url());
    shell::run(tests().env("TEST_POSTGRES_URL", server.url()))
}

fn tests() -> std::process::Command {
    let mut tests = shell::cargo(&["test", "--workspace"]);
    tests.env_remove("TEST_POSTGRES_URL");
    tests
}

fn name(phase: Phase) -> String {
    phase.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
