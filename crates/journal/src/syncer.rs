//! Brings to the disk what is committed, behind whoever commits.
//!
//! A commit hands its pages to the operating system, and so survives the end of the process. Only a power cut needs them on
//! the disk, which takes hundreds of milliseconds when others write much to it: too long for outcomes to wait in memory, where
//! a kill loses them.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Stopwatch;
use sqlx::ConnectOptions;
use tokio::sync::watch;

use crate::Result;
use crate::writer::Writer;

/// A disk whose sync takes no longer has little else to do.
const QUICK: Duration = Duration::from_millis(20);

/// How the write-ahead log is looked after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Care {
    /// Brings a file to the disk.
    pub sync: fn(&File) -> io::Result<()>,
    /// What a log of so many bytes holds goes into the main file while the disk is quick: the commit after that waits for it.
    pub long_log: u64,
    /// That of so many bytes goes there in any case, and commits wait meanwhile.
    pub longest_log: u64,
}

impl Default for Care {
    fn default() -> Self {
        Care { sync: File::sync_data, long_log: 32 << 20, longest_log: 512 << 20 }
    }
}

/// The handle of the task that does it; it ends with the handle.
pub(crate) struct Syncer {
    committed: watch::Sender<()>,
    fault: Arc<Mutex<Option<io::Error>>>,
}

struct Task {
    log: Arc<File>,
    care: Care,
    writer: Arc<Writer>,
    fault: Arc<Mutex<Option<io::Error>>>,
}

impl Syncer {
    /// Syncs the write-ahead log of `writer`'s file.
    pub fn start(log: File, care: Care, writer: Arc<Writer>) -> Self {
        let fault = Arc::default();
        let (committed, news) = watch::channel(());
        let task = Task { log: Arc::new(log), care, writer, fault: Arc::clone(&fault) };
        tokio::spawn(task.run(news));
        Syncer { committed, fault }
    }

    /// Something was committed.
    pub fn note_committed(&self) {
        self.committed.send_replace(());
    }

    /// Tells once of an earlier sync that failed: what was committed before it may not survive a power cut.
    pub fn check(&self) -> Result<()> {
        match lock(&self.fault).take() {
            Some(fault) => Err(sqlx::Error::Io(fault).into()),
            None => Ok(()),
        }
    }
}

impl Task {
    async fn run(self, mut committed: watch::Receiver<()>) {
        while committed.changed().await.is_ok() {
            let (log, sync, watch) = (Arc::clone(&self.log), self.care.sync, Stopwatch::start());
            let synced = tokio::task::spawn_blocking(move || {
                sync(&log)?;
                log.metadata()
            });
            match synced.await {
                // What fails, for lack of room or because somebody reads old pages, is tried again after the next commit.
                Ok(Ok(log)) => drop(self.shorten_log(log.len(), watch.elapsed()).await),
                Ok(Err(fault)) => *lock(&self.fault) = Some(fault),
                // The runtime ends.
                Err(_) => return,
            }
        }
    }

    /// Brings a long log into the main file, so that the next commit begins it anew: beside whoever commits, which does not
    /// take all when somebody does; all, in a turn between two commits, when it is longer than it may be.
    async fn shorten_log(&self, bytes: u64, sync_took: Duration) -> Result<()> {
        let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
        if bytes >= self.care.long_log && sync_took < QUICK || bytes >= self.care.longest_log {
            let mut beside = self.writer.options().connect().await?;
            sqlx::query(checkpoint).fetch_all(&mut beside).await?;
        }
        if bytes >= self.care.longest_log {
            let mut turn = self.writer.turn().await?;
            sqlx::query(checkpoint).fetch_all(&mut *turn).await?;
            turn.finish().await?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use domain::{Prediction, PredictionStatus, RoundId, Timestamp};
    use uuid::Uuid;

    use super::*;
    use crate::{DEFAULT_MAX_BYTES, Journal, Owner};

    async fn open(folder: &Path, care: Care) -> Journal {
        let owner = Owner { crunch_id: "condor".parse().unwrap(), database: "none".into() };
        Journal::open_with(&folder.join("journal.db"), &owner, DEFAULT_MAX_BYTES, care).await.unwrap()
    }

    async fn append(journal: &Journal, bytes: usize) -> Result<()> {
        let (round, model) = (RoundId::from_uuid(Uuid::from_u128(1)), "m".parse().unwrap());
        let reason = "x".repeat(bytes);
        let outcome = Prediction::unanswered(model, None, PredictionStatus::Timeout, reason);
        journal.append(Timestamp::UNIX_EPOCH, &[], &[(round, &outcome)]).await.map(drop)
    }

    async fn until(happens: impl Fn() -> bool) {
        let waiting = async {
            while !happens() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    }

    #[tokio::test]
    async fn a_disk_that_takes_its_time_keeps_no_commit_waiting_and_gets_what_was_committed_meanwhile() {
        static SYNCS: AtomicUsize = AtomicUsize::new(0);
        static IS_STUCK: AtomicBool = AtomicBool::new(true);
        let stuck = |_: &File| {
            SYNCS.fetch_add(1, Ordering::SeqCst);
            while IS_STUCK.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        };
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path(), Care { sync: stuck, ..Care::default() }).await;
        append(&journal, 1).await.unwrap();
        until(|| SYNCS.load(Ordering::SeqCst) == 1).await;
        let commits = async {
            for _ in 0..10 {
                append(&journal, 1).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), commits).await.unwrap();
        assert_eq!(SYNCS.load(Ordering::SeqCst), 1, "one at a time");
        IS_STUCK.store(false, Ordering::SeqCst);
        until(|| SYNCS.load(Ordering::SeqCst) == 2).await;
    }

    #[tokio::test]
    async fn a_sync_that_fails_is_told_once_by_the_next_commit() {
        static FAILS: AtomicBool = AtomicBool::new(true);
        let folder = tempfile::tempdir().unwrap();
        let fails = |_: &File| match FAILS.swap(false, Ordering::SeqCst) {
            true => Err(io::Error::other("the disk is broken")),
            false => Ok(()),
        };
        let journal = open(folder.path(), Care { sync: fails, ..Care::default() }).await;
        append(&journal, 1).await.unwrap();
        until(|| !FAILS.load(Ordering::SeqCst)).await;
        let mut told = Ok(());
        for _ in 0..100 {
            told = append(&journal, 1).await;
            if told.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(told.unwrap_err().to_string().contains("the disk is broken"));
        append(&journal, 1).await.unwrap();
    }

    /// The length of the longest log and of the last, of so many commits of so many bytes each, with a pause after each.
    async fn lengths(care: Care, commits: u32, bytes: usize, pause: Duration) -> (u64, u64) {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(folder.path(), care).await;
        let log = folder.path().join("journal.db-wal");
        let (mut longest, mut length) = (0, 0);
        for _ in 0..commits {
            append(&journal, bytes).await.unwrap();
            length = log.metadata().unwrap().len();
            longest = length.max(longest);
            tokio::time::sleep(pause).await;
        }
        (longest, length)
    }

    #[tokio::test]
    async fn a_long_log_begins_anew_in_a_quiet_moment() {
        const LONG: u64 = 1 << 20;
        let at_once = |_: &File| Ok(());
        let care = Care { sync: at_once, long_log: LONG, longest_log: u64::MAX };
        let (longest, _) = lengths(care, 40, 128 << 10, Duration::from_millis(100)).await;
        assert!((LONG..3 * LONG).contains(&longest), "{longest} bytes");
    }

    #[tokio::test]
    async fn the_longest_log_begins_anew_however_slow_the_disk_and_however_much_is_committed() {
        const LONG: u64 = 8 << 20;
        let slow = |_: &File| {
            std::thread::sleep(QUICK);
            Ok(())
        };
        let care = Care { sync: slow, long_log: 1, longest_log: LONG };
        let (longest, _) = lengths(care, 60, 1 << 20, Duration::ZERO).await;
        assert!((LONG..5 * LONG).contains(&longest), "{longest} bytes");
    }

    #[tokio::test]
    async fn while_the_disk_is_slow_a_log_may_be_long() {
        let slow = |_: &File| {
            std::thread::sleep(QUICK);
            Ok(())
        };
        let care = Care { sync: slow, long_log: 1, longest_log: u64::MAX };
        let (longest, last) = lengths(care, 20, 128 << 10, Duration::from_millis(50)).await;
        assert!(last == longest && last > 20 * (128 << 10), "{last} of {longest} bytes");
    }
}
