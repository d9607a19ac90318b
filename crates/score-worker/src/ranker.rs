//! Windows, snapshots and the leaderboard, from the scores as stored.
//!
//! The ranker follows the changes of scores in the database, whoever made them, so that a second score worker or a
//! restart leads to the same numbers.

use std::sync::Arc;

use domain::{ScoreHistory, Span, Timestamp, TimestampExt, Weights, Window, rank};
use storage::{ChangeNumber, Result, Store};

/// Changes read at once.
const BATCH: usize = 1000;

pub struct Ranker {
    store: Arc<dyn Store>,
    weights: Weights,
    rule: String,
    state: Option<State>,
}

/// What is held in memory once it has been read.
struct State {
    history: ScoreHistory,
    /// Every change up to here is in the history.
    seen: ChangeNumber,
    /// A change is in the history that no leaderboard shows.
    is_dirty: bool,
    newest_snapshot: Option<Timestamp>,
}

impl Ranker {
    pub fn new(store: Arc<dyn Store>, weights: Weights, rule: String) -> Self {
        Ranker { store, weights, rule, state: None }
    }

    /// Writes what is due as of the full minute at or before `now`; returns the instant of a new leaderboard.
    pub async fn rank_if_changed(&mut self, now: Timestamp) -> Result<Option<Timestamp>> {
        let as_of = now.floor_to(Span::minutes(1));
        let mut state = self.refreshed(as_of).await?;
        let written = self.write_due(&mut state, as_of).await;
        self.state = Some(state);
        written
    }

    /// Writes the leaderboard as of `as_of`.
    pub async fn rank(&mut self, as_of: Timestamp) -> Result<()> {
        let mut state = self.refreshed(as_of).await?;
        let written = self.write_leaderboard(&mut state, as_of).await;
        self.state = Some(state);
        written
    }

    async fn write_due(&self, state: &mut State, as_of: Timestamp) -> Result<Option<Timestamp>> {
        self.write_snapshots(state, as_of).await?;
        if !state.is_dirty {
            return Ok(None);
        }
        self.write_leaderboard(state, as_of).await?;
        state.history.forget_before(as_of - Span::HOUR);
        Ok(Some(as_of))
    }

    async fn write_leaderboard(&self, state: &mut State, as_of: Timestamp) -> Result<()> {
        let standings = state.history.standings(as_of, &self.weights);
        self.store.save_leaderboard(&rank(&standings, &self.rule), &standings).await?;
        state.is_dirty = false;
        Ok(())
    }

    /// One for each full hour since the newest, as far back as the history reaches.
    async fn write_snapshots(&self, state: &mut State, as_of: Timestamp) -> Result<()> {
        let newest_due = as_of.floor_to(Span::HOUR);
        let mut hour = state.newest_snapshot.map_or(newest_due, |newest| newest + Span::HOUR);
        hour = hour.max(newest_due - Window::Anchor.span());
        while hour <= newest_due {
            let standings = state.history.standings(hour, &self.weights);
            if !standings.models.is_empty() {
                self.store.save_snapshot(&standings).await?;
            }
            state.newest_snapshot = Some(hour);
            hour = hour + Span::HOUR;
        }
        Ok(())
    }

    /// The state with everything that is stored by now; taken out, so that an error half-way leads to a fresh start.
    async fn refreshed(&mut self, as_of: Timestamp) -> Result<State> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.load(as_of).await?,
        };
        if self.read_changes(&mut state, as_of).await? {
            state.is_dirty = true;
            self.read_members(&mut state).await?;
        }
        Ok(state)
    }

    async fn load(&self, as_of: Timestamp) -> Result<State> {
        let newest_snapshot = self.store.newest_snapshot_at().await?;
        let mut state = State {
            history: ScoreHistory::new(),
            seen: ChangeNumber::default(),
            is_dirty: false,
            newest_snapshot,
        };
        let from = newest_snapshot.map_or(as_of, |newest| newest.min(as_of));
        self.read_changes(&mut state, from).await?;
        let first_scored = self.store.first_scored().await?;
        self.read_members(&mut state).await?;
        for (id, first) in first_scored {
            state.history.note_first_scored(&id, first);
        }
        // Scores may have changed while nobody ranked.
        state.is_dirty = true;
        Ok(state)
    }

    /// Takes every change to rounds that a window as of `as_of` or later can hold; true when there was one.
    async fn read_changes(&self, state: &mut State, as_of: Timestamp) -> Result<bool> {
        let resolved_after = as_of - Window::Anchor.span() - Span::HOUR;
        let mut any = false;
        loop {
            let changes = self.store.score_changes(state.seen, resolved_after, BATCH).await?;
            let is_last = changes.len() < BATCH;
            for change in changes {
                any = true;
                state.seen = change.number;
                match change.scored {
                    Some(round) => state.history.insert(round),
                    None => state.history.remove(change.round_id),
                }
            }
            if is_last {
                return Ok(any);
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
