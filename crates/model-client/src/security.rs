//! How nodes are connected to, and how both sides prove who they are: settings and what was read from their files.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Timestamp};
use node_credentials::{ClientIdentity, CredentialsError, FileChecks, GatewayTls, TokenSigner, Watched};
use tokio::time::{MissedTickBehavior, interval};

/// How the nodes of a cluster are connected to. Cloning shares what was read.
#[derive(Debug, Clone, Default)]
pub struct Security(Mode);

#[derive(Debug, Clone, Default)]
enum Mode {
    #[default]
    Plain,
    MutualTls(Arc<MutualTls>),
    Gateway(Arc<Gateway>),
}

/// A certificate of ours, and a wallet's delegation of theirs.
pub(crate) struct MutualTls {
    pub identity: Watched<ClientIdentity>,
    every: Duration,
    clock: Arc<dyn Clock>,
}

/// A gateway that ends TLS, and a token of ours with each call.
pub(crate) struct Gateway {
    pub tls: GatewayTls,
    pub signer: Watched<TokenSigner>,
    every: Duration,
    clock: Arc<dyn Clock>,
}

/// What a connection needs.
pub(crate) enum Scheme<'a> {
    Plain,
    MutualTls(&'a MutualTls),
    Gateway(&'a Gateway),
}

impl Security {
    /// No TLS: for this machine and private networks.
    pub fn plain() -> Self {
        Security::default()
    }

    /// Mutual TLS with wallet delegation: the node has to show a certificate that `ca.crt` in `directory` has issued for
    /// the model, and with each answer a delegation by the cruncher's wallet for it. We show `tls.crt` with `tls.key`.
    ///
    /// The files are read here and whenever they change. `clock` tells the real time, also in a replay.
    pub fn mutual_tls(
        directory: &Path,
        checks: FileChecks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        let identity = ClientIdentity::watch(directory, checks.warn_before)?;
        let tls = MutualTls { identity, every: checks.every, clock };
        Ok(Security(Mode::MutualTls(Arc::new(tls))).refreshed())
    }

    /// Gateways that end TLS in front of the nodes: their certificates have to be of the system's authorities, or of those
    /// in the PEM file `authorities`. Each call carries a token signed with the RSA key in the PEM file `private_key`.
    ///
    /// The key is read here and whenever it changes, the authorities only here. `clock` as above.
    pub fn gateway(
        private_key: &Path,
        authorities: Option<&Path>,
        checks: FileChecks,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialsError> {
        let system = rustls_native_certs::load_native_certs();
        if system.certs.is_empty() && authorities.is_none() {
            tracing::warn!("this system has no certificate authorities: no gateway will be trusted");
        }
        let tls = GatewayTls::new(system.certs, authorities)?;
        let gateway = Gateway { tls, signer: TokenSigner::watch(private_key)?, every: checks.every, clock };
        Ok(Security(Mode::Gateway(Arc::new(gateway))).refreshed())
    }

    /// Looks at the files once: takes what has changed, and logs what expires. [`crate::Cluster`] does this by itself.
    pub fn refresh(&self) {
        match &self.0 {
            Mode::Plain => {}
            Mode::MutualTls(tls) => tls.identity.refresh(tls.now()),
            Mode::Gateway(gateway) => gateway.signer.refresh(gateway.now()),
        }
    }

    fn refreshed(self) -> Self {
        self.refresh();
        self
    }

    pub(crate) fn scheme(&self) -> Scheme<'_> {
        match &self.0 {
            Mode::Plain => Scheme::Plain,
            Mode::MutualTls(tls) => Scheme::MutualTls(tls),
            Mode::Gateway(gateway) => Scheme::Gateway(gateway),
        }
    }

    /// Follows the files for ever.
    pub(crate) async fn follow_files(self) {
        let every = match &self.0 {
            Mode::Plain => return,
            Mode::MutualTls(tls) => tls.every,
            Mode::Gateway(gateway) => gateway.every,
        };
        let mut checks = interval(every.max(Duration::from_millis(1)));
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            let security = self.clone();
            // a refresh that panics, which none does, would only be the last one
            if tokio::task::spawn_blocking(move || security.refresh()).await.is_err() {
                return;
            }
        }
    }
}

impl MutualTls {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Gateway {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl std::fmt::Debug for MutualTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MutualTls").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("signer", &self.signer).finish_non_exhaustive()
    }
}
