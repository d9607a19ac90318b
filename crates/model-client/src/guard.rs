//! What stands between us and one model's node: who it has to be, and how it gets to know who we are.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use domain::{ModelId, Timestamp, TimestampExt};
use http::HeaderMap;
use http::uri::Scheme as UriScheme;
use node_credentials::{
    Delegation, Expected, HEALTH_SERVICE, PublicKeyInfo, SignedDelegation, Token, is_about_credentials,
    server_name, tls_fault,
};
use protocol::cluster::ModelInfos;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

use crate::address::Address;
use crate::security::{Gateway, MutualTls, Scheme, Security};
use crate::stream::{NodeStream, is_tls_record, tls_error_in};
use crate::transport::in_words;

/// A token serves calls for this long: signing takes longer than most calls, and nodes take tokens of half a minute.
const REUSE_TOKEN: Duration = Duration::from_secs(5);

/// How long a node may take to show whether it speaks TLS.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Why there is no trusted connection.
#[derive(Debug)]
pub(crate) enum Distrust {
    /// One side does not accept who the other is.
    Credentials(String),
    /// There is no connection to speak of.
    Connection(String),
}

/// The security of one model's node.
#[derive(Debug)]
pub(crate) struct Guard {
    security: Security,
    model_id: ModelId,
    /// As last announced.
    infos: Arc<RwLock<ModelInfos>>,
    token: Mutex<Option<(Timestamp, Token)>>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The key of the certificate that it showed with mutual TLS.
    public_key: Option<PublicKeyInfo>,
    /// The delegation that was accepted last, and for whom.
    accepted: Option<Accepted>,
}

#[derive(Debug)]
struct Accepted {
    signed: SignedDelegation,
    said: Delegation,
    wallet: Option<String>,
    hotkey: Option<String>,
}

impl Guard {
    pub fn new(security: Security, model_id: ModelId, infos: Arc<RwLock<ModelInfos>>) -> Self {
        Guard { security, model_id, infos, token: Mutex::default() }
    }

    /// Makes of a TCP connection one that requests can be sent on.
    pub async fn secure(&self, address: &Address, stream: TcpStream) -> Result<(NodeStream, Peer), Distrust> {
        match self.security.scheme() {
            Scheme::Plain => Ok((NodeStream::plain(stream), Peer::default())),
            Scheme::MutualTls(tls) => {
                let name = server_name(self.model_id.as_str())
                    .map_err(|error| Distrust::Credentials(error.to_string()))?;
                handshake(tls.identity.current().config.clone(), name, stream).await
            }
            Scheme::Gateway(gateway) => {
                let (host, _) = address.socket();
                let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                    Distrust::Connection(format!("no certificate can be for the host `{host}`"))
                })?;
                handshake(gateway.tls.config.clone(), name, stream).await
            }
        }
    }

    /// Scheme and authority of requests. With mutual TLS the authority is the name in the certificate, as the public client
    /// has it, whatever the node's address is.
    pub fn origin(&self, address: &Address) -> (UriScheme, String) {
        match self.security.scheme() {
            Scheme::Plain => (UriScheme::HTTP, address.to_string()),
            Scheme::Gateway(_) => (UriScheme::HTTPS, address.to_string()),
            Scheme::MutualTls(_) => {
                let name = server_name(self.model_id.as_str());
                (
                    UriScheme::HTTPS,
                    name.map_or_else(|_| address.to_string(), |name| name.to_str().into_owned()),
                )
            }
        }
    }

    /// Adds to a request's metadata what tells the node who we are; an error tells in words that our key cannot.
    pub fn sign(&self, headers: &mut HeaderMap) -> Result<(), String> {
        if let Scheme::Gateway(gateway) = self.security.scheme() {
            self.token(gateway)?.insert_into(headers);
        }
        Ok(())
    }

    fn token(&self, gateway: &Gateway) -> Result<Token, String> {
        let now = gateway.now();
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_at, token)) = &*kept
            && now >= *made_at
            && now.since(*made_at) < REUSE_TOKEN
        {
            return Ok(token.clone());
        }
        let token = gateway.signer.current().token(self.model_id.as_str(), now);
        let token = token.map_err(|fault| format!("no token can be made for the gateway: {fault}"))?;
        *kept = Some((now, token.clone()));
        Ok(token)
    }

    /// Accepts an answer by its head, before anything else of it is looked at; an error tells in words why not. `status` is
    /// the gRPC status of an answer that is nothing but a head.
    pub fn accept(
        &self,
        peer: &mut Peer,
        path: &str,
        headers: &HeaderMap,
        status: Option<&Status>,
    ) -> Result<(), String> {
        let Scheme::MutualTls(tls) = self.security.scheme() else { return Ok(()) };
        let is_bare = status.is_some_and(says_nothing_of_the_model) && !SignedDelegation::is_in(headers);
        if is_bare || path.starts_with(HEALTH_SERVICE) {
            return Ok(());
        }
        self.accept_delegation(tls, peer, headers)
    }

    fn accept_delegation(&self, tls: &MutualTls, peer: &mut Peer, headers: &HeaderMap) -> Result<(), String> {
        let now = tls.now();
        let (wallet, hotkey) = self.owner();
        if let Some(accepted) = &peer.accepted
            && (&accepted.wallet, &accepted.hotkey) == (&wallet, &hotkey)
            && accepted.signed.is_same_in(headers)
        {
            return accepted.said.check_expiry(now).map_err(|fault| fault.to_string());
        }
        peer.accepted = None;
        let public_key = peer.public_key.as_ref().ok_or("it showed no certificate")?;
        let (model_id, wallet_name, hotkey_name) =
            (self.model_id.as_str(), wallet.as_deref(), hotkey.as_deref());
        let expected = Expected { wallet: wallet_name, hotkey: hotkey_name, model_id, public_key };
        let signed = SignedDelegation::from_headers(headers).map_err(|fault| fault.to_string())?;
        let said = signed.verify(&expected, now).map_err(|fault| fault.to_string())?;
        peer.accepted = Some(Accepted { signed, said, wallet, hotkey });
        Ok(())
    }

    /// Wallet and hotkey of the cruncher, as last announced.
    fn owner(&self) -> (Option<String>, Option<String>) {
        let infos = self.infos.read().unwrap_or_else(PoisonError::into_inner);
        (infos.cruncher_wallet_pubkey.clone(), infos.cruncher_hotkey.clone())
    }

    /// True when we show nodes a certificate of ours.
    pub fn shows_certificate(&self) -> bool {
        matches!(self.security.scheme(), Scheme::MutualTls(_))
    }

    /// True when nodes are called without TLS.
    pub fn is_plain(&self) -> bool {
        matches!(self.security.scheme(), Scheme::Plain)
    }
}

/// A node's gRPC layer refuses by such a status alone what never reaches the service: busy, too large, shutting down, or our
/// credentials. All of them mean that there is no answer, whoever says so. The others would be acted on as the model's word.
fn says_nothing_of_the_model(status: &Status) -> bool {
    !matches!(status.code(), Code::Ok | Code::FailedPrecondition | Code::InvalidArgument)
}

async fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
) -> Result<(NodeStream, Peer), Distrust> {
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| refused(&error))?;
    let (_, connection) = stream.get_ref();
    if connection.alpn_protocol() != Some(b"h2") {
        return Err(Distrust::Connection("it does not offer HTTP/2 (ALPN h2)".to_owned()));
    }
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let public_key = certificate.map(PublicKeyInfo::of_certificate).transpose();
    let public_key = public_key.map_err(|error| Distrust::Credentials(tls_fault(&error)))?;
    Ok((NodeStream::tls(stream), Peer { public_key, accepted: None }))
}

fn refused(error: &io::Error) -> Distrust {
    match tls_error_in(error) {
        Some(error) if is_about_credentials(error) => Distrust::Credentials(tls_fault(error)),
        Some(error) => Distrust::Connection(tls_fault(error)),
        None => Distrust::Connection(format!(
            "it hung up in the TLS handshake, as nodes without TLS do: {}",
            in_words(error)
        )),
    }
}

/// True when a new connection to this address answers the beginning of a TLS handshake as TLS does.
pub(crate) async fn speaks_tls(address: &Address) -> bool {
    let answer = timeout(PROBE_PATIENCE, answer_to_hello(address)).await;
    matches!(answer, Ok(Ok(start)) if is_tls_record(&start))
}

async fn answer_to_hello(address: &Address) -> io::Result<[u8; 2]> {
    let hello = client_hello().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(address.socket()).await?;
    stream.write_all(&hello).await?;
    let mut start = [0; 2];
    stream.read_exact(&mut start).await?;
    Ok(start)
}

/// Nothing is trusted: only the kind of the answer is looked at.
fn client_hello() -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("model-node.crunchdao.internal")?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name)?.write_tls(&mut hello)?;
    Ok(hello)
}
