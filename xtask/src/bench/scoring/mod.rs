//! Scoring and parsing, side by side with public Python packages: the same inputs, the same core, in turns. Nothing is
//! measured before both sides have computed the same numbers. A slow machine is no failure: what is not met is marked.

mod comparison;
mod report;
mod sides;

use anyhow::{Result, ensure};
use clap::Args;

use comparison::{COMPARISONS, Comparison, Outcome, Round};
use sides::{Ours, Peers};

use super::machine::Machine;
use super::show_progress;

#[derive(Args)]
pub struct Options {
    /// How often each side is measured; figures are medians over the rounds
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Only comparisons whose name of ours begins so, such as `answer`
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Verifies, measures, and prints the table.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "there must be at least 1 round");
    let machine = Machine::find();
    let comparisons = COMPARISONS
        .iter()
        .filter(|comparison| comparison.ours.starts_with(&options.only))
        .filter(|comparison| machine.avx2 || !comparison.needs_avx2);
    let comparisons: Vec<&Comparison> = comparisons.collect();
    ensure!(!comparisons.is_empty(), "there is no comparison whose name begins with {}", options.only);
    let outcomes = measure(&machine, comparisons, options.rounds)?;
    if options.json {
        println!("{}", report::json(&machine, &outcomes));
    } else {
        print!("{}", report::table(&machine, &outcomes));
    }
    Ok(())
}

fn measure(machine: &Machine, comparisons: Vec<&'static Comparison>, rounds: usize) -> Result<Vec<Outcome>> {
    let ours = Ours::build(machine)?;
    let inputs = tempfile::tempdir()?;
    ours.write_inputs(inputs.path())?;
    eprintln!("comparing the numbers of both sides");
    let mut peers = Peers::verified(machine, inputs.path())?;
    let mut outcomes: Vec<Outcome> = comparisons.into_iter().map(Outcome::new).collect();
    for round in 1..=rounds {
        for outcome in &mut outcomes {
            let Comparison { ours: name, peer, .. } = outcome.comparison;
            show_progress(&format!("round {round} of {rounds}: {name} and {peer}"));
            let (name_of_peer, peer_ns) = peers.measure(peer)?;
            outcome.peer_name = name_of_peer;
            outcome.rounds.push(Round { ours_ns: ours.measure(name)?, peer_ns });
        }
    }
    show_progress("");
    Ok(outcomes)
}
