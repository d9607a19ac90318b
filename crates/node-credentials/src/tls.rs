//! TLS on both ends: what is read from files, what is demanded of the other side, and what refusals mean.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName,
    RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme,
};

use crate::certificate::{Certificate, PublicKeyInfo};
use crate::delegation::SignedDelegation;
use crate::error::CredentialsError;
use crate::expiry::{Expiry, Perishable};
use crate::gateway::CoordinatorKeys;
use crate::watched::{Files, Watched};

/// gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// No host name can be made of a model id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no host name can be made of the model id `{0}`, so that no certificate can be for its node")]
pub struct ServerNameError(String);

/// The name that the certificate of a model's node is for: `model-node-MODEL_ID.crunchdao.internal`.
pub fn server_name(model_id: &str) -> Result<ServerName<'static>, ServerNameError> {
    let name = format!("model-node-{model_id}.crunchdao.internal");
    match ServerName::try_from(name) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        _ => Err(ServerNameError(crate::excerpt(model_id))),
    }
}

/// What a coordinator shows to model nodes with mutual TLS, and whom it trusts.
#[derive(Debug)]
pub struct ClientIdentity {
    /// Ready for connections; a host name has to be checked with it.
    pub config: Arc<ClientConfig>,
    expiries: Vec<Expiry>,
}

impl ClientIdentity {
    /// Reads `ca.crt` (who issues the nodes' certificates), `tls.crt` and `tls.key` (ours) in a directory, and warns in the
    /// log `warn_before` a certificate expires.
    pub fn watch(directory: &Path, warn_before: Duration) -> Result<Watched<Self>, CredentialsError> {
        let paths = ["ca.crt", "tls.crt", "tls.key"].map(|name| directory.join(name)).to_vec();
        Watched::open(paths, warn_before, Self::read)
    }

    fn read(files: &Files) -> Result<Self, CredentialsError> {
        let (authorities, ours) = (Chain::read(files, 0)?, Chain::read(files, 1)?);
        let (key_path, key) = private_key(files, 2)?;
        let expiries = authorities.expiries.into_iter().chain(ours.expiries).collect();
        let roots = roots(files.get(0).0, authorities.certificates)?;
        let mut config = client_builder(roots)
            .map_err(|why| CredentialsError::new(files.get(0).0, why))?
            .with_client_auth_cert(ours.certificates, key)
            .map_err(|why| key_fault(key_path, &why))?;
        finish(&mut config);
        Ok(ClientIdentity { config: Arc::new(config), expiries })
    }
}

impl Perishable for ClientIdentity {
    fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

/// Ordinary TLS towards gateways.
#[derive(Debug)]
pub struct GatewayTls {
    /// Ready for connections; a host name has to be checked with it.
    pub config: Arc<ClientConfig>,
}

impl GatewayTls {
    /// Trusts `public`, usually the system's authorities, and those in the PEM file `private`, if there is one.
    pub fn new(
        public: Vec<CertificateDer<'static>>,
        private: Option<&Path>,
    ) -> Result<Self, CredentialsError> {
        let mut roots = RootCertStore::empty();
        // authorities that cannot be read cannot be trusted either; systems have a few
        roots.add_parsable_certificates(public);
        if let Some(path) = private {
            let contents = std::fs::read(path).map_err(|why| CredentialsError::new(path, why))?;
            add_roots(&mut roots, path, certificates(path, &contents)?)?;
        }
        let path = private.unwrap_or(Path::new("the system's certificate authorities"));
        let builder = client_builder(roots).map_err(|why| CredentialsError::new(path, why))?;
        let mut config = builder.with_no_client_auth();
        finish(&mut config);
        Ok(GatewayTls { config: Arc::new(config) })
    }
}

type WantsClientCertificate = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client_builder(roots: RootCertStore) -> Result<WantsClientCertificate, String> {
    let provider = PROVIDER.clone();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|why| why.to_string())?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|why| why.to_string())?.with_webpki_verifier(verifier))
}

fn finish(config: &mut ClientConfig) {
    config.alpn_protocols = vec![ALPN.to_vec()];
    // each connection is verified anew, against the files as they are then
    config.resumption = Resumption::disabled();
}

/// What a model node shows to coordinators with mutual TLS.
#[derive(Debug)]
pub struct NodeIdentity {
    /// Ready for connections; takes only coordinators whose key the node knows.
    pub config: Arc<ServerConfig>,
    /// The key of the node's certificate.
    pub public_key: PublicKeyInfo,
    /// What the wallet says of that key.
    pub delegation: SignedDelegation,
    expiries: Vec<Expiry>,
}

impl NodeIdentity {
    /// Reads in a directory: `tls.crt` and `tls.key` (RSA, the node's), `delegation.json` (a [`SignedDelegation`]) and
    /// `coordinator-keys` (see [`CoordinatorKeys::read`]). Warns in the log `warn_before` one of them expires.
    pub fn watch(directory: &Path, warn_before: Duration) -> Result<Watched<Self>, CredentialsError> {
        let names = ["tls.crt", "tls.key", "delegation.json", "coordinator-keys"];
        Watched::open(names.map(|name| directory.join(name)).to_vec(), warn_before, Self::read)
    }

    fn read(files: &Files) -> Result<Self, CredentialsError> {
        let ours = Chain::read(files, 0)?;
        let (key_path, key) = private_key(files, 1)?;
        check_rsa(key_path, &key)?;
        let public_key = ours.public_key.clone();
        let mut expiries = ours.expiries;
        let (delegation, expiry) = delegation(files, 2, &public_key)?;
        expiries.extend(expiry);
        let (keys_path, keys) = files.get(3);
        let clients = PinnedClients::new(CoordinatorKeys::read(keys_path, keys)?);
        let mut config = ServerConfig::builder_with_provider(PROVIDER.clone())
            .with_safe_default_protocol_versions()
            .map_err(|why| CredentialsError::new(key_path, why))?
            .with_client_cert_verifier(Arc::new(clients))
            .with_single_cert(ours.certificates, key)
            .map_err(|why| key_fault(key_path, &why))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // each connection is verified anew, against the files as they are then
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(NodeIdentity { config: Arc::new(config), public_key, delegation, expiries })
    }
}

impl Perishable for NodeIdentity {
    fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }
}

fn delegation(
    files: &Files,
    index: usize,
    public_key: &PublicKeyInfo,
) -> Result<(SignedDelegation, Option<Expiry>), CredentialsError> {
    let (path, contents) = files.get(index);
    let refused = |why: &dyn fmt::Display| CredentialsError::new(path, why);
    let delegation: SignedDelegation = serde_json::from_slice(contents).map_err(|why| refused(&why))?;
    delegation.to_headers().map_err(|why| refused(&why))?;
    let said = delegation.read().map_err(|why| refused(&why))?;
    if said.public_key != *public_key {
        return Err(refused(&"its cert_pub is not the key of tls.crt: sign one for this certificate"));
    }
    let expiry = said.expires_at.and_then(|at| domain::TimestampExt::from_unix_seconds(at.0));
    Ok((delegation, expiry.map(|at| Expiry { path: path.to_owned(), at })))
}

/// Takes clients by the key of their certificate alone; who issued it and for how long does not matter.
#[derive(Debug)]
pub struct PinnedClients {
    keys: CoordinatorKeys,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedClients {
    /// Takes the owners of these keys.
    pub fn new(keys: CoordinatorKeys) -> Self {
        PinnedClients { keys, algorithms: PROVIDER.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for PinnedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.keys.contains(&PublicKeyInfo::of_certificate(certificate)?) {
            return Ok(ClientCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificates of one file, the owner's first.
struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    public_key: PublicKeyInfo,
    expiries: Vec<Expiry>,
}

impl Chain {
    fn read(files: &Files, index: usize) -> Result<Self, CredentialsError> {
        let (path, contents) = files.get(index);
        let certificates = certificates(path, contents)?;
        let read = certificates.iter().map(Certificate::read).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|why| CredentialsError::new(path, why))?;
        let first =
            read.first().ok_or_else(|| CredentialsError::new(path, "there is no certificate in it"))?;
        let public_key = first.public_key.clone();
        let expiries =
            read.iter().map(|read| Expiry { path: path.to_owned(), at: read.expires_at }).collect();
        Ok(Chain { certificates, public_key, expiries })
    }
}

fn certificates(path: &Path, contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let read = CertificateDer::pem_slice_iter(contents).collect::<Result<Vec<_>, pem::Error>>();
    let certificates = read.map_err(|why| CredentialsError::new(path, why))?;
    if certificates.is_empty() {
        return Err(CredentialsError::new(path, "there is no certificate in it: it must be PEM"));
    }
    Ok(certificates)
}

fn private_key(files: &Files, index: usize) -> Result<(&Path, PrivateKeyDer<'static>), CredentialsError> {
    let (path, contents) = files.get(index);
    match PrivateKeyDer::from_pem_slice(contents) {
        Ok(key) => Ok((path, key)),
        Err(why) => Err(CredentialsError::new(
            path,
            format!("there is no private key in PEM without a password: {why}"),
        )),
    }
}

/// Public coordinators hang up on nodes with other keys.
fn check_rsa(path: &Path, key: &PrivateKeyDer<'static>) -> Result<(), CredentialsError> {
    let loaded =
        PROVIDER.key_provider.load_private_key(key.clone_key()).map_err(|why| key_fault(path, &why))?;
    match loaded.algorithm() {
        SignatureAlgorithm::RSA => Ok(()),
        other => Err(CredentialsError::new(
            path,
            format!("it is a key for {other:?}: coordinators take RSA keys only"),
        )),
    }
}

fn key_fault(path: &Path, error: &rustls::Error) -> CredentialsError {
    let fault = match error {
        rustls::Error::InconsistentKeys(_) => "it is not the key of tls.crt".to_owned(),
        other => format!("it cannot be used with tls.crt: {other}"),
    };
    CredentialsError::new(path, fault)
}

fn roots(path: &Path, certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, CredentialsError> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, path, certificates)?;
    Ok(roots)
}

fn add_roots(
    roots: &mut RootCertStore,
    path: &Path,
    certificates: Vec<CertificateDer<'static>>,
) -> Result<(), CredentialsError> {
    certificates
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate).map_err(|why| CredentialsError::new(path, why)))
}

/// True when a fault is about who one side is, rather than about the connection.
pub fn is_about_credentials(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(_) => true,
        rustls::Error::AlertReceived(alert) => refuses_certificate(*alert),
        _ => false,
    }
}

fn refuses_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}

/// What a failed handshake or a broken connection with a node means, for the coordinator's operator.
pub fn tls_fault(error: &rustls::Error) -> String {
    use CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            // the second when two authorities have one name
            Certificate::UnknownIssuer | Certificate::BadSignature => {
                "its certificate was not issued by an authority that we trust (ca.crt, or the system's for a gateway)".to_owned()
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                format!("its certificate has expired: it needs a new one ({fault})")
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                format!("its certificate is not valid yet: compare the clocks ({fault})")
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                format!("its certificate is for another name ({fault})")
            }
            other => format!("its certificate cannot be trusted: {other}"),
        },
        rustls::Error::AlertReceived(alert) => format!("{}: {alert:?}", alert_words(*alert)),
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS: start the node with TLS, or set security to plain".to_owned()
        }
        other => other.to_string(),
    }
}

fn alert_words(alert: AlertDescription) -> &'static str {
    use AlertDescription as Alert;
    match alert {
        Alert::NoApplicationProtocol => "it does not offer HTTP/2 (ALPN h2)",
        Alert::UnrecognisedName => "it does not know the name that it was called by",
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "it has no version or cipher of TLS in common with us"
        }
        alert if refuses_certificate(alert) => {
            "it refused our certificate: is the SHA-256 of our tls.crt's public key registered with it, and is it valid"
        }
        _ => "it ended TLS with an alert",
    }
}
