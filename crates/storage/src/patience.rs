//! A bound on how long a database may take to answer.

use std::time::Duration;

use crate::{Interceptor, Result, StorageError};

/// Waits so long for each answer: an access that is not answered in time fails as [`StorageError::Unavailable`]. A connection
/// through which nothing comes any more, as after the loss of a network path, would otherwise be waited for without end.
/// Migrations take as long as they take.
///
/// Whether a write that was given up has taken place is not known: like any write it may be repeated.
#[derive(Debug, Clone, Copy)]
pub struct Patience(pub Duration);

/// No answer came in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswer(Duration);

impl Interceptor for Patience {
    async fn intercept<T: Send>(
        &self,
        method: &'static str,
        access: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if method == "migrate" {
            return access.await;
        }
        match tokio::time::timeout(self.0, access).await {
            Ok(answer) => answer,
            Err(_) => Err(StorageError::Unavailable(Box::new(NoAnswer(self.0)))),
        }
    }
}
