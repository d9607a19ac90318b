//! From a thousand texts to a round that is stored.

use domain::{LedgerPosition, Span, Stopwatch, Timestamp};
use serde_json::json;
use storage::Store;

use crate::Result;
use crate::game::{self, Numbers, question, start};

const MODELS: u64 = 1000;

/// Different texts; more would only take memory, for each is packed by itself.
const TEXTS: u64 = 100;

/// Rounds of each kind, of which the first does not count.
const ROUNDS: u32 = 6;

struct Kind {
    name: &'static str,
    horizon: Span,
    step: Span,
    numbers: Numbers,
}

const DAY: (Span, Span) = (Span::hours(24), Span::minutes(5));
const HOUR: (Span, Span) = (Span::HOUR, Span::minutes(1));

const fn kind(name: &'static str, (horizon, step): (Span, Span), numbers: Numbers) -> Kind {
    Kind { name, horizon, step, numbers }
}

const KINDS: [Kind; 4] = [
    kind("24h/5m, 6 digits", DAY, Numbers::SixDigits),
    kind("24h/5m, full doubles", DAY, Numbers::Full),
    kind("24h/5m, repeated", DAY, Numbers::Repeated),
    kind("1h/1m, 6 digits", HOUR, Numbers::SixDigits),
];

/// Prints a line for each kind of answer. The rounds are of a time that nobody scores.
pub async fn measure(store: &dyn Store) -> Result<()> {
    for (number, kind) in KINDS.iter().enumerate() {
        let before = start()? - Span::days(10 + number as u32);
        measure_kind(store, kind, before).await?;
    }
    Ok(())
}

async fn measure_kind(store: &dyn Store, kind: &Kind, start: Timestamp) -> Result<()> {
    let question = |round: u32| question(kind.horizon, kind.step, start + Span::minutes(round));
    let first = question(0)?;
    let texts: Vec<String> =
        (0..MODELS).map(|model| game::text(&first, kind.numbers, model % TEXTS)).collect();
    let (mut check_ms, mut store_ms) = (Vec::new(), Vec::new());
    let mut size = 0;
    for round in 0..ROUNDS {
        let question = question(round)?;
        let watch = Stopwatch::start();
        let predictions = game::predictions(&question, &texts)?;
        check_ms.push(watch.elapsed().as_secs_f64() * 1e3);
        let watch = Stopwatch::start();
        store.close_round(&question, question.performed_at, &predictions).await?;
        store_ms.push(watch.elapsed().as_secs_f64() * 1e3);
        store
            .void_round(
                question.id,
                "benchmark",
                LedgerPosition::START,
                question.performed_at,
                "it is measured only",
            )
            .await?;
        if round == 0 {
            size = size_of(store).await?;
        }
    }
    let stored = (size_of(store).await? - size) as f64 / (f64::from(ROUNDS - 1) * MODELS as f64);
    let text = texts.iter().map(String::len).sum::<usize>() as f64 / MODELS as f64;
    let line = json!({
        "answers": kind.name,
        "check_ms": median(&mut check_ms[1..]),
        "store_ms": median(&mut store_ms[1..]),
        "text_bytes": text,
        "stored_bytes": stored,
    });
    println!("{line}");
    Ok(())
}

async fn size_of(store: &dyn Store) -> Result<u64> {
    Ok(store.counts(start()?).await?.size_bytes)
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
