//! `condor eval`: distributions evaluated, a line of JSON in and a line of JSON out.

mod modes;
mod outcome;
mod prediction;
mod row;

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};

use clap::ValueEnum;

use crate::cli::EvalMode;
use outcome::{Line, Outcome};
use row::Row;

/// Evaluates standard input to its end. Neither a configuration nor a database is needed.
pub async fn run(mode: EvalMode) -> anyhow::Result<()> {
    let done = tokio::task::spawn_blocking(move || {
        evaluate_lines(mode, BufReader::new(io::stdin().lock()), BufWriter::new(io::stdout().lock()))
    });
    match done.await? {
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// One line of output for each of input, in order, whatever is in it.
fn evaluate_lines(mode: EvalMode, mut input: BufReader<impl Read>, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        if input.buffer().is_empty() {
            // Whoever sends the next line only after the answer to this one must not wait for ever.
            output.flush()?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        write_line(&mut output, mode, number, &line)?;
    }
    output.flush()
}

fn write_line(output: &mut impl Write, mode: EvalMode, number: u64, line: &[u8]) -> io::Result<()> {
    let row = Row::read(line);
    let (id, outcome) = match &row {
        Ok(row) => (row.id(), modes::evaluate(mode, row)),
        Err(error) => (None, Err(anyhow::anyhow!("line {number}: {error:#}"))),
    };
    let outcome = outcome.unwrap_or_else(|error| Outcome::Error { error: format!("{error:#}") });
    serde_json::to_writer(&mut *output, &Line { id, outcome })?;
    output.write_all(b"\n")
}

/// A line of input for each mode and what comes of it.
const EXAMPLES: &[(EvalMode, &str, &str)] = &[
    (
        EvalMode::Density,
        r#"{"id": 1, "spec": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}, "x": 0}"#,
        r#"{"id":1,"pdf":0.3989422804014327,"cdf":0.5,"sf":0.5}"#,
    ),
    (
        EvalMode::Crps,
        r#"{"id": "b", "buckets": {"-0.01": 0.25, "0.0": 0.5, "0.01": 0.25}, "x": 0.0}"#,
        r#"{"id":"b","crps":0.00125}"#,
    ),
    (
        EvalMode::Grid,
        r#"{"spec": {"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}, "x": 0.5, "t_min": -8, "t_max": 8, "num_points": 1024}"#,
        r#"{"id":null,"crps":0.3346009431865224}"#,
    ),
    (
        EvalMode::Validate,
        r#"{"id": 2, "kind": "bucket", "raw": "{\"0.0\": -1}"}"#,
        r#"{"id":2,"valid":false,"reason":"[\"0.0\"]: a probability must be a finite number >= 0, got -1"}"#,
    ),
    (
        EvalMode::Prediction,
        r#"{"t0": 0, "horizon": 60, "prices": [[0, 100], [60, 101]], "predictions": {"60": [{"type": "builtin", "name": "norm", "params": {"loc": 0, "scale": 1}}]}, "bounds_t": 8, "base_step": 60, "num_points": 1024}"#,
        r#"{"id":null,"step_sums":{"60":0.6084620690543394},"exact_step_sums":{"60":0.6024413576276163}}"#,
    ),
    (EvalMode::Round, r#"{"crps": [1, 1.5, 3, null]}"#, r#"{"id":null,"relative":[1.0,0.75,0.0,0.0]}"#),
];

/// How each mode is used, for `--help`.
pub fn examples() -> String {
    let mut text = String::from(
        "Each line of output repeats the line's `id`. Where the input is not valid it is {\"id\", \"error\"}, and the next\n\
         line is read. Infinite and undefined values are the strings \"inf\", \"-inf\" and \"nan\"; all other numbers\n\
         read back to the same bits. Competition limits (distributions in a density, nesting) hold in validate only.\n\
         \n\
         Examples:",
    );
    for (mode, input, output) in EXAMPLES {
        let name = mode.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  condor eval {name}\n    in   {input}\n    out  {output}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(mode: EvalMode, input: &str) -> String {
        let mut output = Vec::new();
        evaluate_lines(mode, BufReader::new(input.as_bytes()), &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn the_examples_of_the_help_are_what_comes_out() {
        for mode in EvalMode::value_variants() {
            assert!(EXAMPLES.iter().any(|(shown, ..)| shown == mode), "{mode:?} has no example");
        }
        for (mode, input, output) in EXAMPLES {
            assert_eq!(evaluate(*mode, input).trim_end(), *output, "{mode:?}");
        }
    }

    #[test]
    fn every_line_has_its_answer_in_order_whatever_the_others_hold() {
        let input =
            "{\"id\": 1, \"crps\": [1]}\n\nnot json\n[1]\n{\"id\": {\"a\": 2}}\n{\"id\": 3, \"crps\": [2]}";
        let lines: Vec<String> = evaluate(EvalMode::Round, input).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], r#"{"id":1,"relative":[1.0]}"#);
        assert_eq!(
            lines[1],
            r#"{"id":null,"error":"line 2: no JSON object: EOF while parsing a value at column 0"}"#
        );
        assert!(lines[2].starts_with(r#"{"id":null,"error":"line 3: no JSON object: "#), "{}", lines[2]);
        assert!(lines[3].starts_with(r#"{"id":null,"error":"line 4: no JSON object: "#), "{}", lines[3]);
        assert_eq!(lines[4], r#"{"id":{"a": 2},"error":"`crps` is missing"}"#);
        assert_eq!(lines[5], r#"{"id":3,"relative":[1.0]}"#);
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn a_text_that_is_not_utf_8_spoils_its_own_line_only() {
        let input = [b"{\"id\": \"\xff\"}\n".as_slice(), b"{\"crps\": [null]}\n"].concat();
        let mut output = Vec::new();
        evaluate_lines(EvalMode::Round, BufReader::new(input.as_slice()), &mut output).unwrap();
        let output = String::from_utf8(output).unwrap();
        let (first, second) = output.split_once('\n').unwrap();
        assert!(first.starts_with(r#"{"id":null,"error":"line 1: "#), "{first}");
        assert_eq!(second, "{\"id\":null,\"relative\":[0.0]}\n");
    }

    #[test]
    fn an_answer_is_out_before_the_next_line_is_asked_for() {
        /// Gives one line at a time and notes what was flushed by then.
        struct Patient<'a> {
            lines: std::vec::IntoIter<&'static [u8]>,
            flushed: &'a std::cell::Cell<usize>,
            seen: Vec<usize>,
        }
        impl Read for Patient<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.seen.push(self.flushed.get());
                let line = self.lines.next().unwrap_or_default();
                buffer[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        struct Counting<'a> {
            lines: usize,
            flushed: &'a std::cell::Cell<usize>,
        }
        impl Write for Counting<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                self.flushed.set(self.lines);
                Ok(())
            }
        }
        let flushed = std::cell::Cell::new(0);
        let lines: Vec<&[u8]> = vec![b"{\"crps\": [1]}\n", b"{\"crps\": [2]}\n"];
        let mut input = Patient { lines: lines.into_iter(), flushed: &flushed, seen: Vec::new() };
        let output = Counting { lines: 0, flushed: &flushed };
        evaluate_lines(EvalMode::Round, BufReader::new(&mut input), output).unwrap();
        assert_eq!(input.seen, [0, 1, 2]);
    }
}
