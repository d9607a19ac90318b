//! Sequences that failed once, or tell of something that is easily got wrong. What a seed's failure prints goes here as it is.

use crate::database::Kind;
use crate::line::Mode;
use crate::operation::Decree::{self, Pause};
use crate::operation::Feed::Slow;
use crate::operation::Manner::{self, Busy, Good, Sluggish};
use crate::operation::Operation::{
    self, Behave, Correct, Database, Disk, KillPredict, Order, Partition, Pass, Prices, StartPredict,
    StopPredict,
};
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
        KillPredict { predictor: 0 },
        StartPredict { predictor: 0, timetable: 1 },
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
    play_on_both(&[
        KillPredict { predictor: 0 },
        StartPredict { predictor: 0, timetable: 2 },
        slowly,
        Pass { minutes: 7 },
    ]);
}

/// Its place in the windows was looked at in the end alone.
#[test]
fn a_round_that_was_scored_and_is_voided_leaves_the_windows() {
    play_on_both(&[Pass { minutes: 9 }, Order { order: Decree::Void { round: 5 } }, Pass { minutes: 2 }]);
}

/// The mark of a slot came into the journal just when whoever waited for it had given up: the round was asked for ever.
#[test]
fn a_slot_is_missed_when_its_mark_was_written_too_late() {
    play_on_both(&[
        Database { mode: Mode::Away },
        Pass { minutes: 3 },
        Disk { is_full: true },
        Pass { minutes: 3 },
        Disk { is_full: false },
        Pass { minutes: 6 },
        Database { mode: Mode::Up },
        Pass { minutes: 1 },
    ]);
}

#[test]
fn models_are_told_of_a_corrected_price_and_scores_follow() {
    let rescore = Order { order: Decree::Rescore { round: 6 } };
    play_on_both(&[Pass { minutes: 9 }, Correct { asset: 0, minutes: 3 }, Pass { minutes: 3 }, rescore]);
}

#[test]
fn a_round_voided_by_hand_awaits_no_scores_of_a_corrected_price() {
    let void = Order { order: Decree::Void { round: 1 } };
    play_on_both(&[Pass { minutes: 2 }, Correct { asset: 0, minutes: 0 }, void]);
}

#[test]
fn a_worker_that_stands_by_takes_the_lead_from_one_that_stops_and_from_one_that_dies() {
    play_on_both(&[
        StartPredict { predictor: 1, timetable: 0 },
        Behave { model: 0, manner: Sluggish },
        Pass { minutes: 2 },
        StopPredict { predictor: 0 },
        StartPredict { predictor: 0, timetable: 0 },
        Pass { minutes: 3 },
        KillPredict { predictor: 1 },
        Pass { minutes: 3 },
    ]);
}

#[test]
fn a_leader_that_is_cut_off_stores_what_it_asked_when_it_is_back() {
    play_on_both(&[
        StartPredict { predictor: 1, timetable: 0 },
        Pass { minutes: 2 },
        Partition { predictor: 0, mode: Mode::Hung },
        Pass { minutes: 3 },
        Partition { predictor: 0, mode: Mode::Up },
        Pass { minutes: 4 },
    ]);
}
