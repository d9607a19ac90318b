//! Event streams that are held open.

use std::io::Read;
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::http::Address;

/// The program's own files, and those of the other side of the pipes.
const OTHER_FILES: u64 = 100;

/// Opens so many, each until its stream has begun.
pub fn open(address: &Address, count: u32) -> Result<Vec<TcpStream>> {
    allow_open_files(u64::from(count) + OTHER_FILES)?;
    let mut streams = (0..count).map(|_| address.ask("/api/v1/events", &[])).collect::<Result<Vec<_>>>()?;
    for stream in &mut streams {
        let mut start = [0; 15];
        stream.read_exact(&mut start).context("an event stream was not answered")?;
        ensure!(start.starts_with(b"HTTP/1.1 200"), "an event stream was refused");
    }
    Ok(streams)
}

fn allow_open_files(wanted: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(wanted <= hard, "{wanted} files cannot be open at once: raise the limit (ulimit -Hn)");
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}
