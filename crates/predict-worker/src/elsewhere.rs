//! Work that takes longer than the runtime's threads should be kept from the network.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, available_parallelism};

use tokio::sync::oneshot::{self, error::RecvError};

type Job = Box<dyn FnOnce() + Send>;

/// Does work outside the runtime's threads, on as many others as there are cores, first come, first served. Fails when the
/// work panics.
///
/// The threads are its own: one that is busy takes the next work without being woken, and what each keeps for its work is
/// there as many times as there are cores and no more. The runtime's threads for blocking work are woken for each, which
/// takes about as long as a third of the check of an answer, and are as many as other work has made them.
pub async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, RecvError> {
    static JOBS: LazyLock<Sender<Job>> = LazyLock::new(start);
    let (done, result) = oneshot::channel();
    let job: Job = Box::new(move || {
        // nobody waits any more
        let _ = done.send(work());
    });
    // Where no thread could be started, it is done here.
    if let Err(mpsc::SendError(job)) = JOBS.send(job) {
        job();
    }
    result.await
}

fn start() -> Sender<Job> {
    let (jobs, waiting) = mpsc::channel();
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..available_parallelism().map_or(1, NonZero::get) {
        let waiting = Arc::clone(&waiting);
        if let Err(error) = thread::Builder::new().name("checks".into()).spawn(move || do_all(&waiting)) {
            tracing::error!(%error, "cannot start a thread for checks: {error}");
        }
    }
    jobs
}

fn do_all(waiting: &Mutex<Receiver<Job>>) {
    while let Some(job) = next(waiting) {
        // Whoever waits for it is told; the panic itself is on record by its hook.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Waits for work; `None` when none will come any more.
fn next(waiting: &Mutex<Receiver<Job>>) -> Option<Job> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_on_another_thread_and_its_result_comes_back() {
        let here = thread::current().id();
        let there = elsewhere(|| thread::current().id()).await.unwrap();
        assert_ne!(here, there);
    }

    #[tokio::test]
    async fn work_that_panics_fails_alone() {
        let more_than_there_are_threads = 2 * available_parallelism().map_or(1, NonZero::get);
        for _ in 0..more_than_there_are_threads {
            assert!(elsewhere(|| panic!("as the test wants it")).await.is_err());
        }
        assert_eq!(elsewhere(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn as_much_work_is_done_at_once_as_there_are_cores() {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let all_at_work = Arc::new(std::sync::Barrier::new(cores));
        let works = (0..cores).map(|_| {
            let all_at_work = Arc::clone(&all_at_work);
            elsewhere(move || all_at_work.wait().is_leader())
        });
        for done in futures::future::join_all(works).await {
            done.unwrap();
        }
    }
}
