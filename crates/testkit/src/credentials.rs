//! Certificates, keys and wallets for tests.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use node_credentials::{PublicKeyInfo, SignedDelegation};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize, date_time_ymd,
};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When no key can be made, as everything here.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, rsa_key()).expect("a certificate authority"))
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with a key of its own for a host name, valid until the end of 2099.
    pub fn issue(&self, name: &str) -> Issued {
        self.issue_until(name, 2099)
    }

    /// A certificate that is valid until the beginning of a year.
    pub fn issue_until(&self, name: &str, year: i32) -> Issued {
        let key = rsa_key();
        let mut params = CertificateParams::new([name.to_owned()]).expect("a host name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            public_key: PublicKeyInfo::from_der(&key.subject_public_key_info()),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: String,
    /// What the certificate is about.
    pub public_key: PublicKeyInfo,
}

/// A private RSA key, PEM.
pub fn rsa_key_pem() -> String {
    rsa_key().serialize_pem()
}

fn rsa_key() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("an RSA key")
}

/// A Solana wallet.
pub struct Wallet(Ed25519KeyPair);

impl Wallet {
    /// The same number makes the same wallet.
    pub fn of_seed(seed: u8) -> Self {
        Wallet(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed of 32 bytes"))
    }

    /// Its public key, base58.
    pub fn name(&self) -> String {
        bs58::encode(self.0.public_key()).into_string()
    }

    /// A delegation with this message.
    pub fn sign(&self, message: &Value) -> SignedDelegation {
        let message = message.to_string();
        SignedDelegation {
            signature: BASE64_STANDARD.encode(self.0.sign(message.as_bytes())),
            message: BASE64_STANDARD.encode(message),
            wallet: self.name(),
        }
    }
}

/// A node's side of TLS, which takes every client whose certificate this authority has issued.
pub fn node_tls(authority: &Authority, own: &Issued) -> Arc<ServerConfig> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
    roots.add(root).expect("a certificate authority");
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("a private key");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_client_cert_verifier(clients.build().expect("an authority to verify with"))
        .with_single_cert(chain.expect("certificates"), key)
        .expect("a certificate and its key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// What a wallet signs for a model's node.
pub fn delegation_message(public_key: &PublicKeyInfo, model_id: &str, hotkey: &str) -> Value {
    json!({"cert_pub": BASE64_STANDARD.encode(public_key.as_der()), "hotkey": hotkey, "model_id": model_id})
}

/// Writes a coordinator's directory: `ca.crt`, `tls.crt`, `tls.key`.
pub fn write_coordinator(directory: &Path, authority: &Authority, own: &Issued) {
    write(directory, "ca.crt", &authority.pem());
    write(directory, "tls.crt", &own.certificate);
    write(directory, "tls.key", &own.key);
}

/// Writes a node's directory: `tls.crt`, `tls.key`, `delegation.json`, `coordinator-keys`.
pub fn write_node(
    directory: &Path,
    own: &Issued,
    delegation: &SignedDelegation,
    coordinators: &[&PublicKeyInfo],
) {
    write(directory, "tls.crt", &own.certificate);
    write(directory, "tls.key", &own.key);
    write(directory, "delegation.json", &json!(delegation).to_string());
    write_coordinator_keys(&directory.join("coordinator-keys"), coordinators);
}

/// Writes the keys of the coordinators that a node takes calls from.
pub fn write_coordinator_keys(path: &Path, coordinators: &[&PublicKeyInfo]) {
    let lines: String = coordinators.iter().map(|key| format!("{}\n", key.hash())).collect();
    fs::write(path, lines).expect("a file that can be written");
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).expect("a file that can be written");
}
