//! What an operator's monitoring sees of a predict worker.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, MissedCause, PredictionStatus, StatusCounts, TimestampExt};
use monitoring::{Counter, Gauge, Histogram, Labelled, Registry, seconds, times};

use crate::fleet::ModelState;
use crate::worker::Status;

/// The metrics of a predict worker, also over several terms of leading. A clone shows and counts the same.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    slots: Labelled<Counter, 2>,
    outcomes: Labelled<Counter, 1>,
    rounds_closed: Counter,
    slot_to_asked: Histogram,
    slot_to_durable: Histogram,
    moment: Moment,
}

/// What is looked up when somebody asks.
#[derive(Debug)]
struct Moment {
    role: Labelled<Gauge, 1>,
    models: Labelled<Gauge, 1>,
    waiting_writes: Gauge,
    writes_in_memory: Gauge,
    refused_writes: Gauge,
    oldest_waiting: Gauge,
    database_silence: Gauge,
    journal_fault: Gauge,
    journal_bytes: Gauge,
    price_age: Labelled<Gauge, 1>,
    missing_prices: Labelled<Gauge, 1>,
    market_open: Labelled<Gauge, 1>,
    reporting_paused: Gauge,
}

/// What a predict worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It asks.
    Leading,
    /// It is about to ask.
    Starting,
    /// Another one asks.
    StandingBy,
}

impl Role {
    const ALL: [Role; 3] = [Role::Leading, Role::Starting, Role::StandingBy];

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Leading => "leading",
            Role::Starting => "starting",
            Role::StandingBy => "standing by",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Role::StandingBy => "standing_by",
            role => role.as_str(),
        }
    }
}

impl Default for Instruments {
    /// Everything that can happen is shown from the start, so that the first time is an increase.
    fn default() -> Self {
        let slots = Labelled::new(["outcome", "cause"], Counter::default);
        slots.with(["asked", ""]);
        for cause in MissedCause::ALL {
            slots.with(["missed", cause.as_str()]);
        }
        let outcomes = Labelled::new(["status"], Counter::default);
        for status in PredictionStatus::ALL {
            outcomes.with([status.as_str()]);
        }
        Instruments {
            slots,
            outcomes,
            rounds_closed: Counter::default(),
            slot_to_asked: times(),
            slot_to_durable: times(),
            moment: Moment {
                role: Labelled::new(["role"], Gauge::default),
                models: Labelled::new(["state"], Gauge::default),
                waiting_writes: Gauge::default(),
                writes_in_memory: Gauge::default(),
                refused_writes: Gauge::default(),
                oldest_waiting: Gauge::default(),
                database_silence: Gauge::default(),
                journal_fault: Gauge::default(),
                journal_bytes: Gauge::default(),
                price_age: Labelled::new(["asset"], Gauge::default),
                missing_prices: Labelled::new(["asset"], Gauge::default),
                market_open: Labelled::new(["asset"], Gauge::default),
                reporting_paused: Gauge::default(),
            },
        }
    }
}

impl Metrics {
    /// Has them shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.add_labelled(
            "condor_predict_slots",
            "Questions of the timetable: asked, or missed for a cause",
            &self.0.slots,
        );
        registry.add_labelled(
            "condor_predict_outcomes",
            "What models' parts in closed rounds came to",
            &self.0.outcomes,
        );
        registry.add(
            "condor_predict_rounds_closed",
            "Rounds whose outcomes are complete",
            &self.0.rounds_closed,
        );
        registry.add(
            "condor_predict_slot_to_asked_seconds",
            "From the slot until its questions were on their way to the models",
            &self.0.slot_to_asked,
        );
        registry.add(
            "condor_predict_slot_to_durable_seconds",
            "From the slot until its round was closed and in the journal with all outcomes, or in the database",
            &self.0.slot_to_durable,
        );
        self.0.moment.register(registry);
    }

    /// Brings up to date what is shown of this moment; `status` is that of a leader. Of a worker that does not lead, what
    /// concerns models and prices is not shown, and nothing waits.
    pub fn look(&self, role: Role, status: Option<&Status>, clock: &dyn Clock) {
        self.0.moment.look(role, status, clock);
    }

    /// Shows the size of the journal's files.
    pub fn journal_takes(&self, bytes: u64) {
        self.0.moment.journal_bytes.set(bytes as f64);
    }

    /// Shows whether faults of models go unreported because too many would be reported at once.
    pub fn reporting_is_paused(&self, is_paused: bool) {
        self.0.moment.reporting_paused.set(f64::from(u8::from(is_paused)));
    }

    pub(crate) fn asked(&self, rounds: usize, after: Duration) {
        self.0.slots.with(["asked", ""]).inc_by(rounds as u64);
        if rounds > 0 {
            self.0.slot_to_asked.observe(seconds(after));
        }
    }

    pub(crate) fn missed(&self, rounds: usize, reason: &str) {
        self.0.slots.with(["missed", MissedCause::of(reason).as_str()]).inc_by(rounds as u64);
    }

    pub(crate) fn closed(&self, counts: StatusCounts) {
        self.0.rounds_closed.inc();
        let StatusCounts { success, failed, timeout, absent } = counts;
        for (status, count) in PredictionStatus::ALL.iter().zip([success, failed, timeout, absent]) {
            self.0.outcomes.with([status.as_str()]).inc_by(count);
        }
    }

    pub(crate) fn durable(&self, after: Duration) {
        self.0.slot_to_durable.observe(seconds(after));
    }
}

impl Moment {
    fn register(&self, registry: &mut Registry) {
        registry.add_labelled(
            "condor_predict_role",
            "1 for what the worker does, 0 for the others",
            &self.role,
        );
        registry.add_labelled(
            "condor_predict_models",
            "Models of the field, by how far they can be asked",
            &self.models,
        );
        registry.add(
            "condor_predict_waiting_writes",
            "Writes that wait for the database",
            &self.waiting_writes,
        );
        registry.add(
            "condor_predict_writes_in_memory",
            "Those of them that are not in the journal either",
            &self.writes_in_memory,
        );
        registry.add(
            "condor_predict_refused_writes",
            "Writes in the journal that the database has refused for good",
            &self.refused_writes,
        );
        registry.add(
            "condor_predict_oldest_waiting_seconds",
            "How long the oldest write waits for the database",
            &self.oldest_waiting,
        );
        registry.add(
            "condor_predict_database_silence_seconds",
            "Since the database took something; each minute's prices are something",
            &self.database_silence,
        );
        registry.add(
            "condor_predict_journal_fault",
            "1 while the journal cannot be written",
            &self.journal_fault,
        );
        registry.add("condor_predict_journal_bytes", "The size of the journal's files", &self.journal_bytes);
        registry.add_labelled(
            "condor_predict_price_age_seconds",
            "The age of the newest close of each asset that is asked about",
            &self.price_age,
        );
        registry.add_labelled(
            "condor_predict_missing_prices",
            "Closes of the last day that are missing of each asset that is asked about, between others that are there",
            &self.missing_prices,
        );
        registry.add_labelled(
            "condor_predict_market_open",
            "1 while the market of an asset that is asked about is open",
            &self.market_open,
        );
        registry.add(
            "condor_predict_reporting_paused",
            "1 while so many models fail at once that none is reported to the orchestrator",
            &self.reporting_paused,
        );
    }

    fn look(&self, role: Role, status: Option<&Status>, clock: &dyn Clock) {
        for other in Role::ALL {
            self.role.with([other.label()]).set(f64::from(u8::from(other == role)));
        }
        self.models.clear();
        self.price_age.clear();
        self.missing_prices.clear();
        self.market_open.clear();
        let count = |count: Option<usize>| count.unwrap_or_default() as f64;
        self.waiting_writes.set(count(status.map(Status::unstored_writes)));
        self.writes_in_memory.set(count(status.map(Status::writes_in_memory)));
        self.refused_writes.set(status.map_or(0.0, |status| status.refused_writes() as f64));
        let oldest = status.and_then(Status::oldest_unstored_at);
        self.oldest_waiting.set(oldest.map_or(0.0, |at| seconds(clock.now().since(at))));
        self.database_silence.set(status.map_or(0.0, |status| seconds(status.database_silence())));
        let has_fault = status.is_some_and(|status| status.journal_fault().is_some());
        self.journal_fault.set(f64::from(u8::from(has_fault)));
        let Some(status) = status else { return };
        let models = status.models();
        for state in ModelState::ALL {
            self.models.with([state.as_str()]).set(models.get(&state).copied().unwrap_or_default() as f64);
        }
        for (asset, newest) in status.newest_prices() {
            self.price_age.with([asset.as_str()]).set(seconds(clock.now().since(newest)));
        }
        for (asset, missing) in status.missing_prices(clock.now()) {
            self.missing_prices.with([asset.as_str()]).set(missing as f64);
        }
        for (asset, is_open) in status.open_markets(clock.now()) {
            self.market_open.with([asset.as_str()]).set(f64::from(u8::from(is_open)));
        }
    }
}
