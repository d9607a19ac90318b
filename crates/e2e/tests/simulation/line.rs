//! A process's line to the database, which can be cut, and at which the process can die.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use storage::{InterceptedStore, Interceptor, Result, StorageError, Store};
use tokio::sync::watch;

/// How the database is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All is well.
    Up,
    /// Every access fails at once.
    Away,
    /// Every access waits until the mode changes.
    Hung,
    /// Every access succeeds, and the caller is told that it failed.
    LosesReplies,
}

/// On which side of an access a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The database has not heard of it.
    Before,
    /// It is carried out, and the process does not learn of it.
    After,
}

/// One process's line to the database, as its surroundings see and handle it.
#[derive(Clone)]
pub struct Line(Arc<State>);

struct State {
    mode: watch::Sender<Mode>,
    /// After how many more accesses, and on which side of the next, the process is to die.
    fuse: Mutex<Option<(u32, Side)>>,
    has_blown: watch::Sender<bool>,
    /// Accesses so far.
    count: AtomicUsize,
    /// Those that the database is working on, and what else takes real time.
    active: AtomicUsize,
}

impl Line {
    pub fn new(mode: Mode) -> Self {
        Line(Arc::new(State {
            mode: watch::Sender::new(mode),
            fuse: Mutex::default(),
            has_blown: watch::Sender::new(false),
            count: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
        }))
    }

    /// A database at the end of it.
    pub fn to(&self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(InterceptedStore::new(store, self.clone()))
    }

    pub fn switch(&self, mode: Mode) {
        self.0.mode.send_replace(mode);
    }

    pub fn is_up(&self) -> bool {
        *self.0.mode.borrow() == Mode::Up
    }

    /// True when what the process writes arrives.
    pub fn reaches(&self) -> bool {
        !matches!(*self.0.mode.borrow(), Mode::Away | Mode::Hung)
    }

    /// At the access after so many more, the process stops in its tracks: see [`Line::has_blown`].
    pub fn light_fuse(&self, accesses: u32, side: Side) {
        *self.0.fuse.lock().unwrap() = Some((accesses, side));
    }

    /// Takes that back.
    pub fn put_fuse_out(&self) {
        *self.0.fuse.lock().unwrap() = None;
    }

    /// True when the process is to be killed now.
    pub fn has_blown(&self) -> bool {
        *self.0.has_blown.borrow()
    }

    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::SeqCst)
    }

    /// Until the result is dropped, simulated time stands still.
    pub fn begin_work(&self) -> Work {
        self.0.active.fetch_add(1, Ordering::SeqCst);
        Work(self.clone())
    }

    pub fn is_active(&self) -> bool {
        self.0.active.load(Ordering::SeqCst) > 0
    }

    /// The side on which the process dies at this access, if it does.
    fn burn(&self) -> Option<Side> {
        let mut fuse = self.0.fuse.lock().unwrap();
        match *fuse {
            Some((0, side)) => Some(side),
            Some((left, side)) => {
                *fuse = Some((left - 1, side));
                None
            }
            None => None,
        }
    }

    async fn die(&self) {
        self.0.has_blown.send_replace(true);
        std::future::pending().await
    }
}

/// Something that takes real time; it may be given up.
pub struct Work(Line);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interceptor for Line {
    async fn intercept<T: Send>(
        &self,
        _: &'static str,
        access: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut mode = self.0.mode.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hung).await.unwrap();
        self.0.count.fetch_add(1, Ordering::SeqCst);
        let death = self.burn();
        if death == Some(Side::Before) {
            self.die().await;
        }
        if mode == Mode::Away {
            return Err(StorageError::Unavailable("cut off".into()));
        }
        let work = self.begin_work();
        let result = access.await;
        drop(work);
        if death == Some(Side::After) {
            self.die().await;
        }
        match mode {
            Mode::LosesReplies => Err(StorageError::Unavailable("the reply was lost".into())),
            _ => result,
        }
    }
}
