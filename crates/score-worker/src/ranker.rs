//! Windows, snapshots and the leaderboard, from the scores as stored.
//!
//! The ranker follows the changes of scores in the database, whoever made them, so that a second score worker or a
//! restart leads to the same numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Rescoring, ScoreHistory, Span, Timestamp, TimestampExt, Weights, Window, rank};
use storage::{ChangeNumber, Result, ScoreChange, ScoringChange, Store};

/// Changes read at once.
const BATCH: usize = 1000;

/// How far back snapshots are written again when a score comes late.
const AMENDED: Span = Span::hours(24);

pub struct Ranker {
    store: Arc<dyn Store>,
    weights: Weights,
    rule: String,
    state: Option<State>,
}

/// What is held in memory once it has been read.
struct State {
    history: ScoreHistory,
    /// Rounds that resolved up to here were of no use when the worker started, and are left out since.
    held_after: Timestamp,
    /// Every change up to here is in the history.
    seen: ChangeNumber,
    /// When the rounds resolved whose newest scores no leaderboard shows.
    unshown: BTreeSet<Timestamp>,
    /// The first full hour whose snapshot is missing or lacks a score.
    next_snapshot: Timestamp,
    /// Snapshots as of before are of an earlier rule and stay as they are.
    rule_since: Timestamp,
    /// Since it was last asked for, a change came without scores by the rule: a void round, or one that another worker
    /// scored by another rule.
    has_unscored: bool,
    /// What the newest leaderboard says of its rule; `None` while there is none.
    shown: Option<Announcement>,
}

/// By which rule a leaderboard is, and what of it is not yet.
#[derive(Debug, Clone, PartialEq)]
struct Announcement {
    rule: String,
    rescoring: Option<Rescoring>,
}

impl State {
    fn is_leaderboard_due(&self, as_of: Timestamp, announcement: &Announcement) -> bool {
        self.unshown.first().is_some_and(|resolved| *resolved <= as_of)
            || self.shown.as_ref().is_some_and(|shown| shown != announcement)
    }

    fn is_snapshot_due(&self, as_of: Timestamp) -> bool {
        self.next_snapshot <= as_of
    }

    /// Takes a change; returns when the round resolved, unless the change concerns no score.
    fn take(&mut self, change: ScoreChange) -> Option<Timestamp> {
        self.seen = change.number;
        let resolved = match change.scored {
            Some(round) => {
                let resolved = round.resolves_at;
                self.history.insert(round);
                resolved
            }
            None => {
                self.has_unscored = true;
                self.history.remove(change.round_id)?
            }
        };
        self.unshown.insert(resolved);
        Some(resolved)
    }
}

impl Ranker {
    pub fn new(store: Arc<dyn Store>, weights: Weights, rule: String) -> Self {
        Ranker { store, weights, rule, state: None }
    }

    /// Drops what is held in memory; it is read anew when it is needed.
    pub fn forget(&mut self) {
        self.state = None;
    }

    /// Takes the changes of scores since the last time; true when rounds were voided in them, or scored by another rule.
    pub async fn follow(&mut self, now: Timestamp) -> Result<bool> {
        let state = self.refreshed(full_minute(now)).await?;
        Ok(std::mem::take(&mut self.state.insert(state).has_unscored))
    }

    /// Rounds that resolved after this are in some window that is yet to be written.
    pub async fn first_in_windows(&mut self, now: Timestamp) -> Result<Timestamp> {
        let state = self.state(full_minute(now)).await?;
        let first_written = full_minute(now).min(state.next_snapshot);
        self.state = Some(state);
        Ok(first_written - Window::Anchor.span())
    }

    /// Writes what is due as of the full minute at or before `now`, when so many rounds are left to score again, by the
    /// changes that were followed; returns the instant of a new leaderboard.
    pub async fn write_due(
        &mut self,
        now: Timestamp,
        outdated: u64,
        is_rescoring: bool,
    ) -> Result<Option<Timestamp>> {
        let as_of = full_minute(now);
        let mut state = self.state(as_of).await?;
        let written = self.write_due_of(&mut state, as_of, outdated, is_rescoring).await;
        self.state = Some(state);
        written
    }

    /// Writes the leaderboard as of `as_of`.
    pub async fn rank(&mut self, as_of: Timestamp, outdated: u64) -> Result<()> {
        let mut state = self.refreshed(as_of).await?;
        self.read_members(&mut state).await?;
        let written = self.write_leaderboard(&mut state, as_of, self.announcement(outdated)).await;
        self.state = Some(state);
        written
    }

    fn announcement(&self, outdated: u64) -> Announcement {
        let rescoring = (outdated > 0).then_some(Rescoring { rounds_left: outdated });
        Announcement { rule: self.rule.clone(), rescoring }
    }

    async fn write_due_of(
        &self,
        state: &mut State,
        as_of: Timestamp,
        outdated: u64,
        is_rescoring: bool,
    ) -> Result<Option<Timestamp>> {
        let announcement = self.announcement(outdated);
        let is_leaderboard_due = state.is_leaderboard_due(as_of, &announcement);
        // A snapshot is kept, so it waits until its windows are whole; but not for rounds that are put off.
        let is_snapshot_due = !is_rescoring && state.is_snapshot_due(as_of);
        if !is_leaderboard_due && !is_snapshot_due {
            return Ok(None);
        }
        self.read_members(state).await?;
        if is_snapshot_due {
            self.write_snapshots(state, as_of).await?;
        }
        if !is_leaderboard_due {
            return Ok(None);
        }
        self.write_leaderboard(state, as_of, announcement).await?;
        state.history.forget_before(first_amended(as_of));
        Ok(Some(as_of))
    }

    async fn write_leaderboard(
        &self,
        state: &mut State,
        as_of: Timestamp,
        announcement: Announcement,
    ) -> Result<()> {
        let standings = state.history.standings(as_of, &self.weights);
        let mut leaderboard = rank(&standings, &announcement.rule);
        leaderboard.rescoring = announcement.rescoring;
        self.store.save_leaderboard(&leaderboard, &standings).await?;
        state.unshown.retain(|resolved| *resolved > as_of);
        state.shown = Some(announcement);
        Ok(())
    }

    async fn write_snapshots(&self, state: &mut State, as_of: Timestamp) -> Result<()> {
        state.next_snapshot = state.next_snapshot.max(first_snapshot(as_of));
        while state.is_snapshot_due(as_of) {
            let standings = state.history.standings(state.next_snapshot, &self.weights);
            if !standings.models.is_empty() {
                self.store.save_snapshot(&standings).await?;
            }
            state.next_snapshot = state.next_snapshot + Span::HOUR;
        }
        Ok(())
    }

    /// The state as it is; taken out, so that an error half-way leads to a fresh start.
    async fn state(&mut self, as_of: Timestamp) -> Result<State> {
        match self.state.take() {
            Some(state) => Ok(state),
            None => self.load(as_of).await,
        }
    }

    /// The state with everything that is stored by now; taken out as well.
    async fn refreshed(&mut self, as_of: Timestamp) -> Result<State> {
        let Some(mut state) = self.state.take() else {
            return self.load(as_of).await;
        };
        if let Some(earliest) = self.read_changes(&mut state).await? {
            let first_changed = earliest.ceil_to(Span::HOUR).max(first_amended(as_of)).max(state.rule_since);
            state.next_snapshot = state.next_snapshot.min(first_changed);
        }
        Ok(state)
    }

    /// The state of a worker that has just been started: the newest snapshot may lack what was scored since, and so may
    /// the leaderboard.
    async fn load(&self, as_of: Timestamp) -> Result<State> {
        let first_snapshot = first_snapshot(as_of);
        let rule_since = rule_since(&self.store.scoring_changes().await?, &self.rule);
        let newest_snapshot = self.store.newest_snapshot_at().await?;
        let next_snapshot = match newest_snapshot {
            None => first_snapshot,
            Some(newest) if newest < rule_since => first_snapshot.max(newest + Span::HOUR),
            Some(newest) => first_snapshot.max(newest),
        };
        let shown = self
            .store
            .latest_leaderboard()
            .await?
            .map(|leaderboard| Announcement { rule: leaderboard.rule, rescoring: leaderboard.rescoring });
        let mut state = State {
            history: ScoreHistory::new(),
            held_after: next_snapshot.min(first_amended(as_of)) - Window::Anchor.span(),
            seen: ChangeNumber::default(),
            unshown: BTreeSet::new(),
            next_snapshot,
            rule_since,
            has_unscored: false,
            shown,
        };
        self.read_members(&mut state).await?;
        self.read_changes(&mut state).await?;
        for (id, first) in self.store.first_scored().await? {
            state.history.note_first_scored(&id, first);
        }
        Ok(state)
    }

    /// Takes every change that is not in the history; returns the earliest resolution of a round whose scores changed.
    async fn read_changes(&self, state: &mut State) -> Result<Option<Timestamp>> {
        let mut earliest = None;
        loop {
            let changes = self.store.score_changes(state.seen, state.held_after, &self.rule, BATCH).await?;
            let is_last = changes.len() < BATCH;
            let resolved = changes.into_iter().filter_map(|change| state.take(change)).min();
            earliest = earliest.into_iter().chain(resolved).min();
            if is_last {
                return Ok(earliest);
            }
        }
    }

    async fn read_members(&self, state: &mut State) -> Result<()> {
        for model in self.store.models().await? {
            state.history.set_member(&model.id, model.joined_at);
        }
        Ok(())
    }
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
