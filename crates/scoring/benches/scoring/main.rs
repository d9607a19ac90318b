//! What scoring costs. `cargo xtask bench scoring` sets it beside public Python packages on the same inputs.
//!
//! ```text
//! cargo bench -p scoring                               measures all cases
//! cargo bench -p scoring -- grid                       those whose name begins so
//! cargo bench -p scoring -- --write-inputs DIR         writes the inputs, and our numbers for them
//! ```
//!
//! A measurement is a line of JSON: the case and the median time of one item in nanoseconds; or, for a size, the bytes of
//! an answer as text and as it is stored.

mod cases;
mod inputs;

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use cases::Case;
use inputs::Inputs;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A case is measured for this long, and at least this often.
const MEASURED: Duration = Duration::from_millis(300);
const FEWEST_SAMPLES: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let inputs = Inputs::generate();
    match arguments[..] {
        ["--write-inputs", folder] => write(&inputs, Path::new(folder))?,
        [] => measure(&inputs, ""),
        [prefix] if !prefix.starts_with('-') => measure(&inputs, prefix),
        _ => return Err("usage: scoring [PREFIX] | --write-inputs DIR".into()),
    }
    Ok(())
}

fn write(inputs: &Inputs, folder: &Path) -> Result<(), Box<dyn Error>> {
    inputs.write(folder)?;
    let scores = cases::scores(inputs);
    Ok(std::fs::write(folder.join("scores.json"), serde_json::to_vec(&scores)?)?)
}

fn measure(inputs: &Inputs, prefix: &str) {
    for (name, text, packed) in cases::sizes(inputs).into_iter().filter(|size| size.0.starts_with(prefix)) {
        println!("{}", json!({"case": name, "text_bytes": text, "packed_bytes": packed}));
    }
    for mut case in cases::all(inputs).into_iter().filter(|case| case.name.starts_with(prefix)) {
        println!("{}", json!({"case": case.name, "median_ns": median_ns(&mut case)}));
    }
}

/// Per item. The first run is not counted: caches, pages.
fn median_ns(case: &mut Case<'_>) -> f64 {
    (case.sample)();
    let mut samples = Vec::new();
    while samples.len() < FEWEST_SAMPLES || samples.iter().sum::<Duration>() < MEASURED {
        samples.push((case.sample)());
    }
    samples.sort();
    samples[samples.len() / 2].as_secs_f64() * 1e9 / case.items as f64
}
