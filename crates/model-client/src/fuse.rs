//! A fault of ours never stops the fleet: whether reports may go out. No I/O; time is a parameter.
//!
//! Every report is held for a moment. When a quarter of the models, and at least five, would be reported within ten
//! minutes, the fault is taken for ours: what is held is dropped and nothing is reported, until most models have answered
//! again and fewer than that would be reported.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::ModelId;

/// How far back models that would be reported count.
const WINDOW: Duration = Duration::from_secs(600);
/// Fewer than this never blow the fuse.
const FEWEST: usize = 5;

/// Holds reports and lets those through that are no sign of a fault of ours.
#[derive(Debug)]
pub(crate) struct Fuse<R> {
    hold: Duration,
    /// Announced and not reported.
    connected: usize,
    wanted: BTreeMap<ModelId, Wanted>,
    held: BTreeMap<ModelId, Held<R>>,
    /// Who has answered since the fuse blew.
    blown: Option<BTreeSet<ModelId>>,
}

#[derive(Debug)]
struct Wanted {
    at: Duration,
    was_let_through: bool,
}

#[derive(Debug)]
struct Held<R> {
    until: Duration,
    report: R,
}

/// What became of the wish to report a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It is held for a moment.
    Held,
    /// It was this one too many: nothing is reported from now on.
    Blew {
        /// How many would have been reported.
        wanted: usize,
        /// Of how many.
        of: usize,
    },
    /// Nothing is reported at present.
    Withheld,
}

impl<R> Fuse<R> {
    /// A fuse that holds each report for `hold`.
    pub fn new(hold: Duration) -> Self {
        Fuse { hold, connected: 0, wanted: BTreeMap::new(), held: BTreeMap::new(), blown: None }
    }

    /// So many models are connected now.
    pub fn connected(&mut self, count: usize) {
        self.connected = count;
    }

    pub fn is_blown(&self) -> bool {
        self.blown.is_some()
    }

    /// A model is to be reported. A second wish while the first is held changes nothing.
    pub fn wish(&mut self, model: &ModelId, report: R, at: Duration) -> Wish {
        self.forget_before(at);
        self.wanted.insert(model.clone(), Wanted { at, was_let_through: false });
        if let Some(answered) = &mut self.blown {
            answered.remove(model);
            return Wish::Withheld;
        }
        if self.is_too_much() {
            let (wanted, of) = (self.wanted.len(), self.fleet());
            self.held.clear();
            self.blown = Some(BTreeSet::new());
            return Wish::Blew { wanted, of };
        }
        self.held.entry(model.clone()).or_insert(Held { until: at + self.hold, report });
        Wish::Held
    }

    /// A model has answered well; true when reports may go out again from now on.
    pub fn answered(&mut self, model: &ModelId, at: Duration) -> bool {
        let connected = self.connected;
        let Some(answered) = &mut self.blown else { return false };
        answered.insert(model.clone());
        let most_answer = answered.len() * 2 > connected;
        self.forget_before(at);
        self.wanted.remove(model);
        if !most_answer || self.is_too_much() {
            return false;
        }
        self.blown = None;
        true
    }

    /// The reports that were held long enough.
    pub fn due(&mut self, at: Duration) -> Vec<R> {
        let due: Vec<(ModelId, Held<R>)> = self.held.extract_if(.., |_, held| held.until <= at).collect();
        for (model, _) in &due {
            if let Some(wanted) = self.wanted.get_mut(model) {
                wanted.was_let_through = true;
            }
        }
        due.into_iter().map(|(_, held)| held.report).collect()
    }

    /// When the next report is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.held.values().map(|held| held.until).min()
    }

    fn forget_before(&mut self, at: Duration) {
        self.wanted.retain(|_, wanted| at.saturating_sub(wanted.at) < WINDOW);
    }

    fn is_too_much(&self) -> bool {
        let wanted = self.wanted.len();
        wanted >= FEWEST && wanted * 4 >= self.fleet()
    }

    /// The connected models and those that were reported in the window.
    fn fleet(&self) -> usize {
        self.connected + self.wanted.values().filter(|wanted| wanted.was_let_through).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(n: usize) -> ModelId {
        ModelId::new(&n.to_string()).unwrap()
    }

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn fuse(connected: usize) -> Fuse<usize> {
        let mut fuse = Fuse::new(second(5));
        fuse.connected(connected);
        fuse
    }

    /// Wishes for these models, at these seconds.
    fn wishes(fuse: &mut Fuse<usize>, wishes: impl IntoIterator<Item = (usize, u64)>) -> Vec<Wish> {
        wishes.into_iter().map(|(n, at)| fuse.wish(&model(n), n, second(at))).collect()
    }

    #[test]
    fn a_report_is_held_for_a_moment_and_then_let_through_once() {
        let mut fuse = fuse(10);
        assert_eq!(wishes(&mut fuse, [(1, 0), (1, 2)]), [Wish::Held, Wish::Held]);
        assert_eq!(fuse.next_due(), Some(second(5)));
        assert!(fuse.due(second(4)).is_empty());
        assert_eq!(fuse.due(second(5)), [1]);
        assert!(fuse.due(second(9)).is_empty());
    }

    #[test]
    fn a_quarter_of_the_fleet_at_once_is_our_fault_and_nobody_is_reported() {
        let mut fuse = fuse(40);
        let said = wishes(&mut fuse, (0..11).map(|n| (n, 0)));
        assert!(said[..9].iter().all(|wish| *wish == Wish::Held));
        assert_eq!(said[9..], [Wish::Blew { wanted: 10, of: 40 }, Wish::Withheld]);
        assert!(fuse.due(second(100)).is_empty(), "also what was held");
    }

    #[test]
    fn in_a_small_fleet_it_takes_five() {
        let mut fuse = fuse(6);
        let said = wishes(&mut fuse, (0..5).map(|n| (n, 0)));
        assert!(said[..4].iter().all(|wish| *wish == Wish::Held));
        assert_eq!(said[4], Wish::Blew { wanted: 5, of: 6 });
    }

    #[test]
    fn those_already_reported_count_for_ten_minutes_and_stay_part_of_the_fleet() {
        let reported = |fuse: &mut Fuse<usize>| {
            for n in 0..9 {
                wishes(fuse, [(n, n as u64 * 10)]);
                assert_eq!(fuse.due(second(n as u64 * 10 + 5)), [n]);
                fuse.connected(39 - n);
            }
        };
        let mut soon = fuse(40);
        reported(&mut soon);
        assert_eq!(wishes(&mut soon, [(9, 300)]), [Wish::Blew { wanted: 10, of: 40 }]);
        let mut later = fuse(40);
        reported(&mut later);
        assert_eq!(wishes(&mut later, [(9, 600)]), [Wish::Held]);
    }

    #[test]
    fn reports_go_out_again_once_most_models_answer() {
        let mut fuse = fuse(8);
        wishes(&mut fuse, (0..5).map(|n| (n, 0)));
        for n in 0..4 {
            assert!(!fuse.answered(&model(n), second(1)), "half are not most");
        }
        // It fails again: what it answered before does not count.
        wishes(&mut fuse, [(0, 2)]);
        assert!(!fuse.answered(&model(5), second(3)));
        assert!(fuse.answered(&model(6), second(4)));
        assert!(!fuse.is_blown());
        assert_eq!(wishes(&mut fuse, [(4, 5)]), [Wish::Held]);
    }

    #[test]
    fn most_answers_do_not_mend_the_fuse_while_a_quarter_still_would_be_reported() {
        let mut fuse = fuse(16);
        wishes(&mut fuse, (0..5).map(|n| (n, 0)));
        for n in 5..16 {
            assert!(!fuse.answered(&model(n), second(1)));
        }
        assert!(fuse.answered(&model(0), second(2)), "four are fewer than five");
    }
}
