//! An orchestrator and many model nodes that cost next to nothing, to measure clients against.
//!
//! ```text
//! cargo run -p testkit --release --example fleet -- --models 1000
//! ```
//!
//! It prints `listening on ws://HOST:PORT` and ends when it is told to, or when its standard input is closed: it never
//! outlives the program that started it. In the background of a shell, give it an input that stays open.

use std::error::Error;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use testkit::{Fleet, FleetOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

#[derive(Parser)]
struct Options {
    /// How many models there are
    #[arg(long, value_name = "N", default_value_t = 1000)]
    models: usize,
    /// Seconds that an answer to `predict` covers
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    horizon: u32,
    /// Seconds between the densities of an answer
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
    /// How many models take `predict` and never answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    hang: usize,
}

/// One thread: on a small machine the other cores are the client's.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Options { models, horizon, step, hang } = Options::parse();
    raise_open_files(3 * models as u64 + 100)?;
    let fleet =
        Fleet::start(FleetOptions { models, hanging: hang, increments: (horizon / step) as usize }).await;
    println!("listening on {}", fleet.url());
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = input_closed() => eprintln!("the standard input is closed"),
    }
    Ok(())
}

/// Allows so many open files where the system does.
fn raise_open_files(wanted: u64) -> Result<(), Box<dyn Error>> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if wanted > hard {
        return Err(format!(
            "{wanted} open files are needed, and the limit is {hard}: raise it with `ulimit -Hn`"
        )
        .into());
    }
    if wanted > soft {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    }
    Ok(())
}

/// A thread of its own, since nothing but the end of the process ends a read.
async fn input_closed() {
    let (closed, seen) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = closed.send(());
    });
    let _ = seen.await;
}
