//! The two sides that call the fleet.

use std::path::PathBuf;

use anyhow::Result;

use super::hang;
use super::phase::{self, Phase};
use crate::bench::fleet::{self, Fleet};
use crate::python::Environment;
use crate::{shell, target_folder};

const PEER: Environment =
    Environment { folder: "python-fanout", requirements: "python/requirements-fanout.txt" };
const SCRIPT: &str = "python/bench_fanout.py";

/// Our side.
pub struct Ours {
    folder: PathBuf,
}

impl Ours {
    /// Builds it and the fleet, as users get it.
    pub fn build() -> Result<Self> {
        shell::run(&mut shell::cargo(&["build", "--release", "--package=condor"]))?;
        fleet::build(&["latencies"])?;
        Ok(Ours { folder: target_folder().join("release") })
    }

    /// All phases of `condor probe`.
    pub fn probe(&self, fleet: &Fleet, questions: u32) -> Result<Vec<Phase>> {
        let mut probe = shell::command(self.folder.join("condor"), &["probe", "--json"]);
        probe.args(["--orchestrator", &fleet.url, "--rounds", &questions.to_string()]);
        phase::parse(&shell::output(&mut probe)?, fleet.models)
    }

    /// The 99th percentile of the time to an outcome in each of some rounds, in milliseconds.
    pub fn latencies(&self, fleet: &Fleet) -> Result<Vec<f64>> {
        let mut latencies = shell::command(self.folder.join("examples/latencies"), &[&fleet.url]);
        hang::parse(&shell::output(latencies.args(["--hanging", &fleet.hanging.to_string()]))?)
    }
}

/// The Python client of the field.
pub struct Peer {
    python: PathBuf,
}

impl Peer {
    /// Installs it.
    pub fn install() -> Result<Self> {
        Ok(Peer { python: PEER.interpreter()? })
    }

    /// What is measured, in words.
    pub fn versions(&self) -> Result<String> {
        let versions = shell::output(&mut shell::command(&self.python, &[SCRIPT, "--versions"]))?;
        Ok(versions.trim().to_owned())
    }

    /// The same phases.
    pub fn probe(&self, fleet: &Fleet, questions: u32) -> Result<Vec<Phase>> {
        let mut script = shell::command(&self.python, &[SCRIPT, "--orchestrator", &fleet.url]);
        script.args(["--models", &fleet.models.to_string(), "--rounds", &questions.to_string()]);
        phase::parse(&shell::output(&mut script)?, fleet.models)
    }
}
