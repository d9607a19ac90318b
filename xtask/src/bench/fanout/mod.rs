//! Calling many models at once: `condor probe` and the Python client of the field, in turns, on the same fleet of model
//! nodes whose answers are encoded beforehand. Then ours alone: many more models, and one that hangs. A slow machine is no
//! failure: what is not met is marked.

mod comparison;
mod hang;
mod phase;
mod report;
mod sides;

use anyhow::{Result, ensure};
use clap::Args;

use super::fleet::{Ask, Fleet};
use super::machine::Machine;
use super::show_progress;
use comparison::Pair;
use hang::Hang;
use phase::Phase;
use sides::{Ours, Peer};

/// Questions that each model is asked in a round.
const QUESTIONS: u32 = 3;

/// The Python client takes an `init` of 1 MiB, which is about 3,000 models.
const MOST_MODELS_OF_PEER: u32 = 2_500;

#[derive(Args)]
pub struct Options {
    /// How many models both sides call
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=MOST_MODELS_OF_PEER as i64))]
    models: u32,
    /// How many models ours calls alone
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    held: u32,
    /// How often each side is measured; figures are medians over the rounds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// All that was measured.
pub struct Measured {
    machine: Machine,
    /// Package and version of each part of the peer.
    peer: String,
    pairs: Vec<Pair>,
    /// The phases of ours with many models.
    held: Vec<Phase>,
    hang: Hang,
}

/// Measures, and prints the tables.
pub fn run(options: &Options) -> Result<()> {
    let ours = Ours::build()?;
    let peer = Peer::install()?;
    let machine = Machine::find();
    let measured = Measured {
        peer: peer.versions()?,
        pairs: compare(&ours, &peer, options)?,
        hang: hang(&ours, options)?,
        held: hold(&ours, options)?,
        machine,
    };
    show_progress("");
    if options.json {
        println!("{}", report::json(&measured));
    } else {
        print!("{}", report::tables(&measured));
    }
    Ok(())
}

fn compare(ours: &Ours, peer: &Peer, options: &Options) -> Result<Vec<Pair>> {
    let fleet = Fleet::start(options.models, 0, Ask::DAY)?;
    let mut pairs = Vec::new();
    for round in 1..=options.rounds {
        show_progress(&format!("round {round} of {}: ours", options.rounds));
        let ours = ours.probe(&fleet, QUESTIONS)?;
        show_progress(&format!("round {round} of {}: the Python client", options.rounds));
        pairs.push(Pair::new(ours, peer.probe(&fleet, QUESTIONS)?)?);
    }
    Ok(pairs)
}

fn hold(ours: &Ours, options: &Options) -> Result<Vec<Phase>> {
    show_progress(&format!("{} models", options.held));
    let fleet = Fleet::start(options.held, 0, Ask::DAY)?;
    let phases = ours.probe(&fleet, QUESTIONS)?;
    ensure!(!phases.is_empty(), "`condor probe` printed no phase");
    Ok(phases)
}

/// Two fleets stand side by side, and each run is a process of its own: what a hanging model takes up in one is not missing
/// in the other.
fn hang(ours: &Ours, options: &Options) -> Result<Hang> {
    let (sound, hanging) =
        (Fleet::start(options.models, 0, Ask::DAY)?, Fleet::start(options.models, 1, Ask::DAY)?);
    let mut hang = Hang::default();
    for round in 1..=options.rounds {
        show_progress(&format!("round {round} of {}: a model that hangs", options.rounds));
        hang.without.extend(ours.latencies(&sound)?);
        hang.with.extend(ours.latencies(&hanging)?);
    }
    Ok(hang)
}
