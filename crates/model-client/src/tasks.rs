//! Background tasks that end when their owner says so.

use std::future::Future;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Where tasks are started: a tree, in which stopping a branch stops all that was started on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    running: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// A branch that can be stopped alone.
    pub fn branch(&self) -> Tasks {
        Tasks { running: self.running.clone(), stop: self.stop.child_token() }
    }

    /// Runs `task` in the background until it ends or this branch is stopped.
    pub fn spawn(&self, task: impl Future + Send + 'static) {
        // In a box: a future within others takes its size anew in each of them, some 10 kB for a connection's.
        let task = Box::pin(task);
        let until_stopped = self.stop.clone().run_until_cancelled_owned(async move {
            task.await;
        });
        self.running.spawn(until_stopped);
    }

    /// True once this branch was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Stops this branch when dropped.
    pub fn stop_on_drop(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    /// Stops this branch and waits until every task of the whole tree has ended.
    pub async fn stop_and_wait(&self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}
