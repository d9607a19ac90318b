//! At which instants a chart has points.

use domain::{Span, Timestamp, TimestampExt, Window};

/// Strides below a day: the divisors of one, so that each finer grid holds the coarser ones.
const HOURS: [u32; 7] = [1, 2, 3, 4, 6, 8, 12];

/// The full hours that a chart may show: from the first to the last one, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hours {
    first: Timestamp,
    last: Timestamp,
}

impl Hours {
    /// The full hours of a span for which there are snapshots; `None` when there are none.
    pub(crate) fn within(
        (start, end): (Timestamp, Timestamp),
        (oldest, newest): (Timestamp, Timestamp),
    ) -> Option<Self> {
        let hours = Hours {
            first: oldest.max(start).ceil_to(Span::HOUR),
            last: newest.min(end).floor_to(Span::HOUR),
        };
        (hours.first <= hours.last).then_some(hours)
    }

    /// The last one, which every chart shows.
    pub(crate) fn last(&self) -> Timestamp {
        self.last
    }

    /// The shortest stride with which there are at most `limit` points; `limit` is at least 2.
    pub(crate) fn stride(&self, limit: usize) -> Span {
        let within_a_day = HOURS.into_iter().map(Span::hours);
        self.shortest(within_a_day.chain((1..).map(Span::days)), limit)
    }

    /// The same for points each of which stands for a window: and which, the longest that is no longer than the stride.
    pub(crate) fn stride_of_windows(&self, limit: usize) -> (Span, Window) {
        let [day, three_days, week] = [Window::Recent, Window::Steady, Window::Anchor].map(Window::span);
        let weeks = (1..).map(|count| week.times(count));
        let stride = self.shortest([day, three_days].into_iter().chain(weeks), limit);
        let window = match stride {
            stride if stride >= week => Window::Anchor,
            stride if stride >= three_days => Window::Steady,
            _ => Window::Recent,
        };
        (stride, window)
    }

    fn shortest(&self, mut strides: impl Iterator<Item = Span>, limit: usize) -> Span {
        strides.find(|stride| self.count(*stride) <= limit.max(2)).unwrap_or(Span::HOUR)
    }

    /// The instants at whole strides since the epoch, and the last hour; oldest first.
    pub(crate) fn instants(&self, stride: Span) -> Vec<Timestamp> {
        let mut instants = Vec::new();
        let mut at = self.first.ceil_to(stride);
        while at < self.last {
            instants.push(at);
            at = at + stride;
        }
        instants.push(self.last);
        instants
    }

    fn count(&self, stride: Span) -> usize {
        let first = self.first.ceil_to(stride);
        let seconds = (self.last - first).num_seconds().max(0) as u64;
        seconds.div_ceil(u64::from(stride.as_secs())) as usize + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const AGES: (&str, &str) = ("2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z");

    fn hours(start: &str, end: &str) -> Hours {
        Hours::within((at(start), at(end)), (at(AGES.0), at(AGES.1))).unwrap()
    }

    #[test]
    fn a_span_is_cut_to_full_hours_for_which_there_are_snapshots() {
        let stored = (at("2025-05-01T05:00:00Z"), at("2025-05-03T07:00:00Z"));
        let within = |start, end| Hours::within((at(start), at(end)), stored);
        let hours = |first, last| Some(Hours { first: at(first), last: at(last) });
        assert_eq!(
            within("2025-05-01T05:00:01Z", "2025-05-02T09:59:59Z"),
            hours("2025-05-01T06:00:00Z", "2025-05-02T09:00:00Z")
        );
        assert_eq!(within(AGES.0, AGES.1), hours("2025-05-01T05:00:00Z", "2025-05-03T07:00:00Z"));
        assert_eq!(within("2025-05-02T05:00:01Z", "2025-05-02T05:59:59Z"), None);
        assert_eq!(within("2025-05-03T07:00:01Z", AGES.1), None);
        assert_eq!(within(AGES.0, "2025-05-01T04:59:59Z"), None);
    }

    #[test]
    fn the_stride_is_the_shortest_that_keeps_the_bound() {
        let month = hours("2025-05-01T00:30:00Z", "2025-05-31T00:30:00Z");
        let hours_of = |limit| month.stride(limit).as_secs() / 3600;
        assert_eq!([720, 719, 120, 119, 30, 29, 5].map(hours_of), [1, 2, 6, 8, 24, 48, 168]);
        for limit in 2..800 {
            let stride = month.stride(limit);
            let instants = month.instants(stride);
            assert!(instants.len() <= limit, "{} with {stride}", instants.len());
            assert!(instants.is_sorted_by(|a, b| a < b));
            assert_eq!(instants.last(), Some(&month.last()));
        }
        let ages = hours("1970-01-01T00:00:00Z", AGES.1);
        assert!(ages.instants(ages.stride(0)).len() <= 2);
    }

    #[test]
    fn a_span_that_moves_shows_the_same_instants() {
        let now = hours("2025-05-01T00:30:00Z", "2025-05-31T00:30:00Z");
        let later = hours("2025-05-01T09:30:00Z", "2025-05-31T09:30:00Z");
        let (now, later) = (now.instants(now.stride(31)), later.instants(later.stride(31)));
        assert_eq!((now.len(), later.len()), (30, 31));
        let shared = later.iter().filter(|instant| now.contains(instant)).count();
        assert_eq!(shared, later.len() - 1, "all but the last hour");
    }

    #[test]
    fn a_point_that_stands_for_a_window_stands_for_all_since_the_one_before_up_to_a_week() {
        let month = hours("2025-05-01T00:30:00Z", "2025-05-31T00:30:00Z");
        let of = |limit| month.stride_of_windows(limit);
        assert_eq!(of(99), (Span::days(1), Window::Recent));
        assert_eq!(of(29), (Span::days(3), Window::Steady));
        assert_eq!(of(9), (Span::days(7), Window::Anchor));
        assert_eq!(of(3), (Span::days(14), Window::Anchor));
    }

    #[test]
    fn one_hour_is_one_point() {
        let hour = hours("2025-05-01T05:00:00Z", "2025-05-01T05:00:00Z");
        assert_eq!(hour.instants(hour.stride(2)), [at("2025-05-01T05:00:00Z")]);
    }
}
