//! What a backtest says: a table, the histogram, what went wrong and what to do next.

use std::time::Duration;

use domain::{Asset, ModelId, Span, StatusCounts, Timestamp, TimestampExt};
use score_worker::ScoreSettings;
use scoring::{CalibrationSummary, UnitDoubt};
use serde::{Serialize, Serializer};

use super::evaluation::{Cell, Evaluation, Standing};
use super::faults::Fault;
use super::histogram::plot;
use crate::commands::replay::Summary;

/// How many different reasons are shown to people.
const SHOWN_FAULTS: usize = 5;

/// One asset and horizon; a line of `--json`.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Row {
    pub asset: Asset,
    #[serde(serialize_with = "seconds")]
    pub horizon: Span,
    pub rounds: u64,
    #[serde(flatten)]
    pub statuses: StatusCounts,
    pub score: Option<f64>,
    pub rank: Option<usize>,
    pub of: usize,
    pub raw: Option<f64>,
    pub best_baseline: Option<Baseline>,
    pub calibration: CalibrationSummary,
}

/// The built-in model with the best raw scores, over the rounds in which both have one.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
pub struct Baseline {
    pub model_id: ModelId,
    pub raw: Option<f64>,
    /// The submission's mean over this one's; `None` for rules whose scores can be negative.
    pub ratio: Option<f64>,
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "field names are the documented output")]
struct Whole<'a> {
    model_id: &'a ModelId,
    from: Timestamp,
    to: Timestamp,
    rule: String,
    rank: Option<usize>,
    of: usize,
    standings: &'a [Standing],
    calibration: &'a CalibrationSummary,
    unit_doubts: &'a [UnitDoubt],
    faults: &'a [Fault],
    wall_s: f64,
}

/// All that is said of a submission.
pub struct Report<'a> {
    model: &'a ModelId,
    summary: &'a Summary,
    rule: String,
    rows: Vec<Row>,
    standings: Vec<Standing>,
    calibration: CalibrationSummary,
    unit_doubts: Vec<UnitDoubt>,
    faults: Vec<Fault>,
}

impl<'a> Report<'a> {
    /// Puts together what is said.
    pub fn new(
        model: &'a ModelId,
        summary: &'a Summary,
        evaluation: &Evaluation,
        settings: &ScoreSettings,
        call_timeout: Duration,
    ) -> Self {
        let rule = &settings.scoring.rule;
        let is_ratio_scale = !rule.can_be_negative();
        let row = |((asset, horizon), cell): (&(Asset, Span), &Cell)| {
            Row::new(asset, *horizon, cell, model, is_ratio_scale)
        };
        Report {
            model,
            summary,
            rule: rule.id().to_owned(),
            rows: evaluation.cells.iter().map(row).collect(),
            standings: evaluation.standings(&settings.weights),
            calibration: evaluation.calibration().summary(),
            unit_doubts: evaluation.units.doubts(),
            faults: evaluation.faults.list(call_timeout),
        }
    }

    /// True when the submission gave at least one valid answer.
    pub fn has_answers(&self) -> bool {
        self.rows.iter().any(|row| row.statuses.success > 0)
    }

    /// For programs.
    pub fn print_json(&self) -> anyhow::Result<()> {
        for row in &self.rows {
            println!("{}", serde_json::to_string(row)?);
        }
        let whole = Whole {
            model_id: self.model,
            from: self.summary.from,
            to: self.summary.to,
            rule: self.rule.clone(),
            rank: self.rank(),
            of: self.standings.len(),
            standings: &self.standings,
            calibration: &self.calibration,
            unit_doubts: &self.unit_doubts,
            faults: &self.faults,
            wall_s: self.summary.wall_s,
        };
        println!("{}", serde_json::json!({ "summary": whole }));
        Ok(())
    }

    /// For people.
    pub fn print(&self) {
        self.print_table();
        self.print_standings();
        self.print_unit_doubts();
        self.print_calibration();
        self.print_faults();
    }

    fn rank(&self) -> Option<usize> {
        self.standings.iter().find(|standing| standing.model_id == *self.model).map(|standing| standing.rank)
    }

    fn print_table(&self) {
        println!(
            "{:6} {:>7} {:>6} {:>6} {:>7} {:>5} {:>11} {:30} calibration",
            "asset", "horizon", "rounds", "valid", "score", "rank", self.rule, "vs baseline"
        );
        for row in &self.rows {
            println!("{}", row.line());
        }
    }

    fn print_standings(&self) {
        let (from, to) = (self.summary.from.to_utc_string(), self.summary.to.to_utc_string());
        println!("\nall assets and horizons, {from} to {to}, played in {:.0} s:", self.summary.wall_s);
        for Standing { rank, model_id, score } in &self.standings {
            let mark = if model_id == self.model { "← yours" } else { "" };
            println!("{}", format!("{rank:>4}  {score:.4}  {model_id:24} {mark}").trim_end());
        }
    }

    fn print_calibration(&self) {
        let Some(shares) = &self.calibration.shares else { return };
        println!("\ncalibration, {} moves: {}\n", self.calibration.values, self.calibration.statement);
        print!("{}", plot(shares));
    }

    fn print_unit_doubts(&self) {
        if !self.unit_doubts.is_empty() {
            println!("\nwarning: are these answers in the unit that is asked for?");
        }
        for doubt in &self.unit_doubts {
            println!("  {}", doubt.statement);
        }
    }

    fn print_faults(&self) {
        if self.faults.is_empty() {
            return;
        }
        println!("\nwithout a valid answer:");
        for fault in self.faults.iter().take(SHOWN_FAULTS) {
            println!("  {} × {}: {}", fault.count, fault.status, fault.reason);
            println!("    first: {}", fault.first);
            println!("    next:  {}", fault.next_step);
        }
        if self.faults.len() > SHOWN_FAULTS {
            println!("  and {} more reasons: --json has them all", self.faults.len() - SHOWN_FAULTS);
        }
    }
}

impl Row {
    fn new(asset: &Asset, horizon: Span, cell: &Cell, model: &ModelId, is_ratio_scale: bool) -> Self {
        let (score, rank) = cell.place(model).unzip();
        let best_baseline = cell.best_other().map(|(id, pair)| {
            let (own, other) = (pair.own.value(), pair.other.value());
            let ratio = own.zip(other).filter(|(_, other)| is_ratio_scale && *other > 0.0);
            Baseline { model_id: id.clone(), raw: other, ratio: ratio.map(|(own, other)| own / other) }
        });
        Row {
            asset: asset.clone(),
            horizon,
            rounds: cell.rounds,
            statuses: cell.statuses,
            score,
            rank,
            of: cell.relative.len(),
            raw: cell.raw.value(),
            best_baseline,
            calibration: cell.calibration.summary(),
        }
    }

    fn line(&self) -> String {
        let number =
            |value: Option<f64>, digits: usize| value.map_or("-".into(), |it| format!("{it:.digits$}"));
        let valid = 100.0 * self.statuses.success as f64 / self.statuses.total().max(1) as f64;
        let rank = self.rank.map_or("-".into(), |rank| format!("{rank}/{}", self.of));
        let baseline = self.best_baseline.as_ref().map_or("-".into(), |best| match best.ratio {
            Some(ratio) => format!("{ratio:.3} {}", best.model_id),
            None => format!("{} {}", number(best.raw, 6), best.model_id),
        });
        let raw = self.raw.map_or("-".into(), |raw| format!("{raw:.3e}"));
        let shape = serde_json::to_value(self.calibration.shape).unwrap_or_default();
        let shape = shape.as_str().unwrap_or_default().replace('_', " ");
        format!(
            "{:6} {:>7} {:>6} {valid:>4.0} % {:>7} {rank:>5} {raw:>11} {baseline:30} {shape}",
            self.asset.as_str(),
            self.horizon.to_string(),
            self.rounds,
            number(self.score, 4),
        )
    }
}

fn seconds<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(span.as_secs())
}
