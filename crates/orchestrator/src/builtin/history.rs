//! The prices that a model remembers of one asset.

use std::collections::VecDeque;

use domain::{PricePoint, Span};

/// How far back a model remembers, counted from its newest price.
const MEMORY: Span = Span::days(30);
/// No more prices than this are kept, however dense they come: 30 days of minutes, and some.
const MAX_POINTS: usize = 50_000;
/// Prices further apart than this span a closed market or an outage, not a return.
const LONGEST_GAP: i64 = 30 * 60;

#[derive(Clone, Copy)]
struct Point {
    /// Unix seconds.
    at: i64,
    log_price: f64,
}

/// Prices by instant, oldest first, one for each.
#[derive(Default)]
pub(super) struct History {
    points: VecDeque<Point>,
}

impl History {
    /// Takes prices in any order. A price for an instant that is known replaces it.
    pub(super) fn record(&mut self, prices: &[PricePoint]) {
        let mut batch: Vec<Point> = prices
            .iter()
            .map(|p| Point { at: p.at.timestamp(), log_price: libm::log(p.price.value()) })
            .collect();
        // stable, so that of two prices for one instant the later in the tick stays the later
        batch.sort_by_key(|point| point.at);
        let Some(first) = batch.first() else { return };
        let overlap = self.points.partition_point(|point| point.at < first.at);
        let known_later = self.points.split_off(overlap);
        self.merge(known_later.into(), batch);
        self.forget();
    }

    /// Appends two sorted runs that both begin after all points; at the same instant the batch comes last and wins.
    fn merge(&mut self, known: Vec<Point>, batch: Vec<Point>) {
        let mut known = known.into_iter().peekable();
        for point in batch {
            while let Some(earlier) = known.next_if(|k| k.at <= point.at) {
                self.push(earlier);
            }
            self.push(point);
        }
        known.for_each(|point| self.push(point));
    }

    fn push(&mut self, point: Point) {
        match self.points.back_mut() {
            Some(last) if last.at == point.at => *last = point,
            _ => self.points.push_back(point),
        }
    }

    fn forget(&mut self) {
        let Some(newest) = self.points.back() else { return };
        let oldest_kept = newest.at.saturating_sub(i64::from(MEMORY.as_secs()));
        let expired = self.points.partition_point(|point| point.at < oldest_kept);
        let surplus = self.points.len().saturating_sub(MAX_POINTS);
        self.points.drain(..expired.max(surplus));
    }

    /// Log returns over `lag`, newest first, as many as fit into `window` of open market. Prices that are a little
    /// further apart than `lag` count with the square root of time; those across a long gap are left out.
    pub(super) fn returns(&self, lag: Span, window: Span) -> Vec<f64> {
        let wanted = window.divided_by(lag);
        let lag = i64::from(lag.as_secs());
        let mut returns = Vec::with_capacity(wanted.min(self.points.len()));
        let mut points = self.points.iter().rev();
        let Some(mut later) = points.next() else { return returns };
        for point in points {
            let apart = later.at - point.at;
            if apart < lag {
                continue;
            }
            if apart <= LONGEST_GAP.max(lag) {
                returns.push((later.log_price - point.log_price) * (lag as f64 / apart as f64).sqrt());
            }
            later = point;
            if returns.len() >= wanted {
                break;
            }
        }
        returns
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Price, Timestamp, TimestampExt};

    fn point(minute: i64, price: f64) -> PricePoint {
        PricePoint {
            at: Timestamp::from_unix_seconds(1_700_000_000 + minute * 60).unwrap(),
            price: Price::new(price).unwrap(),
        }
    }

    fn history(points: &[PricePoint]) -> History {
        let mut history = History::default();
        history.record(points);
        history
    }

    #[test]
    fn doubles_late_and_corrected_prices_lead_to_the_same_history() {
        let straight = history(&[point(0, 10.0), point(1, 11.0), point(2, 12.0), point(3, 13.0)]);
        let mut winding = history(&[point(0, 10.0), point(2, 99.0)]);
        winding.record(&[point(3, 98.0), point(2, 12.0), point(3, 13.0)]);
        winding.record(&[point(1, 11.0)]);
        winding.record(&[point(0, 10.0), point(3, 13.0)]);
        winding.record(&[]);
        let minute = Span::minutes(1);
        assert_eq!(winding.len(), 4);
        assert_eq!(winding.returns(minute, Span::days(1)), straight.returns(minute, Span::days(1)));
    }

    #[test]
    fn a_long_run_is_forgotten_beyond_thirty_days() {
        let minutes = 40 * 24 * 60;
        let all: Vec<_> = (0..minutes).map(|m| point(m, 10.0)).collect();
        assert_eq!(history(&all).len(), 30 * 24 * 60 + 1);
        let mut bounded = History::default();
        bounded.record(&all);
        bounded.record(&[point(1, 3.0)]);
        assert_eq!(bounded.len(), 30 * 24 * 60 + 1, "a price older than the memory is not taken");
    }

    #[test]
    fn a_closed_market_is_no_return_and_a_small_gap_counts_with_the_root_of_time() {
        let weekend = 2 * 24 * 60;
        let history =
            history(&[point(0, 10.0), point(1, 20.0), point(weekend, 80.0), point(weekend + 4, 160.0)]);
        let returns = history.returns(Span::minutes(1), Span::days(1));
        let ln2 = 2f64.ln();
        assert_eq!(returns.len(), 2);
        assert!((returns[0] - ln2 / 2.0).abs() < 1e-12, "four minutes, brought to one");
        assert!((returns[1] - ln2).abs() < 1e-12);
    }
}
