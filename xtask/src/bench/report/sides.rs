//! Our worker and the peer's.

use std::path::PathBuf;

use anyhow::Result;

use crate::http::Address;
use crate::python::Environment;
use crate::served::{Served, free_port};
use crate::{shell, target_folder};

const PEER: Environment =
    Environment { folder: "python-report", requirements: "python/requirements-report.txt" };
const SCRIPT: &str = "python/bench_report.py";

/// Our side.
pub struct Ours {
    condor: PathBuf,
}

impl Ours {
    /// Builds it as users get it.
    pub fn build() -> Result<Self> {
        shell::run(&mut shell::cargo(&["build", "--release", "--package=condor"]))?;
        Ok(Ours { condor: target_folder().join("release/condor") })
    }

    /// Starts the report worker.
    pub fn serve(&self, database: &str) -> Result<Served> {
        let port = free_port()?;
        let mut command = shell::command(&self.condor, &["report"]);
        command.env("CONDOR_DATABASE__URL", database);
        command.env("CONDOR_REPORT__LISTEN", format!("127.0.0.1:{port}"));
        Served::start(command, port, "/leaderboard")
    }
}

/// FastAPI, SQLModel and uvicorn.
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

    /// Copies the rows of the leaderboard and of the month at `ours` into tables of its own.
    pub fn fill(&self, database: &str, ours: &Address, month: &str) -> Result<()> {
        let mut script = shell::command(&self.python, &[SCRIPT, "--fill", database]);
        shell::output(script.args([ours.url(), month.to_owned()])).map(drop)
    }

    /// Starts it, with so many processes.
    pub fn serve(&self, database: &str, processes: usize) -> Result<Served> {
        let port = free_port()?;
        let mut command = shell::command(&self.python, &[SCRIPT, "--serve", database]);
        command.args([port.to_string(), processes.to_string()]);
        Served::start(command, port, "/leaderboard")
    }
}
