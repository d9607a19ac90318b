//! What the simulation has done to the system, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Asset, ModelId, RoundId, Span, Timestamp};
use storage::{Action, Order};

use crate::world::CALL_TIMEOUT;

/// An outcome is in the journal so long after its arrival, and survives a kill.
const JOURNALED_WITHIN: Duration = Duration::from_millis(100);

/// One run of the predict worker.
#[derive(Debug)]
pub struct Life {
    pub timetable: usize,
    pub started_at: Timestamp,
    /// When its start was over; it asks the slots after that.
    pub asks_from: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// By a kill, that is, and not by itself.
    pub was_killed: bool,
}

impl Life {
    fn spans(&self, instant: Timestamp) -> bool {
        self.started_at <= instant && self.ended.is_none_or(|ended| ended >= instant)
    }

    fn asks(&self, slot: Timestamp) -> bool {
        self.asks_from.is_some_and(|from| from < slot) && self.ended.is_none_or(|ended| ended > slot)
    }

    /// True when it was killed before what arrived at this instant had to be safe.
    fn may_have_lost(&self, arrived: Timestamp) -> bool {
        self.was_killed && self.ended.is_some_and(|ended| ended < arrived + JOURNALED_WITHIN)
    }
}

/// What was done.
#[derive(Debug, Default)]
pub struct Facts {
    /// The runs of the predict worker, in order.
    pub lives: Vec<Life>,
    /// Slots in which an asset had no prompt price.
    pub unpriced: BTreeSet<(Asset, Timestamp)>,
    /// Slots in which the workers could not reach the database.
    pub cut: BTreeSet<Timestamp>,
    /// Rounds on which an operator laid a hand: true while voided.
    pub voided: BTreeMap<RoundId, bool>,
    /// The models that are excluded.
    pub excluded: BTreeSet<ModelId>,
    /// When asking was paused and resumed.
    pauses: Vec<(Timestamp, Option<Timestamp>)>,
}

impl Facts {
    pub fn note_order(&mut self, order: Order) {
        match order.action {
            Action::VoidRound(id) => drop(self.voided.insert(id, true)),
            Action::RescoreRound(id) => drop(self.voided.insert(id, false)),
            Action::ExcludeModel(id) => drop(self.excluded.insert(id)),
            Action::IncludeModel(id) => drop(self.excluded.remove(&id)),
            Action::Pause => self.pauses.push((order.at, None)),
            Action::Resume => {
                if let Some((_, until)) = self.pauses.last_mut() {
                    *until = Some(order.at);
                }
            }
        }
    }

    /// True while a predict worker runs that has started.
    pub fn is_predicting(&self) -> bool {
        self.lives.last().is_some_and(|life| life.ended.is_none() && life.asks_from.is_some())
    }

    /// The run that had to ask in this slot.
    pub fn asking(&self, slot: Timestamp) -> Option<&Life> {
        self.lives.iter().find(|life| life.asks(slot))
    }

    /// True when one and the same run had to ask in this slot and to store what came of it.
    pub fn saw_through(&self, slot: Timestamp) -> bool {
        self.asking(slot).is_some_and(|life| !life.may_have_lost(slot + CALL_TIMEOUT))
    }

    /// True when the worker ended while rounds of this slot were in flight, or just before they were.
    pub fn was_cut_short(&self, slot: Timestamp) -> bool {
        let deadline = slot + CALL_TIMEOUT + JOURNALED_WITHIN;
        self.lives.iter().filter_map(|life| life.ended).any(|ended| ended >= slot && ended <= deadline)
    }

    /// True when what came from a model has to be stored, for the worker that waited for it lived long enough.
    pub fn is_promised(&self, asked_at: Timestamp, arrived: Timestamp) -> bool {
        self.lives
            .iter()
            .any(|life| life.spans(asked_at) && life.spans(arrived) && !life.may_have_lost(arrived))
    }

    /// True when the worker had just started, or not yet.
    pub fn was_starting(&self, slot: Timestamp) -> bool {
        let just_before = slot - Span::minutes(1);
        self.lives.iter().any(|life| {
            life.asks_from.is_none_or(|from| from >= just_before && from <= slot + Span::minutes(1))
        })
    }

    /// True when an operator had asking paused in this slot, or just before.
    pub fn was_paused(&self, slot: Timestamp) -> bool {
        let is_over = |until: Option<Timestamp>| until.is_some_and(|until| until < slot - Span::minutes(1));
        self.pauses.iter().any(|(from, until)| *from <= slot + Span::minutes(1) && !is_over(*until))
    }

    /// True when asking was paused all the time from a minute before this slot, and the worker could find out.
    pub fn is_known_to_be_paused(&self, slot: Timestamp) -> bool {
        let before = slot - Span::minutes(1);
        let is_cut = self.cut.contains(&slot) || self.cut.contains(&before);
        !is_cut
            && self
                .pauses
                .iter()
                .any(|(from, until)| *from < before && until.is_none_or(|until| until > slot))
    }

    /// The timetables by which a slot may have been put on record, and the one by which it must have been: of who had to ask
    /// in it, else of the next who started.
    pub fn timetable_of(&self, slot: Timestamp) -> Option<usize> {
        if let Some(life) = self.asking(slot) {
            return (!self.was_cut_short(slot)).then_some(life.timetable);
        }
        if self.was_cut_short(slot) || self.lives.first().is_none_or(|life| life.started_at > slot) {
            return None;
        }
        let next = self.lives.iter().find(|life| life.asks_from.is_some_and(|from| from >= slot));
        next.map(|life| life.timetable)
    }
}
