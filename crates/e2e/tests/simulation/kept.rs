//! Sequences that failed once, or tell of something that is easily got wrong. What a seed's failure prints goes here as it is.

use crate::database::Kind;
use crate::operation::Decree::Pause;
use crate::operation::Feed::Slow;
use crate::operation::Manner::{self, Busy, Good};
use crate::operation::Operation::{self, Behave, KillPredict, Order, Pass, Prices, StartPredict};
use crate::play;

fn play_on_both(operations: &[Operation]) {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        play(kind, operations).unwrap();
    }
}

#[test]
fn minutes_in_which_nothing_happens() {
    play_on_both(&[Pass { minutes: 3 }, Pass { minutes: 3 }]);
}

/// The worker looked for a pause at its start alone.
#[test]
fn a_pause_is_noticed_by_a_worker_that_runs() {
    play_on_both(&[Order { order: Pause }, Pass { minutes: 3 }, Pass { minutes: 1 }]);
}

#[test]
fn a_worker_that_was_killed_goes_on_with_another_timetable() {
    play_on_both(&[
        Pass { minutes: 3 },
        Prices { asset: 0, manner: Slow },
        Pass { minutes: 3 },
        KillPredict,
        StartPredict { timetable: 1 },
    ]);
}

/// Its ticks cool down, and the prices come with a later one.
#[test]
fn a_model_that_was_busy_for_long_is_told_of_prices_without_a_hole() {
    play_on_both(&[
        Pass { minutes: 6 },
        Behave { model: 1, manner: Busy },
        Pass { minutes: 10 },
        Behave { model: 1, manner: Good },
        Pass { minutes: 4 },
    ]);
}

/// Each question has its turn, and all are answered in time.
#[test]
fn a_slow_model_is_asked_one_question_after_the_other() {
    let slowly = Behave { model: 0, manner: Manner::Slow };
    play_on_both(&[KillPredict, StartPredict { timetable: 2 }, slowly, Pass { minutes: 7 }]);
}
