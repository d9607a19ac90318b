//! The figures, for people.

use super::{CONNECTIONS, Chart, Measured};
use crate::bench::numbers::three_digits;

/// A measure, and what we promise of it.
struct Row {
    what: String,
    ours: f64,
    peer: Option<f64>,
    unit: &'static str,
    wanted: Option<Wanted>,
}

enum Wanted {
    /// So many times the peer's.
    Times(f64),
    AtLeast(f64),
    Below(f64),
}

/// A Markdown table.
pub fn text(measured: &Measured) -> String {
    let millions = measured.stored as f64 / 1e6;
    let mut text = format!(
        "1,000 models, {millions:.1} million scored predictions in PostgreSQL; {CONNECTIONS} connections of wrk on the same \
         machine. {}.\nPeer: {}, a process for each core.\n\n\
         | | condor | FastAPI | ratio | wanted |\n|---|--:|--:|--:|--:|\n",
        measured.machine.describe_shared(),
        measured.peer,
    );
    rows(measured).iter().for_each(|row| text.push_str(&row.text()));
    text.push('\n');
    text
}

fn rows(measured: &Measured) -> Vec<Row> {
    let Measured { ours, peers, compressed, unchanged, memory_mb: (before, with), .. } = measured;
    let alone =
        |what: &str, ours, unit, wanted| Row { what: what.to_owned(), ours, peer: None, unit, wanted };
    let both =
        |what: &str, ours, peer, unit, wanted| Row { peer: Some(peer), ..alone(what, ours, unit, wanted) };
    let per_second = "/s";
    let mut rows = vec![
        both(
            "leaderboard",
            ours.leaderboard.per_second,
            peers.leaderboard.per_second,
            per_second,
            Some(Wanted::Times(100.0)),
        ),
        both(
            "leaderboard, 99th percentile",
            ours.leaderboard.p99_ms,
            peers.leaderboard.p99_ms,
            " ms",
            Some(Wanted::Below(5.0)),
        ),
        alone("leaderboard, compressed", compressed.per_second, per_second, None),
        alone("leaderboard, compressed, 99th percentile", compressed.p99_ms, " ms", None),
        alone(
            "leaderboard, unchanged (304)",
            unchanged.per_second,
            per_second,
            Some(Wanted::AtLeast(60_000.0)),
        ),
        both("scores over 30 days", ours.month.per_second, peers.month.per_second, per_second, None),
        both("scores over 30 days, 99th percentile", ours.month.p99_ms, peers.month.p99_ms, " ms", None),
        alone(
            &format!("memory with {} event streams", measured.streams),
            *with,
            " MB",
            Some(Wanted::Below(200.0)),
        ),
        alone("memory before them", *before, " MB", None),
        alone(
            "first view of the page",
            measured.first_view_bytes as f64 / 1e3,
            " kB",
            Some(Wanted::Below(300.0)),
        ),
        alone("a week counted after a start", measured.counted_s, " s", None),
    ];
    for (what, load) in &measured.alone {
        rows.push(alone(what, load.per_second, per_second, None));
        rows.push(alone(&format!("{what}, 99th percentile"), load.p99_ms, " ms", None));
    }
    for Chart { what, cold_ms, warm_ms, bytes } in &measured.charts {
        rows.push(alone(&format!("{what}, first"), *cold_ms, " ms", Some(Wanted::Below(1000.0))));
        rows.push(alone(&format!("{what}, again"), *warm_ms, " ms", Some(Wanted::Below(1000.0))));
        rows.push(alone(&format!("{what}, size"), *bytes as f64 / 1e6, " MB", Some(Wanted::Below(2.0))));
    }
    rows
}

impl Row {
    fn text(&self) -> String {
        let unit = self.unit;
        let figure = |number: f64| format!("{}{unit}", three_digits(number));
        let peer = self.peer.map_or(String::new(), figure);
        let ratio = self.peer.map_or(String::new(), |_| three_digits(self.ratio()));
        let mark = if self.is_met() { "" } else { " **not met**" };
        let wanted = match &self.wanted {
            Some(Wanted::Times(times)) => format!("{times:.0} times{mark}"),
            Some(Wanted::AtLeast(least)) => format!("at least {}{mark}", figure(*least)),
            Some(Wanted::Below(most)) => format!("below {}{mark}", figure(*most)),
            None => String::new(),
        };
        format!("| {} | {} | {peer} | {ratio} | {wanted} |\n", self.what, figure(self.ours))
    }

    /// How often the smaller of both is in the larger.
    fn ratio(&self) -> f64 {
        let peer = self.peer.unwrap_or(self.ours);
        (self.ours / peer).max(peer / self.ours)
    }

    fn is_met(&self) -> bool {
        match self.wanted {
            Some(Wanted::Times(times)) => self.peer.is_some_and(|peer| self.ours >= times * peer),
            Some(Wanted::AtLeast(least)) => self.ours >= least,
            Some(Wanted::Below(most)) => self.ours < most,
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64, peer: Option<f64>, wanted: Wanted) -> String {
        Row { what: "it".to_owned(), ours, peer, unit: "/s", wanted: Some(wanted) }.text()
    }

    #[test]
    fn what_is_not_met_is_marked() {
        assert_eq!(
            row(20_000.0, Some(100.0), Wanted::Times(100.0)),
            "| it | 20000/s | 100/s | 200 | 100 times |\n"
        );
        assert!(row(9_999.0, Some(100.0), Wanted::Times(100.0)).contains("**not met**"));
        assert_eq!(row(6.0, None, Wanted::Below(5.0)), "| it | 6.00/s |  |  | below 5.00/s **not met** |\n");
        assert!(!row(4.0, Some(8.0), Wanted::Below(5.0)).contains("**not met**"));
        assert!(row(59.0, None, Wanted::AtLeast(60.0)).contains("**not met**"));
    }
}
