//! A phase as both sides print it.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// All phases, in their order.
pub const PHASES: [&str; 4] = ["connect", "tick_minute", "predict", "tick_history"];

/// One line of `condor probe --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub phase: String,
    pub models: u64,
    pub rounds: u64,
    pub ok: u64,
    pub failed: u64,
    pub timeout: u64,
    pub wall_median_s: f64,
    pub wall_max_s: f64,
    pub cpu_per_call_us: f64,
    pub rss_mb: f64,
}

/// Every phase, in each of which every one of so many models has answered every call.
pub fn parse(output: &str, models: u32) -> Result<Vec<Phase>> {
    let lines = output.lines().filter(|line| !line.is_empty());
    let phases = lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a phase: {line}")))
        .collect::<Result<Vec<Phase>>>()?;
    ensure!(
        phases.iter().map(|phase| phase.phase.as_str()).eq(PHASES),
        "there should be the phases {PHASES:?}, and there are {:?}",
        phases.iter().map(|phase| &phase.phase).collect::<Vec<_>>()
    );
    for phase in &phases {
        let calls = u64::from(models) * phase.rounds;
        if phase.models != u64::from(models) || phase.ok != calls || phase.rounds == 0 {
            bail!("not all of {calls} calls succeeded: {phase:?}");
        }
    }
    Ok(phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(ok: u64) -> String {
        let line = |phase: &&str| {
            serde_json::json!({
                "phase": phase, "models": 10, "rounds": 2, "ok": ok, "failed": 20 - ok, "timeout": 0,
                "wall_median_s": 0.1, "wall_max_s": 0.2, "cpu_per_call_us": 100.0, "rss_mb": 20.0,
            })
        };
        PHASES.iter().map(|phase| format!("{}\n", line(phase))).collect()
    }

    #[test]
    fn four_phases_in_which_every_call_succeeded_are_taken() {
        assert_eq!(parse(&output(20), 10).unwrap().len(), 4);
    }

    #[test]
    fn a_call_that_failed_or_a_model_that_is_missing_is_no_measurement() {
        assert!(parse(&output(19), 10).is_err());
        assert!(parse(&output(20), 11).is_err());
    }

    #[test]
    fn a_phase_that_is_missing_is_no_measurement() {
        let output = output(20);
        let without_the_last = output.lines().take(3).collect::<Vec<_>>().join("\n");
        assert!(parse(&without_the_last, 10).is_err());
        assert!(parse("", 10).is_err());
    }
}
