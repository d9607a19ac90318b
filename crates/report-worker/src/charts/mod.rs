//! Charts over days, of bounded size whatever the span.
//!
//! Window scores are kept as of each full hour. A chart shows those at a stride that is aligned to the epoch (`grid`), so
//! that a span that moves with the clock goes on showing the same instants, and reads each of them once (`snapshots`).
//! Predictions are shown one by one while they are few, else as means over periods (`predictions`).

pub(crate) mod grid;
pub(crate) mod predictions;
pub(crate) mod snapshots;

/// How many snapshots one answer is made from at most: each that was not asked for lately has to be read and unpacked.
pub(crate) const MAX_INSTANTS: usize = 121;
