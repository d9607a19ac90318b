//! The two sides: our benchmark binary, and a Python that stays up.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::bench::machine::Machine;
use crate::python::Environment;
use crate::shell;

const PEERS: Environment =
    Environment { folder: "python-bench", requirements: "python/requirements-bench.txt" };
const SCRIPT: &str = "python/bench_scoring.py";

/// Our side.
pub struct Ours<'m> {
    machine: &'m Machine,
    benchmark: PathBuf,
}

#[derive(Deserialize)]
struct OurMeasurement {
    case: String,
    median_ns: f64,
}

impl<'m> Ours<'m> {
    /// Builds the benchmark.
    pub fn build(machine: &'m Machine) -> Result<Self> {
        let output = shell::output(&mut shell::cargo(&[
            "bench",
            "--package=scoring",
            "--bench=scoring",
            "--no-run",
            "--message-format=json-render-diagnostics",
        ]))?;
        let benchmark = executable_in(&output).context("Cargo did not say where the benchmark is")?;
        Ok(Ours { machine, benchmark })
    }

    /// Writes the inputs, and our numbers for them.
    pub fn write_inputs(&self, folder: &Path) -> Result<()> {
        shell::run(self.machine.command(&self.benchmark).arg("--write-inputs").arg(folder))
    }

    /// The median time of an item of a case in nanoseconds.
    pub fn measure(&self, case: &str) -> Result<f64> {
        let output = shell::output(self.machine.command(&self.benchmark).arg(case))?;
        let measurements = output
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not a measurement: {line}")))
            .collect::<Result<Vec<OurMeasurement>>>()?;
        let measured = measurements.into_iter().find(|measured| measured.case == case);
        Ok(measured.with_context(|| format!("our benchmark has no case {case}"))?.median_ns)
    }
}

/// The path of the executable in Cargo's messages.
fn executable_in(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back()
}

/// The other side: a Python that has its packages loaded and its code compiled from round to round.
pub struct Peers {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct PeerMeasurement {
    peer: String,
    ns: f64,
}

impl Peers {
    /// Checks that both sides compute the same numbers, and starts to wait for cases.
    pub fn verified(machine: &Machine, inputs: &Path) -> Result<Self> {
        let python = PEERS.interpreter()?;
        let script = || -> Command {
            let mut command = machine.command(&python);
            command.arg(SCRIPT).arg(inputs);
            command
        };
        shell::run(script().arg("--verify")).context("the two sides do not compute the same")?;
        let mut process = script().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(questions), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            bail!("{SCRIPT} was started without pipes");
        };
        Ok(Peers { process, questions, answers: BufReader::new(answers) })
    }

    /// What a case measures, and the median time of an item of it in nanoseconds.
    pub fn measure(&mut self, case: &str) -> Result<(String, f64)> {
        writeln!(self.questions, "{case}").context("the Python side has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let measured: PeerMeasurement =
            serde_json::from_str(&line).with_context(|| format!("no measurement of {case}: {line:?}"))?;
        Ok((measured.peer, measured.ns))
    }
}

impl Drop for Peers {
    /// Nothing is left running behind an error.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"executable\":null}\n",
            "{\"reason\":\"compiler-artifact\",\"executable\":\"/target/release/deps/scoring-1\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable_in(messages), Some("/target/release/deps/scoring-1".into()));
        assert_eq!(executable_in("{\"reason\":\"build-finished\",\"success\":true}\n"), None);
    }
}
