//! Windows, snapshots and the leaderboard, from the scores as stored.
//!
//! The ranker follows the changes of scores in the database, whoever made them, so that a second score worker or a
//! restart leads to the same numbers. It writes for the one worker that holds the lease on the ranking: also the roll-ups,
//! of which it holds a copy. Who takes over reads them, and rolls up what has changed since.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{
    Leaderboard, ModelId, ModelStanding, Rescoring, ScoreHistory, Span, Standings, Timestamp, TimestampExt,
    Weights, Window, rank,
};
use storage::{
    ChangeNumber, Lease, OutdatedRounds, Result, RollUpMark, ScoreChange, ScoringChange, Store, StoredRollUps,
};

/// Changes rolled up at once: few, so that what is saved of them holds no other writer up.
const BATCH: usize = 100;

/// How far back snapshots are written again when a score comes late.
const AMENDED: Span = Span::hours(24);

pub struct Ranker {
    store: Arc<dyn Store>,
    weights: Weights,
    rule: String,
    /// The newest leaderboard is by other weights.
    is_reweighted: bool,
    state: Option<State>,
}

/// What is held in memory once it has been read.
struct State {
    history: ScoreHistory,
    /// Every change up to here is in the history and in the roll-ups.
    seen: ChangeNumber,
    /// Every change up to here is in the leaderboards and the snapshots.
    ranked: ChangeNumber,
    /// When the rounds resolved whose newest scores no leaderboard shows.
    unshown: BTreeSet<Timestamp>,
    /// The first full hour whose snapshot is missing or lacks a score.
    next_snapshot: Timestamp,
    /// Snapshots as of before are of an earlier rule and stay as they are.
    rule_since: Timestamp,
    /// Since it was last asked for, a change came without scores by the rule: a void round, or one that another worker
    /// scored by another rule.
    has_outdated: bool,
    /// What the newest leaderboard says of its rule; `None` while there is none.
    shown: Option<Announcement>,
    /// The newest leaderboard is of before the worker was started, perhaps with other weights.
    is_of_before: bool,
}

/// What a leaderboard says besides the ranking: by which rule it is, what of it is not yet, and who is left out.
#[derive(Debug, Clone, PartialEq)]
struct Announcement {
    rule: String,
    rescoring: Option<Rescoring>,
    excluded: BTreeSet<ModelId>,
}

impl State {
    fn is_leaderboard_due(&self, as_of: Timestamp, announcement: &Announcement) -> bool {
        self.unshown.first().is_some_and(|resolved| *resolved <= as_of)
            || self.shown.as_ref().is_some_and(|shown| self.is_of_before || shown != announcement)
    }

    fn is_snapshot_due(&self, as_of: Timestamp) -> bool {
        self.next_snapshot <= as_of
    }

    /// Takes a change; returns when the round resolved, unless the snapshots hold the change already.
    fn take(&mut self, change: &ScoreChange) -> Option<Timestamp> {
        self.seen = change.number;
        self.has_outdated |= change.scored.is_none() || change.awaits_corrected_scores;
        let is_in_windows = match &change.scored {
            Some(round) => {
                self.history.insert(round);
                true
            }
            None => self.history.remove(change.round_id, change.resolves_at),
        };
        if is_in_windows {
            self.unshown.insert(change.resolves_at);
        }
        (change.number > self.ranked).then_some(change.resolves_at)
    }

    /// Has the snapshots of the last day written again that lack changes of rounds that resolved at `earliest` or later.
    fn amend_snapshots(&mut self, earliest: Timestamp, as_of: Timestamp) {
        let first_changed = earliest.ceil_to(Span::HOUR).max(first_amended(as_of)).max(self.rule_since);
        self.next_snapshot = self.next_snapshot.min(first_changed);
    }

    /// The last change that nothing written as of `as_of` lacks.
    fn ranked_up_to(&self, as_of: Timestamp) -> ChangeNumber {
        if self.is_snapshot_due(as_of) { self.ranked } else { self.seen }
    }
}

impl Ranker {
    pub fn new(store: Arc<dyn Store>, weights: Weights, rule: String) -> Self {
        Ranker { store, weights, rule, is_reweighted: false, state: None }
    }

    /// From now on windows are summed with these weights, and there is a new leaderboard to write. Snapshots stay as they
    /// were.
    pub fn weigh(&mut self, weights: Weights) {
        self.weights = weights;
        self.is_reweighted = true;
    }

    /// Drops what is held in memory; it is read anew when it is needed.
    pub fn forget(&mut self) {
        self.state = None;
    }

    /// Takes the changes of scores since the last time; true when rounds were voided in them, or scored by another rule, or by
    /// prices that were corrected meanwhile.
    pub async fn follow(&mut self, now: Timestamp, lease: &Lease) -> Result<bool> {
        let state = self.refreshed(full_minute(now), lease).await?;
        Ok(std::mem::take(&mut self.state.insert(state).has_outdated))
    }

    /// Rounds that resolved after this are in some window that is yet to be written.
    pub async fn first_in_own_windows(&mut self, now: Timestamp, lease: &Lease) -> Result<Timestamp> {
        let state = self.state(full_minute(now), lease).await?;
        let first_written = full_minute(now).min(state.next_snapshot);
        self.state = Some(state);
        Ok(first_written - Window::Anchor.span())
    }

    /// Writes what is due as of the full minute at or before `now`, when these rounds are left to score again, by the
    /// changes that were followed; returns the instant of a new leaderboard.
    pub async fn write_due(
        &mut self,
        now: Timestamp,
        outdated: OutdatedRounds,
        lease: &Lease,
    ) -> Result<Option<Timestamp>> {
        let as_of = full_minute(now);
        let mut state = self.state(as_of, lease).await?;
        let written = self.write_due_of(&mut state, as_of, outdated, lease).await;
        self.state = Some(state);
        self.is_reweighted &= !matches!(written, Ok(Some(_)));
        written
    }

    /// Writes the leaderboard as of `as_of`.
    pub async fn rank(&mut self, as_of: Timestamp, outdated: OutdatedRounds, lease: &Lease) -> Result<()> {
        let mut state = self.refreshed(as_of, lease).await?;
        self.read_members(&mut state).await?;
        let announcement = self.announcement(outdated.all).await?;
        let written = self.write_leaderboard(&mut state, as_of, announcement, lease).await;
        self.state = Some(state);
        written
    }

    async fn announcement(&self, outdated: u64) -> Result<Announcement> {
        let rescoring = (outdated > 0).then_some(Rescoring { rounds_left: outdated });
        let excluded = self.store.excluded_models().await?;
        Ok(Announcement { rule: self.rule.clone(), rescoring, excluded })
    }

    async fn write_due_of(
        &self,
        state: &mut State,
        as_of: Timestamp,
        outdated: OutdatedRounds,
        lease: &Lease,
    ) -> Result<Option<Timestamp>> {
        let announcement = self.announcement(outdated.all).await?;
        let is_leaderboard_due = self.is_reweighted || state.is_leaderboard_due(as_of, &announcement);
        // A snapshot is kept, so it waits until its windows are whole; but not for rounds that are put off.
        let is_snapshot_due = outdated.due == 0 && state.is_snapshot_due(as_of);
        if !is_leaderboard_due && !is_snapshot_due {
            return Ok(None);
        }
        self.read_members(state).await?;
        if is_snapshot_due {
            self.write_snapshots(state, as_of, lease).await?;
        }
        if !is_leaderboard_due {
            return Ok(None);
        }
        self.write_leaderboard(state, as_of, announcement, lease).await?;
        state.history.forget_before(first_amended(as_of).min(state.next_snapshot));
        Ok(Some(as_of))
    }

    async fn write_leaderboard(
        &self,
        state: &mut State,
        as_of: Timestamp,
        announcement: Announcement,
        lease: &Lease,
    ) -> Result<()> {
        let standings = self.standings(state, as_of).await?;
        let leaderboard = rank_included(&standings, &announcement);
        let ranked = state.ranked_up_to(as_of);
        self.store.save_leaderboard(&leaderboard, &standings, ranked, lease).await?;
        state.ranked = ranked;
        state.unshown.retain(|resolved| *resolved > as_of);
        state.shown = Some(announcement);
        state.is_of_before = false;
        Ok(())
    }

    async fn write_snapshots(&self, state: &mut State, as_of: Timestamp, lease: &Lease) -> Result<()> {
        state.next_snapshot = state.next_snapshot.max(first_snapshot(as_of));
        // Another worker may still be at rounds of hours long past, which no later change amends.
        let first_missing = self.store.first_ready(as_of).await?;
        let is_whole = |hour| first_missing.is_none_or(|resolved| hour < resolved);
        while state.is_snapshot_due(as_of) && is_whole(state.next_snapshot) {
            let standings = self.standings(state, state.next_snapshot).await?;
            if !standings.models.is_empty() {
                self.store.save_snapshot(&standings, lease).await?;
            }
            state.next_snapshot = state.next_snapshot + Span::HOUR;
        }
        Ok(())
    }

    async fn standings(&self, state: &mut State, as_of: Timestamp) -> Result<Standings> {
        let missing = state.history.hours_to_hold_for(as_of);
        self.hold(&mut state.history, &missing).await?;
        Ok(state.history.standings(as_of, &self.weights))
    }

    /// The state as it is; taken out, so that an error half-way leads to a fresh start.
    async fn state(&mut self, as_of: Timestamp, lease: &Lease) -> Result<State> {
        match self.state.take() {
            Some(state) => Ok(state),
            None => self.load(as_of, lease).await,
        }
    }

    /// The state with everything that is stored by now; taken out as well.
    async fn refreshed(&mut self, as_of: Timestamp, lease: &Lease) -> Result<State> {
        let Some(mut state) = self.state.take() else {
            return self.load(as_of, lease).await;
        };
        // Of what resolved before any window, only when a model began is of use.
        self.read_changes(&mut state, Timestamp::MIN_UTC, as_of, lease).await?;
        Ok(state)
    }

    /// The state of a worker that has just been started, or ranks from now on: snapshots and the leaderboard may lack what was
    /// stored since the last change that they hold.
    async fn load(&self, as_of: Timestamp, lease: &Lease) -> Result<State> {
        let first_snapshot = first_snapshot(as_of);
        let next_snapshot = match self.store.newest_snapshot_at().await? {
            None => first_snapshot,
            Some(newest) => first_snapshot.max(newest + Span::HOUR),
        };
        let shown =
            self.store.latest_leaderboard().await?.map(
                |Leaderboard { rule, rescoring, excluded, .. }| Announcement { rule, rescoring, excluded },
            );
        let after = next_snapshot.min(first_amended(as_of)) - Window::Anchor.span();
        let rolled_up = self.store.roll_ups(&self.rule, after).await?;
        let is_new = rolled_up.is_none();
        let (history, seen) = match rolled_up {
            Some(StoredRollUps { mark, models, hours }) => {
                (ScoreHistory::restore(after, models, hours), mark.up_to)
            }
            None => {
                self.store.clear_roll_ups(lease).await?;
                (ScoreHistory::new(after), ChangeNumber::default())
            }
        };
        let mut state = State {
            history,
            seen,
            ranked: self.store.ranked_up_to().await?,
            unshown: BTreeSet::new(),
            next_snapshot,
            rule_since: rule_since(&self.store.scoring_changes().await?, &self.rule),
            has_outdated: false,
            shown,
            is_of_before: true,
        };
        self.read_members(&mut state).await?;
        // The newest leaderboard may still hold what was voided since.
        if let Some(earliest) = self.store.earliest_change(state.ranked, after).await? {
            state.unshown.insert(earliest);
            state.amend_snapshots(earliest, as_of);
        }
        let resolved_after = if is_new { after } else { Timestamp::MIN_UTC };
        self.read_changes(&mut state, resolved_after, as_of, lease).await?;
        Ok(state)
    }

    /// Takes every change that is not in the history, of rounds that resolved after `resolved_after`, and rolls them up.
    async fn read_changes(
        &self,
        state: &mut State,
        resolved_after: Timestamp,
        as_of: Timestamp,
        lease: &Lease,
    ) -> Result<()> {
        loop {
            let changes = self.store.score_changes(state.seen, resolved_after, &self.rule, BATCH).await?;
            let missing = state.history.hours_to_hold(changes.iter().map(|change| change.resolves_at));
            self.hold(&mut state.history, &missing).await?;
            if let Some(earliest) = changes.iter().filter_map(|change| state.take(change)).min() {
                state.amend_snapshots(earliest, as_of);
            }
            self.look_up_beginnings(&mut state.history).await?;
            self.save(state, lease).await?;
            state.history.let_go(as_of);
            if changes.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Takes all rounds of the hours with these ends.
    async fn hold(&self, history: &mut ScoreHistory, ends: &[Timestamp]) -> Result<()> {
        if !ends.is_empty() {
            history.hold(ends, self.store.rolled_rounds(ends).await?);
        }
        Ok(())
    }

    async fn look_up_beginnings(&self, history: &mut ScoreHistory) -> Result<()> {
        let unsure = history.unsure_of();
        if !unsure.is_empty() {
            history.set_first_scored(&self.store.first_scored(&unsure).await?);
        }
        Ok(())
    }

    async fn save(&self, state: &mut State, lease: &Lease) -> Result<()> {
        let changes = state.history.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        let mark = RollUpMark { rule: self.rule.clone(), up_to: state.seen, after: state.history.after() };
        self.store.save_roll_ups(&changes, &mark, lease).await
    }

    async fn read_members(&self, state: &mut State) -> Result<()> {
        for model in self.store.models().await? {
            state.history.set_member(&model.id, model.joined_at);
        }
        self.look_up_beginnings(&mut state.history).await
    }
}

/// Ranks all models but the excluded ones. Their window scores are kept, and so are the scores of all others in the rounds
/// that they answered: whoever is included again is ranked as if nothing had been.
fn rank_included(standings: &Standings, announcement: &Announcement) -> Leaderboard {
    let Announcement { rule, rescoring, excluded } = announcement.clone();
    Leaderboard { rescoring, ..rank_all_but(&excluded, standings, &rule) }
}

/// Ranks all models but these.
pub fn rank_all_but(excluded: &BTreeSet<ModelId>, standings: &Standings, rule: &str) -> Leaderboard {
    let leaderboard = if excluded.is_empty() {
        rank(standings, rule)
    } else {
        let is_included = |model: &&ModelStanding| !excluded.contains(&model.model_id);
        let models = standings.models.iter().filter(is_included).cloned().collect();
        rank(&Standings { as_of: standings.as_of, models }, rule)
    };
    Leaderboard { excluded: excluded.clone(), ..leaderboard }
}

/// Rounds that resolved after this are in some window as of `now` or later.
pub fn first_in_windows(now: Timestamp) -> Timestamp {
    full_minute(now) - Window::Anchor.span()
}

fn full_minute(now: Timestamp) -> Timestamp {
    now.floor_to(Span::minutes(1))
}

/// The first snapshot that is written as of `as_of` when none is stored.
fn first_snapshot(as_of: Timestamp) -> Timestamp {
    as_of.floor_to(Span::HOUR) - Window::Anchor.span()
}

/// The first snapshot that is written again as of `as_of` for a late score.
fn first_amended(as_of: Timestamp) -> Timestamp {
    as_of.floor_to(Span::HOUR) - AMENDED
}

/// The first full hour at or after the change to `rule`; the beginning of time when there was never another.
fn rule_since(changes: &[ScoringChange], rule: &str) -> Timestamp {
    let before = changes.iter().rposition(|change| change.rule != rule);
    let first = before.and_then(|before| changes.get(before + 1));
    first.map_or(Timestamp::MIN_UTC, |change| change.at.ceil_to(Span::HOUR))
}
