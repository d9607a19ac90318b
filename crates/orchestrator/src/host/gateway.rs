//! A node behind a gateway: the gateway ends TLS, the node checks a token with each call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use http::Request;
use node_credentials::{
    CoordinatorKeys, CredentialsError, FileChecks, HEALTH_SERVICE, Token, TokenFault, Watched,
};

/// Lets calls with a good token pass.
pub(super) struct TokenGate {
    keys: Watched<CoordinatorKeys>,
    model_id: String,
    checks: FileChecks,
    clock: Arc<dyn Clock>,
}

impl TokenGate {
    pub fn open(
        coordinator_keys: &Path,
        model_id: &str,
        checks: FileChecks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        let keys = CoordinatorKeys::watch(coordinator_keys)?;
        Ok(TokenGate { keys, model_id: model_id.to_owned(), checks, clock })
    }

    pub fn refresh(&self) {
        self.keys.refresh(self.clock.now());
    }

    pub fn checked_every(&self) -> Duration {
        self.checks.every
    }

    /// The health check needs no token: it says nothing of the model, and public coordinators send none with it.
    pub fn admit<B>(&self, request: &Request<B>) -> Result<(), TokenFault> {
        if request.uri().path().starts_with(HEALTH_SERVICE) {
            return Ok(());
        }
        let token = Token::from_headers(request.headers())?;
        token.verify(&self.model_id, &self.keys.current(), self.clock.now())
    }
}

impl std::fmt::Debug for TokenGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenGate")
            .field("keys", &self.keys)
            .field("model_id", &self.model_id)
            .finish_non_exhaustive()
    }
}
