//! Sequences that failed once, each with what it had found.

use crate::database::Kind;
use crate::operation::Operation::Pass;
use crate::play;

#[test]
fn minutes_in_which_nothing_happens() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        play(kind, &[Pass { minutes: 3 }, Pass { minutes: 3 }]).unwrap();
    }
}
