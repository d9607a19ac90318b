//! What a round of many models costs the journal: outcomes that arrive all at once, committed as the predict worker commits
//! them, in transactions of what has gathered meanwhile.
//!
//! ```text
//! cargo run -p journal --release --example crowd -- FOLDER [OUTCOMES] [BYTES]
//! ```
//!
//! FOLDER is on the disk that is measured; an outcome's answer has BYTES, 5,000 unless told otherwise, as 288 mixtures of two
//! normals have when they are packed. It prints a line of JSON: over all rounds the median and the longest time until
//! everything was durable, that of one small commit, and the processor time for a round.

use std::path::Path;
use std::time::Duration;

use domain::{ModelId, Prediction, PredictionStatus, RoundId, Stopwatch, Timestamp};
use journal::{DEFAULT_MAX_BYTES, Journal, Owner, Seq};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use uuid::Uuid;

type Fault = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: u64 = 20;

/// What arrives while a transaction is being committed.
const AT_ONCE: usize = 250;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("usage: crowd FOLDER [OUTCOMES] [BYTES]")?;
    let number = |n: usize, default: usize| arguments.get(n).map_or(Ok(default), |text| text.parse());
    let predictions = outcomes(number(1, 1000)?, number(2, 5000)?)?;
    let path = Path::new(folder).join("crowd-journal.db");
    let owner = Owner { crunch_id: "condor".parse()?, database: "none".into() };
    let journal = Journal::open(&path, &owner, DEFAULT_MAX_BYTES).await?;
    let (mut rounds, mut small) = (Vec::new(), Vec::new());
    let cpu = processor_time()?;
    for round in 1..=ROUNDS {
        let id = RoundId::from_uuid(Uuid::from_u64_pair(0, round));
        rounds.push(commit(&journal, id, &predictions, AT_ONCE).await?);
        small.push(commit(&journal, id, &predictions[..1], 1).await?);
        journal.remove(Seq::default(), &[id]).await?;
    }
    let cpu = (processor_time()? - cpu) / ROUNDS as u32;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let [round, one] = [&mut rounds, &mut small].map(|times| {
        times.sort();
        [ms(times[times.len() / 2]), ms(times[times.len() - 1])]
    });
    println!(
        r#"{{"outcomes":{},"round_ms":{:.1},"longest_round_ms":{:.1},"commit_ms":{:.2},"longest_commit_ms":{:.2},"cpu_ms":{:.1}}}"#,
        predictions.len(),
        round[0],
        round[1],
        one[0],
        one[1],
        ms(cpu)
    );
    drop(journal);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        // What SQLite has removed itself is not there.
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    Ok(())
}

/// Commits outcomes, so many at a time; returns how long that took.
async fn commit(
    journal: &Journal,
    id: RoundId,
    predictions: &[Prediction],
    at_once: usize,
) -> Result<Duration, Fault> {
    let watch = Stopwatch::start();
    for gathered in predictions.chunks(at_once) {
        let outcomes: Vec<_> = gathered.iter().map(|prediction| (id, prediction)).collect();
        journal.append(Timestamp::UNIX_EPOCH, &[], &outcomes).await?;
    }
    Ok(watch.elapsed())
}

/// So many models' valid answers of so many bytes.
fn outcomes(count: usize, bytes: usize) -> Result<Vec<Prediction>, Fault> {
    let outcome = |number: usize| -> Result<Prediction, Fault> {
        let model = ModelId::new(&format!("model-{number:04}"))?;
        let answer = Some(vec![number as u8; bytes].into());
        let reason = None;
        let unanswered = Prediction::unanswered(model, None, PredictionStatus::Success, "");
        Ok(Prediction { answer, reason, ..unanswered })
    };
    (0..count).map(outcome).collect()
}

/// Of all threads, in user and system mode.
fn processor_time() -> Result<Duration, Fault> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}
