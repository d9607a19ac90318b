//! How much memory answers may take while they come in, whatever the number of models.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An answer of at most so many bytes takes no room of the budget; of a larger one no more than this is read until there is
/// room.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;

/// Answers above this have a half of the budget of their own: a few nodes that announce megabytes and send them slowly
/// keep only one another waiting.
const USUAL_BYTES: usize = 256 * 1024;

/// Room is counted in these, so that a count fits what a semaphore takes at once.
const UNIT_BYTES: usize = 1024;

/// Room for all but small answers, from the moment that they are announced until their callers are done with them. Within a
/// half, first come, first served.
#[derive(Debug)]
pub(crate) struct Budget {
    usual: Share,
    large: Share,
    /// How long the rest of an answer may take once it has room.
    pub patience: Duration,
}

/// Room that an answer takes in the client's memory. It is given back when the last clone is dropped: keep it for as long as
/// the answer is worked on, and no longer. It is no part of what was answered: all are equal.
#[derive(Debug, Clone, Default)]
pub struct Room {
    _taken: Option<Arc<OwnedSemaphorePermit>>,
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Budget {
    /// A budget of `bytes` in all.
    pub fn new(bytes: usize, patience: Duration) -> Self {
        let (usual, large) = (Share::new(bytes / 2), Share::new(bytes / 2));
        Budget { usual, large, patience }
    }

    /// Waits for room for an answer of so many bytes. One that is larger than its whole half is let in alone.
    pub async fn take(&self, bytes: usize) -> Room {
        let share = if bytes <= USUAL_BYTES { &self.usual } else { &self.large };
        share.take(bytes).await
    }

    /// The room that is taken, in bytes.
    pub fn taken(&self) -> usize {
        self.usual.taken() + self.large.taken()
    }
}

#[derive(Debug)]
struct Share {
    room: Arc<Semaphore>,
    units: u32,
}

impl Share {
    fn new(bytes: usize) -> Self {
        let units = units(bytes);
        Share { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    async fn take(&self, bytes: usize) -> Room {
        let wanted = units(bytes).min(self.units);
        // nobody closes the semaphore
        let taken = self.room.clone().acquire_many_owned(wanted).await.ok();
        Room { _taken: taken.map(Arc::new) }
    }

    fn taken(&self) -> usize {
        (self.units as usize - self.room.available_permits()) * UNIT_BYTES
    }
}

/// At least one; what is beyond counting, terabytes, is as good as no bound.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const MB: usize = 1024 * 1024;

    fn budget(bytes: usize) -> Budget {
        Budget::new(bytes, Duration::from_secs(10))
    }

    #[test]
    fn room_is_taken_until_it_is_given_back() {
        let budget = budget(4 * MB);
        let one = budget.take(2 * MB).now_or_never().expect("room");
        assert_eq!(budget.taken(), 2 * MB);
        assert!(budget.take(MB).now_or_never().is_none());
        drop(one);
        assert_eq!(budget.taken(), 0);
        assert!(budget.take(MB).now_or_never().is_some());
    }

    #[test]
    fn large_answers_leave_room_for_usual_ones() {
        let budget = budget(4 * MB);
        let _large = budget.take(USUAL_BYTES + 1).now_or_never().expect("room");
        let _larger = budget.take(2 * MB).now_or_never();
        let usual: Vec<Room> = (0..20).filter_map(|_| budget.take(100_000).now_or_never()).collect();
        assert_eq!(usual.len(), 20);
    }

    #[test]
    fn an_answer_larger_than_all_room_is_let_in_alone() {
        let budget = budget(MB);
        let huge = budget.take(100 * MB).now_or_never().expect("all of the room");
        assert!(budget.take(MB).now_or_never().is_none());
        drop(huge);
        assert!(budget.take(MB).now_or_never().is_some());
    }

    #[test]
    fn no_size_is_beyond_counting() {
        for bytes in [0, 1, usize::MAX] {
            let budget = budget(bytes);
            assert!(budget.take(usize::MAX).now_or_never().is_some());
            assert_eq!(budget.taken(), 0);
        }
    }
}
