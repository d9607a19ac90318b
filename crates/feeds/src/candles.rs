//! What services say about candles, made into closes.

use std::collections::BTreeMap;

use domain::{Price, PricePoint, Span, Timestamp, TimestampExt};

use crate::RowFault;

/// All candles are of one minute.
pub(crate) const MINUTE: Span = Span::minutes(1);

/// How long after its end, by the service's own clock, a candle is final: the last trades of a minute come in a moment later.
pub(crate) const SETTLING: Span = Span::seconds(1);

/// One candle as a service tells it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    /// The instant of its end, in unix seconds.
    pub end: i64,
    /// Its close; `None` where the service says that there is none.
    pub close: Option<f64>,
}

impl Row {
    /// A candle of a service that stamps candles with their beginning.
    pub(crate) fn begun_at(unix_seconds: i64, close: Option<f64>) -> Self {
        Row { end: unix_seconds.saturating_add(i64::from(MINUTE.as_secs())), close }
    }
}

/// Which closes are taken of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub after: Timestamp,
    pub up_to: Timestamp,
    /// What time it was at the service when it answered, if that is known.
    pub server_time: Option<Timestamp>,
}

/// What is taken of an answer, in the order of time, and what is wrong with the rest.
#[derive(Debug, Default)]
pub(crate) struct Closes {
    pub points: Vec<PricePoint>,
    pub faults: Vec<RowFault>,
}

/// The closes within `bounds`, whatever the order of the rows and however often each is in them. A candle that may still be
/// forming is left out: by the service's clock; where that is not known, the newest of all is.
pub(crate) fn closes(rows: &[Row], bounds: Bounds) -> Closes {
    let newest = rows.iter().map(|row| row.end).max();
    let final_until = bounds.server_time.map(|time| (time - SETTLING).timestamp());
    let is_final = |end: i64| final_until.map_or(Some(end) != newest, |until| end <= until);
    let is_wanted = |at: Timestamp| bounds.after < at && at <= bounds.up_to;
    let mut taken: BTreeMap<Timestamp, Result<Price, RowFault>> = BTreeMap::new();
    let mut faults = Vec::new();
    for row in rows.iter().filter(|row| is_final(row.end)) {
        let Some(at) = Timestamp::from_unix_seconds(row.end).filter(|at| is_wanted(*at)) else { continue };
        if at.floor_to(MINUTE) != at {
            faults.push(RowFault::OffMinute { unix_seconds: row.end });
        } else if let Some(close) = row.close {
            let read = read(at, close);
            taken.entry(at).and_modify(|known| *known = both(at, *known, read)).or_insert(read);
        }
    }
    let mut closes = Closes { points: Vec::with_capacity(taken.len()), faults };
    for (at, read) in taken {
        match read {
            Ok(price) => closes.points.push(PricePoint { at, price }),
            Err(fault) => closes.faults.push(fault),
        }
    }
    closes
}

fn read(at: Timestamp, price: f64) -> Result<Price, RowFault> {
    Price::new(price).map_err(|_| RowFault::NoPrice { at, price })
}

/// What two rows of one minute say together.
fn both(
    at: Timestamp,
    first: Result<Price, RowFault>,
    second: Result<Price, RowFault>,
) -> Result<Price, RowFault> {
    match (first, second) {
        (Ok(first), Ok(second)) if first == second => Ok(first),
        (Ok(first), Ok(second)) => {
            Err(RowFault::TwoPrices { at, first: first.value(), second: second.value() })
        }
        (Err(fault), _) | (_, Err(fault)) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn instant(unix_seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(unix_seconds).unwrap()
    }

    fn bounds(after: i64, up_to: i64, server_time: Option<i64>) -> Bounds {
        Bounds { after: instant(after), up_to: instant(up_to), server_time: server_time.map(instant) }
    }

    fn row(end: i64, close: f64) -> Row {
        Row { end, close: Some(close) }
    }

    fn taken(rows: &[Row], bounds: Bounds) -> Vec<(i64, f64)> {
        let points = closes(rows, bounds).points;
        points.iter().map(|point| (point.at.timestamp(), point.price.value())).collect()
    }

    #[test]
    fn rows_come_out_in_order_and_once() {
        let rows = [row(240, 4.0), row(120, 2.0), row(180, 3.0), row(120, 2.0), row(60, 1.0), row(300, 5.0)];
        assert_eq!(taken(&rows, bounds(60, 240, Some(900))), [(120, 2.0), (180, 3.0), (240, 4.0)]);
        assert!(closes(&rows, bounds(60, 240, Some(900))).faults.is_empty());
    }

    #[test]
    fn a_candle_is_taken_when_it_is_over_by_the_services_clock_and_final() {
        let rows = [row(60, 1.0), row(120, 2.0), row(180, 3.0)];
        let newest = |server_time| taken(&rows, bounds(0, 900, Some(server_time))).last().copied();
        assert_eq!(newest(120), Some((60, 1.0)), "just over");
        assert_eq!(newest(121), Some((120, 2.0)));
        assert_eq!(newest(180), Some((120, 2.0)));
        assert_eq!(newest(181), Some((180, 3.0)));
    }

    #[test]
    fn of_a_service_without_a_clock_the_newest_candle_is_not_taken_wherever_it_stands() {
        let rows = [row(180, 3.0), row(60, 1.0), row(120, 2.0)];
        assert_eq!(taken(&rows, bounds(0, 900, None)), [(60, 1.0), (120, 2.0)]);
        assert_eq!(taken(&rows, bounds(0, 120, None)), [(60, 1.0), (120, 2.0)]);
        assert_eq!(taken(&rows[..1], bounds(0, 900, None)), []);
    }

    #[test]
    fn what_is_no_price_is_named_and_its_minute_left_out() {
        let rows = [row(60, 0.0), row(120, -2.0), row(180, f64::NAN), row(240, 4.0), row(300, f64::INFINITY)];
        let closes = closes(&rows, bounds(0, 900, Some(900)));
        assert_eq!(closes.points.len(), 1);
        let texts: Vec<String> = closes.faults.iter().map(RowFault::to_string).collect();
        assert!(texts[0].starts_with("0 at 1970-01-01 00:01:00 UTC is no price"), "{texts:?}");
        assert_eq!(texts.len(), 4);
    }

    #[test]
    fn a_minute_without_a_price_is_a_gap_and_one_with_two_is_left_out() {
        let rows = [row(60, 1.0), Row { end: 120, close: None }, row(180, 3.0), row(180, 3.1), row(210, 3.2)];
        let closes = closes(&rows, bounds(0, 900, Some(900)));
        assert_eq!(closes.points.len(), 1);
        let off = RowFault::OffMinute { unix_seconds: 210 };
        let two = RowFault::TwoPrices { at: instant(180), first: 3.0, second: 3.1 };
        assert_eq!(closes.faults, [off, two]);
    }

    proptest! {
        #[test]
        fn whatever_is_said_closes_are_increasing_within_bounds_and_prices(
            rows in prop::collection::vec((any::<i64>(), any::<f64>()), 0..40),
            near in prop::collection::vec((0i64..40, prop::option::of(-1.0f64..5.0)), 0..60),
            after in 0i64..1200,
            length in -100i64..2400,
            server_time in prop::option::of(0i64..3000),
        ) {
            let mut said: Vec<Row> = rows.iter().map(|(end, close)| row(*end, *close)).collect();
            said.extend(near.iter().map(|(minute, close)| Row { end: minute * 60, close: *close }));
            let bounds = bounds(after, after + length, server_time);
            let points = closes(&said, bounds).points;
            prop_assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
            for point in points {
                prop_assert!(bounds.after < point.at && point.at <= bounds.up_to);
                prop_assert!(server_time.is_none_or(|time| point.at.timestamp() < time));
                let told = |row: &Row| row.end == point.at.timestamp() && row.close == Some(point.price.value());
                prop_assert!(said.iter().any(told), "invented");
            }
        }
    }
}
