//! Load by wrk.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::CONNECTIONS;
use crate::http::Address;
use crate::{install, shell};

/// wrk, and how long it asks.
pub struct Wrk {
    program: PathBuf,
    seconds: u32,
}

/// What a server did under it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Answers in a second.
    pub per_second: f64,
    /// The 99th percentile of the time to an answer, in milliseconds.
    pub p99_ms: f64,
}

impl Wrk {
    /// Installs it where it is missing.
    pub fn find(seconds: u32) -> Result<Self> {
        if shell::which("wrk").is_none() {
            install::packages(&["wrk"], "the load on the report worker")?;
        }
        Ok(Wrk { program: shell::which("wrk").context("wrk is not on the PATH")?, seconds })
    }

    /// Asks for one path over all connections, each as soon as it has its answer.
    pub fn load(&self, address: &Address, path: &str, headers: &[&str]) -> Result<Load> {
        let mut wrk = shell::command(&self.program, &["--latency", "--threads", "1"]);
        let seconds = format!("{}s", self.seconds);
        wrk.args(["--connections", &CONNECTIONS.to_string(), "--duration", &seconds]);
        // What takes longer than this is left out of the times.
        wrk.args(["--timeout", &seconds]);
        for header in headers {
            wrk.args(["--header", header]);
        }
        parse(&shell::output(wrk.arg(format!("{}{path}", address.url())))?)
    }
}

/// From what wrk prints. Any answer that is an error makes a figure of something else.
fn parse(output: &str) -> Result<Load> {
    ensure!(!output.contains("Non-2xx"), "not every answer was good: {output}");
    let value = |key: &str| {
        let mut lines = output.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.next().map(str::trim).with_context(|| format!("wrk said nothing of {key}: {output}"))
    };
    let per_second = value("Requests/sec:")?.parse()?;
    Ok(Load { per_second, p99_ms: milliseconds(value("99%")?)? })
}

fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)];
    let found = units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, size)));
    let (number, size) = found.with_context(|| format!("`{text}` is no time"))?;
    Ok(number.parse::<f64>().with_context(|| format!("`{text}` is no time"))? * size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_read() {
        let output = "  Latency Distribution\n     50%    1.33ms\n     99%    4.05ms\n  10 requests in 2.00s\nRequests/sec:  23456.78\n";
        assert_eq!(parse(output).unwrap(), Load { per_second: 23456.78, p99_ms: 4.05 });
        assert!(parse(&format!("{output}  Non-2xx or 3xx responses: 3\n")).is_err());
        assert!(parse("garbage").is_err());
        let times = ["250.00us", "1.50s", "2.00m"].map(|text| milliseconds(text).unwrap());
        assert_eq!(times, [0.25, 1500.0, 120_000.0]);
        assert!(milliseconds("3h").is_err());
    }
}
