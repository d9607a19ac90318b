//! The throw-away PostgreSQL of tests and measurements, installed if it is missing.

use anyhow::Result;
use throwaway_postgres::{Durability, Server, programs};

use crate::install;

/// Starts a server, after installing PostgreSQL if it is missing.
pub fn start(durability: Durability) -> Result<Server> {
    if programs().is_none() {
        install::packages(&["postgresql"], "the throw-away PostgreSQL of the tests")?;
    }
    Ok(Server::start(durability)?)
}

/// Runs a server until Ctrl-C.
pub fn run_in_foreground() -> Result<()> {
    let server = start(Durability::None)?;
    println!("{}", server.url());
    eprintln!("running until Ctrl-C; for the tests: export TEST_POSTGRES_URL={}", server.url());
    // Ctrl-C ends this process, and with it the pipe that keeps the server.
    loop {
        std::thread::park();
    }
}
