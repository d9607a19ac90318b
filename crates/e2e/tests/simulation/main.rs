//! Simulation: generated sequences of operations over simulated time, on the real workers and both databases, and after each
//! operation the [invariants] of ARCHITECTURE.md.
//!
//! Orchestrator, models and workers are real and talk over real sockets; each worker is a [process] of its own, with a
//! runtime whose time stands still until the simulation moves it, and a line to the [database] that can be cut. So minutes
//! pass in milliseconds, nothing times out because the machine is busy, and a kill leaves nothing behind but files.
//!
//! A sequence that fails is cut down to what is needed and printed with its seed, as Rust text to be [kept] as a test.
//! `SIMULATION_CASES` says how many sequences are played on each database, `SIMULATION_SEED` with which to begin, and
//! `SIMULATION_CUTS` how often one that fails is tried to be cut down.
#![allow(clippy::unwrap_used, reason = "these are tests")]

mod afresh;
mod database;
mod facts;
mod invariants;
mod kept;
mod line;
mod models;
mod operation;
mod predictor;
mod prices;
mod process;
mod record;
mod report;
mod world;

use database::{Database, Kind};
use operation::{Operation, sequences};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use world::World;

#[test]
fn the_invariants_hold_whatever_happens_on_sqlite() {
    explore(Kind::Sqlite, 40);
}

/// Half as many as on SQLite: PostgreSQL takes longer for each.
#[test]
fn the_invariants_hold_whatever_happens_on_postgresql() {
    explore(Kind::Postgres, 20);
}

/// Plays sequences that are made up, so many unless told otherwise.
fn explore(kind: Kind, usual: u32) {
    let first = setting("SIMULATION_SEED", 1);
    for seed in first..first + setting("SIMULATION_CASES", usual) {
        if let Err((operations, reason)) = try_seed(kind, seed) {
            // The reason last: of a long output often the end alone is kept.
            panic!("{kind:?}, seed {seed}, as cut down, to be kept:\n{operations:?}\n{reason}");
        }
    }
}

fn setting(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |value| value.parse().expect("a number"))
}

/// What of a seed's sequence fails, and why.
fn try_seed(kind: Kind, seed: u32) -> Result<(), (Vec<Operation>, String)> {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        max_shrink_iters: setting("SIMULATION_CUTS", 150),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let played = runner.run(&sequences(), |operations| play(kind, &operations).map_err(TestCaseError::fail));
    match played {
        Err(TestError::Fail(reason, operations)) => Err((operations, reason.to_string())),
        played => {
            played.unwrap();
            Ok(())
        }
    }
}

/// Plays a sequence; fails at the first operation after which an invariant does not hold.
fn play(kind: Kind, operations: &[Operation]) -> Result<(), String> {
    let Some(database) = Database::fresh(kind) else {
        println!("skipped on PostgreSQL: TEST_POSTGRES_URL is not set (cargo xtask test sets it)");
        return Ok(());
    };
    let mut world = World::new(database);
    for (number, operation) in operations.iter().enumerate() {
        world.play(*operation);
        invariants::check(&world).map_err(|broken| {
            format!("after operation {number}, {operation:?}, at {}: {broken}", world.now())
        })?;
    }
    world.finish();
    invariants::check_end(&world).map_err(|broken| format!("in the end, at {}: {broken}", world.now()))
}
