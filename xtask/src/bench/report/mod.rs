//! The report worker under load, side by side with FastAPI, SQLModel and uvicorn, which serve the same rows out of the same
//! PostgreSQL. A slow machine is no failure: what is not met is marked.

mod load;
mod sides;
mod streams;
mod table;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use domain::{Span, Stopwatch, Timestamp, TimestampExt};
use serde_json::Value;
use throwaway_postgres::Durability;

use super::machine::Machine;
use super::show_progress;
use crate::http::{Address, files_named_in};
use crate::served::Served;
use crate::{postgres, shell};
use load::{Load, Wrk};
use sides::{Ours, Peer};

/// What everybody asks for.
const LEADERBOARD: &str = "/leaderboard?limit=1000";

/// As many as are open at once in each load.
const CONNECTIONS: u32 = 64;

#[derive(Args)]
pub struct Options {
    /// How long each load lasts, in seconds
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How many event streams are held open
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    streams: u32,
    /// Measure on the database at this URL, which `cargo bench -p score-worker --bench pipeline -- URL --filled` has filled
    #[arg(long, value_name = "URL")]
    filled: Option<String>,
}

/// As many models as a chart is asked for.
const CHARTED: usize = 300;

/// How long the counting of a week's predictions may take behind a start, in tries.
const COUNTING_TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// All that was measured.
struct Measured {
    machine: Machine,
    /// Package and version of each part of the peer.
    peer: String,
    stored: u64,
    ours: Side,
    peers: Side,
    /// The leaderboard as a browser takes it.
    compressed: Load,
    /// The answer to whoever has the leaderboard already.
    unchanged: Load,
    /// What the peer has nothing of.
    alone: Vec<(&'static str, Load)>,
    charts: Vec<Chart>,
    /// From a start until a week's predictions are counted by model and hour.
    counted_s: f64,
    streams: u32,
    /// Resident memory before the event streams and with them.
    memory_mb: (f64, f64),
    first_view_bytes: usize,
}

/// What both do.
struct Side {
    leaderboard: Load,
    month: Load,
}

/// What a worker that was started just now takes to answer for a month of 300 models.
struct Chart {
    what: &'static str,
    cold_ms: f64,
    /// The same request again.
    warm_ms: f64,
    bytes: usize,
}

/// What is asked for.
struct Paths {
    month: String,
    alone: Vec<(&'static str, String)>,
    charts: [(&'static str, String); 2],
}

/// Measures, and prints the table.
pub fn run(options: &Options) -> Result<()> {
    let wrk = Wrk::find(options.seconds)?;
    let ours = Ours::build()?;
    let peer = Peer::install()?;
    let machine = Machine::find();
    let measured = match &options.filled {
        Some(url) => measure(options, &wrk, (&ours, &peer), url, machine)?,
        None => {
            let server = postgres::start(Durability::None)?;
            show_progress("filling the database: 4 million scored predictions, a month of snapshots");
            fill(&server.url())?;
            measure(options, &wrk, (&ours, &peer), &server.url(), machine)?
        }
    };
    show_progress("");
    print!("{}", table::text(&measured));
    Ok(())
}

fn fill(url: &str) -> Result<()> {
    let cargo = ["bench", "--package", "score-worker", "--bench", "pipeline", "--", url, "--filled"];
    shell::run(&mut shell::cargo(&cargo))
}

fn measure(
    options: &Options,
    wrk: &Wrk,
    (ours, peer): (&Ours, &Peer),
    database: &str,
    machine: Machine,
) -> Result<Measured> {
    show_progress("charts");
    let paths = Paths::of(&ours.serve(database)?.address)?;
    let charts = paths.charts.iter().map(|(what, path)| chart(&ours.serve(database)?.address, what, path));
    let charts = charts.collect::<Result<_>>()?;
    let watch = Stopwatch::start();
    let served = ours.serve(database)?;
    let address = &served.address;
    wait_until_counted(address)?;
    let counted_s = watch.elapsed().as_secs_f64();
    peer.fill(database, address, &paths.month)?;
    show_progress("ours");
    let [leaderboard, compressed, unchanged] = leaderboard(wrk, address)?;
    let side = Side { leaderboard, month: wrk.load(address, &paths.month, &[])? };
    let alone = paths.alone.iter().map(|(what, path)| Ok((*what, wrk.load(address, path, &[])?)));
    let alone = alone.collect::<Result<_>>()?;
    let stored = json(address, "/statistics")?["total_predictions"].as_u64().context("nothing is counted")?;
    let first_view_bytes = first_view(address)?;
    show_progress("event streams");
    let before = served.memory_mb()?;
    let open = streams::open(address, options.streams)?;
    let with = served.memory_mb()?;
    drop(open);
    drop(served);
    show_progress("FastAPI");
    Ok(Measured {
        peer: peer.versions()?,
        stored,
        ours: side,
        peers: side_of_peer(wrk, &peer.serve(database, machine.cores)?, &paths.month)?,
        compressed,
        unchanged,
        alone,
        charts,
        counted_s,
        streams: options.streams,
        memory_mb: (before, with),
        first_view_bytes,
        machine,
    })
}

impl Paths {
    /// Those of the newest scored round, and of the month before the leaderboard's instant.
    fn of(address: &Address) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a text is missing");
        let end = text(&json(address, "/leaderboard")?["as_of"])?;
        let start = end.parse::<Timestamp>()? - Span::days(30);
        let span = format!("start={}&end={end}", start.to_utc_string());
        let models = json(address, "/reports/models")?;
        let ids = models.as_array().into_iter().flatten().take(CHARTED).map(|model| text(&model["model_id"]));
        let ids: Vec<String> = ids.collect::<Result<_>>()?;
        ensure!(ids.len() == CHARTED, "there are no {CHARTED} models");
        let round = text(&json(address, "/api/v1/rounds?state=scored&limit=1")?["rounds"][0]["round_id"])?;
        let charted = format!("projectIds={}&{span}", ids.join(","));
        Ok(Paths {
            month: format!("/reports/models/global?{span}"),
            alone: vec![
                ("activity of all models over a day", "/api/v1/activity?hours=24".to_owned()),
                ("a model", format!("/api/v1/models/{}", ids[0])),
                ("100 rounds", "/api/v1/rounds?limit=100".to_owned()),
                ("a round's 1,000 predictions", format!("/api/v1/rounds/{round}/predictions?limit=1000")),
                ("bands of 5 models", format!("/api/v1/rounds/{round}/bands?models={}", ids[..5].join(","))),
            ],
            charts: [
                ("scores over 30 days of 300 models", format!("/reports/models/global?{charted}")),
                ("the same by asset and horizon", format!("/reports/models/params?{charted}")),
            ],
        })
    }
}

fn json(address: &Address, path: &str) -> Result<Value> {
    serde_json::from_slice(&address.get(path, &[])?.body).with_context(|| format!("{path} is no JSON"))
}

/// Asks a fresh worker twice.
fn chart(address: &Address, what: &'static str, path: &str) -> Result<Chart> {
    let ask = || -> Result<(f64, usize)> {
        let watch = Stopwatch::start();
        let answer = address.get(path, &[])?;
        Ok((watch.elapsed().as_secs_f64() * 1e3, answer.bytes))
    };
    let (cold_ms, bytes) = ask()?;
    let (warm_ms, _) = ask()?;
    Ok(Chart { what, cold_ms, warm_ms, bytes })
}

/// A worker that has just begun counts a week of predictions behind its answers.
fn wait_until_counted(address: &Address) -> Result<()> {
    for _ in 0..COUNTING_TRIES {
        let activity = json(address, "/api/v1/activity?hours=168")?;
        let (since, complete) = (activity["since"].as_str(), activity["complete_since"].as_str());
        if complete.is_some() && complete <= since {
            return Ok(());
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    anyhow::bail!("a week of predictions was not counted in time")
}

/// As it is, compressed, and for whoever has it already.
fn leaderboard(wrk: &Wrk, address: &Address) -> Result<[Load; 3]> {
    let answer = address.get(LEADERBOARD, &[])?;
    ensure!(
        answer.body.windows(11).any(|text| text == b"\"rank\":1000"),
        "the leaderboard is not of 1,000 models"
    );
    let tag = answer.header("etag").context("the leaderboard has no entity tag")?.to_owned();
    Ok([
        wrk.load(address, LEADERBOARD, &[])?,
        wrk.load(address, LEADERBOARD, &["Accept-Encoding: br, gzip"])?,
        wrk.load(address, LEADERBOARD, &[&format!("If-None-Match: {tag}")])?,
    ])
}

fn side_of_peer(wrk: &Wrk, served: &Served, month: &str) -> Result<Side> {
    Ok(Side {
        leaderboard: wrk.load(&served.address, LEADERBOARD, &[])?,
        month: wrk.load(&served.address, month, &[])?,
    })
}

/// What a browser fetches before it shows anything: the page, and every file of this host that it names.
fn first_view(address: &Address) -> Result<usize> {
    let as_browser = ["Accept-Encoding: br, gzip"];
    let page = String::from_utf8(address.get("/", &[])?.body)?;
    let mut bytes = address.get("/", &as_browser)?.bytes;
    for file in files_named_in(&page) {
        bytes += address.get(&file, &as_browser)?.bytes;
    }
    Ok(bytes)
}
