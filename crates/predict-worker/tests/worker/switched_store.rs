//! A database that can be switched off.

use std::sync::Arc;

use storage::{InterceptedStore, Interceptor, Result, StorageError, Store};
use tokio::sync::watch;

/// How the database is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// All is well.
    Up,
    /// Every access fails at once.
    Away,
    /// Every access waits until the mode changes.
    Hung,
    /// Every access succeeds, and the caller is told that it failed.
    LosesReplies,
    /// Marks of asked rounds are refused for good.
    RefusesMarks,
    /// Closed rounds are refused for good.
    RefusesClosedRounds,
}

/// A store, and the switch that it is behind.
pub fn switched(store: Arc<dyn Store>) -> (Arc<InterceptedStore<Switch>>, Switch) {
    let switch = Switch(watch::Sender::new(Mode::Up));
    (Arc::new(InterceptedStore::new(store, switch.clone())), switch)
}

/// Says how a database is doing.
#[derive(Clone)]
pub struct Switch(watch::Sender<Mode>);

impl Switch {
    pub fn to(&self, mode: Mode) {
        self.0.send_replace(mode);
    }
}

impl Interceptor for Switch {
    async fn intercept<T: Send>(
        &self,
        method: &'static str,
        access: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let mut mode = self.0.subscribe();
        let mode = *mode.wait_for(|mode| *mode != Mode::Hung).await.unwrap();
        match mode {
            Mode::Away => return Err(StorageError::Unavailable("switched off".into())),
            Mode::RefusesMarks if method == "mark_asked" => {
                return Err(StorageError::Refused("no such column".into()));
            }
            Mode::RefusesClosedRounds if method == "close_round" => {
                return Err(StorageError::Refused("no such column".into()));
            }
            _ => {}
        }
        let result = access.await;
        if mode == Mode::LosesReplies {
            return Err(StorageError::Unavailable("the reply was lost".into()));
        }
        result
    }
}
