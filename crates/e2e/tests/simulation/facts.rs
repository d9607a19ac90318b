//! What the simulation has done to the system, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Asset, LedgerPosition, ModelId, RoundId, Span, Timestamp};
use storage::{Action, Order};

use crate::world::CALL_TIMEOUT;

/// An outcome is in the journal so long after its arrival, and survives a kill.
const JOURNALED_WITHIN: Duration = Duration::from_millis(100);

/// One run of a predict worker, until it ends or has lost the lead.
#[derive(Debug)]
pub struct Life {
    /// Which of the workers.
    pub predictor: usize,
    pub timetable: usize,
    pub started_at: Timestamp,
    /// When it got the lead.
    pub leads_from: Option<Timestamp>,
    /// When its start was over; it asks the slots after that.
    pub asks_from: Option<Timestamp>,
    /// When another got the lead while it went on.
    pub superseded: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// By a kill, that is, and not by itself.
    pub was_killed: bool,
}

impl Life {
    pub fn new(predictor: usize, timetable: usize, started_at: Timestamp) -> Self {
        Life {
            predictor,
            timetable,
            started_at,
            leads_from: None,
            asks_from: None,
            superseded: None,
            ended: None,
            was_killed: false,
        }
    }

    fn leads(&self, instant: Timestamp) -> bool {
        self.leads_from.is_some_and(|from| from <= instant) && self.ended.is_none_or(|ended| ended >= instant)
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
    /// The runs of the predict workers, in order.
    pub lives: Vec<Life>,
    /// Slots in which an asset had no prompt price.
    pub unpriced: BTreeSet<(Asset, Timestamp)>,
    /// Slots in which a worker could not reach the database.
    pub cut: BTreeSet<Timestamp>,
    /// Rounds on which an operator laid a hand: true while voided.
    pub voided: BTreeMap<RoundId, bool>,
    /// The models that are excluded.
    pub excluded: BTreeSet<ModelId>,
    /// When prices were stored anew.
    pub corrections: BTreeMap<LedgerPosition, Timestamp>,
    /// When asking was paused and resumed.
    pauses: Vec<(Timestamp, Option<Timestamp>)>,
    /// When the disk was full.
    full: Vec<(Timestamp, Option<Timestamp>)>,
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

    /// A run gets the lead at this instant; true when another goes on as if it had it.
    pub fn note_leads(&mut self, life: usize, at: Timestamp, is_stopping: impl Fn(usize) -> bool) -> bool {
        let mut has_rival = false;
        for (number, other) in self.lives.iter_mut().enumerate() {
            if number != life && other.leads(at) && !is_stopping(number) {
                other.superseded.get_or_insert(at);
                has_rival = true;
            }
        }
        self.lives[life].leads_from = Some(at);
        has_rival
    }

    pub fn note_full(&mut self, is_full: bool, at: Timestamp) {
        match self.full.last_mut() {
            Some((_, until @ None)) if !is_full => *until = Some(at),
            Some((_, None)) => {}
            _ if is_full => self.full.push((at, None)),
            _ => {}
        }
    }

    /// Since when the disk is full, while it is.
    pub fn full_since(&self) -> Option<Timestamp> {
        self.full.last().filter(|(_, until)| until.is_none()).map(|(since, _)| *since)
    }

    /// Since when there has been room on the disk again, after it was full.
    pub fn room_since(&self) -> Option<Timestamp> {
        self.full.last().and_then(|(_, until)| *until)
    }

    /// True when the disk was full at some time between these.
    pub fn was_full(&self, from: Timestamp, to: Timestamp) -> bool {
        self.full.iter().any(|(since, until)| *since <= to && until.is_none_or(|until| until >= from))
    }

    /// True while a predict worker runs that has started.
    pub fn is_predicting(&self) -> bool {
        self.lives.iter().any(|life| life.ended.is_none() && life.asks_from.is_some())
    }

    /// The run that had to ask in this slot.
    pub fn asking(&self, slot: Timestamp) -> Option<&Life> {
        self.lives.iter().find(|life| life.asks(slot))
    }

    /// True when two runs thought that they lead at some time between these.
    pub fn had_rivals(&self, from: Timestamp, to: Timestamp) -> bool {
        self.lives.iter().any(|life| {
            life.superseded.is_some_and(|superseded| superseded <= to)
                && life.ended.is_none_or(|ended| ended >= from)
        })
    }

    /// The same while rounds of this slot were in flight.
    pub fn had_rivals_in(&self, slot: Timestamp) -> bool {
        self.had_rivals(slot, slot + CALL_TIMEOUT)
    }

    /// True when one and the same run had to ask in this slot and to store what came of it.
    pub fn saw_through(&self, slot: Timestamp) -> bool {
        let deadline = slot + CALL_TIMEOUT;
        let is_safe = |life: &Life| {
            !life.may_have_lost(deadline) && (life.ended.is_none() || !self.was_full(slot, deadline))
        };
        self.asking(slot).is_some_and(is_safe) && !self.had_rivals_in(slot)
    }

    /// True when the worker ended, or another took its place, while rounds of this slot were in flight, or just before they
    /// were.
    pub fn was_cut_short(&self, slot: Timestamp) -> bool {
        let deadline = slot + CALL_TIMEOUT + JOURNALED_WITHIN;
        let ends = self.lives.iter().flat_map(|life| [life.ended, life.superseded]);
        ends.flatten().any(|ended| ended >= slot && ended <= deadline)
    }

    /// True when what is known of this slot may be with a worker alone that another has followed, in its journal or, while the
    /// disk was full, in its memory.
    pub fn may_be_with_predecessor(&self, slot: Timestamp) -> bool {
        let Some(life) = self.asking(slot) else { return false };
        let was_full = life.ended.is_some() && self.was_full(slot, life.ended.unwrap_or(slot));
        let is_followed = self.lives.iter().any(|other| {
            other.predictor != life.predictor && other.leads_from.is_some_and(|from| from >= slot)
        });
        let was_cut = self.cut.range(slot..).next().is_some();
        was_full || is_followed && was_cut
    }

    /// True when what came from a model has to be stored, for the worker that waited for it lived long enough.
    pub fn is_promised(&self, asked_at: Timestamp, arrived: Timestamp) -> bool {
        self.lives.iter().any(|life| {
            let was_unsafe = life.ended.is_some() && self.was_full(arrived, arrived + JOURNALED_WITHIN);
            life.leads(asked_at) && life.leads(arrived) && !life.may_have_lost(arrived) && !was_unsafe
        })
    }

    /// True when the worker had just started, or not yet.
    pub fn was_starting(&self, slot: Timestamp) -> bool {
        let minute = Span::minutes(1);
        self.lives.iter().any(|life| {
            let is_over = |over: Timestamp| over < slot - minute;
            life.leads_from.is_some_and(|from| from <= slot + minute)
                && !life.asks_from.or(life.ended).is_some_and(is_over)
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
