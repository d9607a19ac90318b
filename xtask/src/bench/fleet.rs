//! Model nodes to measure against, and the programs that call them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::{shell, target_folder};

const CRUNCH: &str = "condor";

/// Builds the fleet, and these examples of the predict worker, as users get it.
pub fn build(examples: &[&str]) -> Result<()> {
    let build = |package: &str, example: &str| {
        let (package, example) = (format!("--package={package}"), format!("--example={example}"));
        shell::run(&mut shell::cargo(&["build", "--release", &package, &example]))
    };
    build("testkit", "fleet")?;
    examples.iter().try_for_each(|example| build("predict-worker", example))
}

/// An example that was built.
pub fn example(name: &str) -> Command {
    shell::command(examples().join(name), &[])
}

fn examples() -> PathBuf {
    target_folder().join("release/examples")
}

/// What models answer to.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// Seconds that are forecast.
    pub horizon_s: u32,
    /// Seconds between the densities of an answer.
    pub step_s: u32,
}

impl Ask {
    /// A day in steps of five minutes: answers of 85 kB.
    pub const DAY: Ask = Ask { horizon_s: 86_400, step_s: 300 };
    /// An hour in steps of a minute.
    pub const HOUR: Ask = Ask { horizon_s: 3_600, step_s: 60 };

    /// As arguments of an example.
    pub fn arguments(self) -> [String; 4] {
        ["--horizon".into(), self.horizon_s.to_string(), "--step".into(), self.step_s.to_string()]
    }
}

/// Model nodes in a process of their own, until this is dropped.
pub struct Fleet {
    process: Child,
    pub url: String,
    pub models: u32,
    pub hanging: u32,
}

impl Fleet {
    /// Starts so many models, so many of which hang when they are asked.
    pub fn start(models: u32, hanging: u32, ask: Ask) -> Result<Self> {
        let mut command = example("fleet");
        command.args(["--models", &models.to_string(), "--hang", &hanging.to_string()]).args(ask.arguments());
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
