//! Answers that were rendered before, each kept for as long as what it was made from stays the same.
//!
//! A route reads what it needs, which is cheap, and names the stamps of that as the basis of its answer. Only who asks first for
//! an answer on a basis has it rendered, compressed and tagged; everybody else gets those bytes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::Response;
use tokio::sync::OnceCell;

use crate::ask::Ask;
use crate::body::Body;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::stamp::Basis;

/// How much memory the answers may take, in bytes.
const CAPACITY: usize = 64 << 20;

/// How many answers are kept at most, however small.
const MAX_ANSWERS: usize = 4096;

/// What an answer takes beside its bytes: headers, the place in the table.
const OVERHEAD: usize = 512;

/// The answers.
pub(crate) struct Rendered {
    shelf: Mutex<Shelf>,
    metrics: Metrics,
}

impl Default for Rendered {
    fn default() -> Self {
        Rendered::with_capacity(CAPACITY)
    }
}

/// Rendered once; who comes while it is being rendered waits for it.
type Slot = Arc<OnceCell<Arc<Body>>>;

struct Shelf {
    /// What all answers may take, in bytes.
    capacity: usize,
    answers: HashMap<String, Kept>,
    /// What all of them take.
    size: usize,
    /// Grows with each look-up.
    turn: u64,
}

struct Kept {
    basis: Basis,
    slot: Slot,
    /// What it takes; 0 until it is rendered.
    size: usize,
    /// When it was asked for last.
    turn: u64,
}

impl Rendered {
    fn with_capacity(capacity: usize) -> Self {
        let shelf = Shelf { capacity, answers: HashMap::new(), size: 0, turn: 0 };
        Rendered { shelf: Mutex::new(shelf), metrics: Metrics::default() }
    }

    /// An empty one; `metrics` count what it is good for.
    pub(crate) fn counted_by(metrics: &Metrics) -> Self {
        Rendered { metrics: metrics.clone(), ..Rendered::default() }
    }

    /// The answer to `ask` on this basis; `render` is awaited only when there is none yet.
    ///
    /// An answer may depend on nothing but the request's path and query, who asks, and the basis.
    pub(crate) async fn answer(
        &self,
        ask: &Ask,
        basis: impl Into<Basis>,
        render: impl Future<Output = Result<Body, Problem>>,
    ) -> Result<Response, Problem> {
        let slot = self.slot(ask.place(), basis.into());
        let body = match slot.get() {
            Some(body) => {
                self.metrics.kept_answers.inc();
                Arc::clone(body)
            }
            None => {
                self.metrics.rendered_answers.inc();
                let body = slot.get_or_try_init(async || render.await.map(Arc::new)).await;
                let body = body.inspect_err(|_| self.lock().forget(ask.place(), &slot)).map(Arc::clone)?;
                self.lock().weigh(ask.place(), &slot, OVERHEAD + body.len());
                body
            }
        };
        ask.answer(&body).await
    }

    fn slot(&self, place: &str, basis: Basis) -> Slot {
        let mut shelf = self.lock();
        shelf.turn += 1;
        let turn = shelf.turn;
        match shelf.answers.get_mut(place) {
            Some(kept) if kept.basis == basis => {
                kept.turn = turn;
                Arc::clone(&kept.slot)
            }
            _ => shelf.put(place, basis),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn put(&mut self, place: &str, basis: Basis) -> Slot {
        let slot = Slot::default();
        let kept = Kept { basis, slot: Arc::clone(&slot), size: 0, turn: self.turn };
        if let Some(previous) = self.answers.insert(place.to_owned(), kept) {
            self.size -= previous.size;
        }
        self.make_room();
        slot
    }

    /// Notes what the answer in `slot` takes, unless it has been replaced.
    fn weigh(&mut self, place: &str, slot: &Slot, size: usize) {
        if let Some(kept) = self.answers.get_mut(place).filter(|kept| Arc::ptr_eq(&kept.slot, slot)) {
            self.size += size - std::mem::replace(&mut kept.size, size);
            self.make_room();
        }
    }

    /// Nothing was rendered: the next request tries again, and paths to nothing take no room.
    fn forget(&mut self, place: &str, slot: &Slot) {
        if self.answers.get(place).is_some_and(|kept| Arc::ptr_eq(&kept.slot, slot)) {
            self.answers.remove(place);
        }
    }

    /// Drops what was not asked for longest, down to three quarters of what is allowed, so that it is seldom done.
    fn make_room(&mut self) {
        if self.size <= self.capacity && self.answers.len() <= MAX_ANSWERS {
            return;
        }
        let mut by_age: Vec<(u64, String)> =
            self.answers.iter().map(|(place, kept)| (kept.turn, place.clone())).collect();
        by_age.sort_unstable();
        for (_, place) in by_age {
            if self.size <= self.capacity / 4 * 3 && self.answers.len() <= MAX_ANSWERS / 4 * 3 {
                return;
            }
            self.size -= self.answers.remove(&place).map_or(0, |kept| kept.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::stamp::Stamp;

    fn body(size: usize) -> Result<Body, Problem> {
        Ok(Body::new("text/plain", vec![b'x'; size]))
    }

    #[tokio::test]
    async fn an_answer_is_rendered_once_for_each_basis_however_many_ask() {
        let (rendered, count) = (Rendered::default(), AtomicUsize::new(0));
        let ask = Ask::for_path("/a");
        let get = async |basis: [Stamp; 1]| {
            let render = async {
                tokio::task::yield_now().await;
                count.fetch_add(1, Ordering::SeqCst);
                body(10)
            };
            rendered.answer(&ask, basis, render).await.unwrap();
        };
        let first = [Stamp::fresh()];
        tokio::join!(get(first), get(first), get(first));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        get([Stamp::fresh()]).await;
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_problem_is_not_kept() {
        let (rendered, basis) = (Rendered::default(), [Stamp::fresh()]);
        let ask = Ask::for_path("/a");
        let refused = rendered.answer(&ask, basis, async { Err(Problem::not_found("no")) }).await;
        assert_eq!(refused.unwrap_err(), Problem::not_found("no"));
        assert_eq!(rendered.lock().answers.len(), 0);
        rendered.answer(&ask, basis, async { body(1) }).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_not_asked_for_longest_leaves_when_there_is_no_more_room() {
        let capacity = 8 * (OVERHEAD + 100);
        let (rendered, basis) = (Rendered::with_capacity(capacity), [Stamp::fresh()]);
        for path in 0..8 {
            rendered.answer(&Ask::for_path(&format!("/{path}")), basis, async { body(100) }).await.unwrap();
        }
        assert_eq!(rendered.lock().size, capacity);
        let first = Ask::for_path("/0");
        rendered.answer(&first, basis, async { panic!("rendered again") }).await.unwrap();
        rendered.answer(&Ask::for_path("/8"), basis, async { body(1) }).await.unwrap();
        let shelf = rendered.lock();
        assert!(shelf.size <= capacity / 4 * 3);
        let is_kept = ["/0", "/1", "/2", "/3", "/7", "/8"].map(|path| shelf.answers.contains_key(path));
        assert_eq!(is_kept, [true, false, false, false, true, true]);
    }

    #[tokio::test]
    async fn small_answers_are_bounded_in_number() {
        let (rendered, basis) = (Rendered::default(), [Stamp::fresh()]);
        for path in 0..2 * MAX_ANSWERS {
            rendered.answer(&Ask::for_path(&format!("/{path}")), basis, async { body(1) }).await.unwrap();
        }
        let shelf = rendered.lock();
        assert!(shelf.answers.len() <= MAX_ANSWERS);
        assert_eq!(shelf.size, shelf.answers.values().map(|kept| kept.size).sum::<usize>());
    }
}
