//! A replay as a page: one file that refers to nothing outside.

mod chart;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use domain::{Leaderboard, ModelId, Span, Timestamp, TimestampExt};
use storage::Store;

use super::coverage::{Coverage, Gap};
use super::summary::{Place, Summary, explanation};
use crate::commands::UsageError;
use chart::{Line, Share};

/// How many instants a line has at most: more cannot be told apart.
const POINTS: usize = 240;

/// More leaderboards than this are not read: ten years of hours.
const LEADERBOARDS: usize = 100_000;

/// The file that the page goes to.
pub struct ReportFile {
    path: PathBuf,
    file: File,
}

impl ReportFile {
    /// Makes sure before the work begins that there will be a place for its outcome. A file that is there stays as it is until
    /// then.
    pub fn create(path: &Path) -> Result<Self, UsageError> {
        let opened = File::options().create(true).write(true).truncate(false).open(path);
        let file = opened.map_err(|error| UsageError(format!("--report {}: {error}", path.display())))?;
        Ok(ReportFile { path: path.to_owned(), file })
    }

    /// Writes the page.
    pub async fn write(mut self, summary: &Summary, store: &dyn Store) -> anyhow::Result<()> {
        // The last one is as of the end.
        let after_the_last = summary.to + Span::seconds(1);
        let leaderboards = store.leaderboards(summary.from, after_the_last, LEADERBOARDS).await?;
        let page = page(summary, &leaderboards);
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(page.as_bytes()));
        written.with_context(|| format!("cannot write {}", self.path.display()))?;
        eprintln!("report       {}", self.path.display());
        Ok(())
    }
}

fn page(summary: &Summary, leaderboards: &[Leaderboard]) -> String {
    let (from, to) = (instant(summary.from), instant(summary.to));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Replay {from} to {to}</title><style>{}</style></head><body><main>",
        include_str!("report/style.css")
    );
    let sections = [
        headline(summary),
        leaderboard(&summary.leaderboard),
        scores_over_time(summary, leaderboards),
        coverage(summary),
        gaps(summary),
    ];
    page.extend(sections);
    page.push_str("</main></body></html>\n");
    page
}

fn headline(summary: &Summary) -> String {
    let Summary { rounds, scored, void, missed, open, predictions, success, failed, timeout, absent, .. } =
        summary;
    let days = summary.to.since(summary.from).as_secs_f64() / 86_400.0;
    format!(
        "<h1>Replay</h1><p>{} to {}: {days:.1} days, {} models.</p>\
         <p>{rounds} rounds: {scored} scored, {void} void, {missed} missed, {open} open. \
         {predictions} predictions: {success} success, {failed} failed, {timeout} timeout, {absent} absent.</p>",
        instant(summary.from),
        instant(summary.to),
        summary.leaderboard.len()
    )
}

fn leaderboard(places: &[Place]) -> String {
    let mut html = String::from(
        "<h2>Leaderboard</h2><div class=\"wide\"><table><thead><tr><th>rank</th><th>model</th><th></th><th>recent, 24 h</th>\
         <th>steady, 72 h</th><th>anchor, 168 h</th><th>raw score</th></tr></thead><tbody>",
    );
    for place in places {
        let rank = place.rank.map_or("–".to_owned(), |rank| rank.to_string());
        let bar = place.anchor.unwrap_or_default().clamp(0.0, 1.0) * 100.0;
        let _ = write!(
            html,
            "<tr><td>{rank}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"bar\" style=\"--share:{bar:.1}%\">{}</td><td>{}</td></tr>",
            escaped(place.model_id.as_str()),
            if place.baseline { "baseline" } else { "" },
            number(place.recent, 4),
            number(place.steady, 4),
            number(place.anchor, 4),
            number(place.raw_anchor, 8),
        );
    }
    html.push_str("</tbody></table></div>");
    html
}

/// The models' scores in the anchor window, those of the best on top.
fn scores_over_time(summary: &Summary, leaderboards: &[Leaderboard]) -> String {
    let every = leaderboards.len().div_ceil(POINTS).max(1);
    // From the end, so that the last one is shown.
    let mut shown: Vec<&Leaderboard> = leaderboards.iter().rev().step_by(every).collect();
    shown.reverse();
    let line = |place: &Place| Line {
        name: escaped(place.model_id.as_str()),
        points: shown.iter().filter_map(|it| Some((it.as_of, anchor(it, &place.model_id)?))).collect(),
    };
    let lines: Vec<Line> = summary.leaderboard.iter().map(line).collect();
    format!(
        "<h2>Scores over time</h2><p>Each model's score in the anchor window, the last 168 hours; 1 is best. Until that is \
         full, the score is of the hours there are.</p>{}",
        chart::lines(&lines, (summary.from, summary.to))
    )
}

fn anchor(leaderboard: &Leaderboard, model: &ModelId) -> Option<f64> {
    let entry = leaderboard.entries.iter().find(|entry| entry.model_id == *model)?;
    entry.windows.anchor.score
}

fn coverage(summary: &Summary) -> String {
    let mut html = String::from(
        "<h2>What became of the rounds</h2><div class=\"wide\"><table><thead><tr><th>asset</th><th>rounds</th>\
         <th>scored</th><th>void</th><th>missed</th><th>open</th><th></th></tr></thead><tbody>",
    );
    for Coverage { asset, rounds, scored, void, missed, open, .. } in &summary.coverage {
        let share = |class, count: &u64| Share { class, name: class, count: *count };
        let bar = chart::shares(&[
            share("scored", scored),
            share("void", void),
            share("missed", missed),
            share("open", open),
        ]);
        let _ = write!(
            html,
            "<tr><td>{asset}</td><td>{rounds}</td><td>{scored}</td><td>{void}</td><td>{missed}</td><td>{open}</td>\
             <td>{bar}</td></tr>"
        );
    }
    html.push_str("</tbody></table></div>");
    for coverage in &summary.coverage {
        html.push_str(&reasons(coverage));
    }
    html
}

fn reasons(coverage: &Coverage) -> String {
    let Some(explanation) = explanation(coverage) else { return String::new() };
    let mut html = format!("<h3>{}</h3><ul>", coverage.asset);
    for reason in &coverage.reasons {
        let _ = write!(html, "<li>{} {}: {}</li>", reason.rounds, reason.state, escaped(&reason.reason));
    }
    let _ = write!(html, "</ul><p>{}.</p>", escaped(&explanation));
    html
}

/// When there were no prices, as a chart and in numbers.
fn gaps(summary: &Summary) -> String {
    let span = (summary.from, summary.to);
    let with_gaps: Vec<&Coverage> = summary.coverage.iter().filter(|it| !it.gaps.is_empty()).collect();
    if with_gaps.is_empty() {
        return String::new();
    }
    let mut html = String::from("<h2>Gaps in the prices</h2><p>Those that cost rounds, in UTC.</p>");
    for coverage in &with_gaps {
        let gaps: Vec<_> = coverage.gaps.iter().map(|gap| clipped(gap, span)).collect();
        html.push_str(&chart::timeline(coverage.asset.as_str(), &gaps, span));
    }
    html.push_str(
        "<details><summary>All of them</summary><div class=\"wide\"><table><thead><tr><th>asset</th><th>last close before</th>\
         <th>first close after</th><th>missed</th><th>void</th></tr></thead><tbody>",
    );
    for coverage in with_gaps {
        for Gap { after, until, missed, void } in &coverage.gaps {
            let bound = |bound: &Option<Timestamp>| bound.map_or("none".to_owned(), instant);
            let _ = write!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{missed}</td><td>{void}</td></tr>",
                coverage.asset,
                bound(after),
                bound(until)
            );
        }
    }
    html.push_str("</tbody></table></div></details>");
    html
}

fn clipped(gap: &Gap, (from, to): (Timestamp, Timestamp)) -> (Timestamp, Timestamp) {
    (gap.after.unwrap_or(from).max(from), gap.until.unwrap_or(to).min(to))
}

fn instant(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}

/// Text as it stands in a page; what participants chose must not become markup.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests;
