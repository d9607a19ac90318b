//! The fleet and the two sides that call it.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use super::hang;
use super::phase::{self, Phase};
use crate::python::Environment;
use crate::{shell, target_folder};

const PEER: Environment =
    Environment { folder: "python-fanout", requirements: "python/requirements-fanout.txt" };
const SCRIPT: &str = "python/bench_fanout.py";
const CRUNCH: &str = "condor";

/// Our side.
pub struct Ours {
    folder: PathBuf,
}

impl Ours {
    /// Builds it and the fleet, as users get it.
    pub fn build() -> Result<Self> {
        shell::run(&mut shell::cargo(&["build", "--release", "--package=condor"]))?;
        shell::run(&mut shell::cargo(&["build", "--release", "--package=testkit", "--example=fleet"]))?;
        shell::run(&mut shell::cargo(&[
            "build",
            "--release",
            "--package=predict-worker",
            "--example=latencies",
        ]))?;
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

/// Model nodes in a process of their own, until this is dropped.
pub struct Fleet {
    process: Child,
    url: String,
    models: u32,
    hanging: u32,
}

impl Fleet {
    /// Starts so many models, so many of which hang when they are asked.
    pub fn start(ours: &Ours, models: u32, hanging: u32) -> Result<Self> {
        let mut command = shell::command(ours.folder.join("examples/fleet"), &[]);
        command.args(["--models", &models.to_string(), "--hang", &hanging.to_string()]);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let process = process.context("cannot start the fleet")?;
        let mut fleet = Fleet { process, url: String::new(), models, hanging };
        fleet.url = fleet.address()?;
        Ok(fleet)
    }

    /// It says where it is once all of it is there.
    fn address(&mut self) -> Result<String> {
        let output = self.process.stdout.take().context("the fleet was started without a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let url = line.trim_end().strip_prefix("listening on ");
        Ok(format!("{}/{CRUNCH}", url.with_context(|| format!("the fleet did not start: it says {line:?}"))?))
    }
}

impl Drop for Fleet {
    /// Nothing is left running behind an error.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
