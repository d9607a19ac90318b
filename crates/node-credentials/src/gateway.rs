//! Tokens with which a coordinator proves who it is to a node behind a gateway.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use crate::certificate::{KeyHash, PublicKeyInfo};
use crate::error::CredentialsError;
use crate::expiry::{Expiry, Perishable};
use crate::watched::Watched;

const MESSAGE: HeaderName = HeaderName::from_static("x-gateway-auth-message");
const SIGNATURE: HeaderName = HeaderName::from_static("x-gateway-auth-signature");
const PUBLIC_KEY: HeaderName = HeaderName::from_static("x-gateway-auth-pubkey");

/// Older tokens are refused, and also those that are as far in the future.
pub const MAX_TOKEN_AGE: Duration = Duration::from_secs(30);

/// A token as it travels in metadata, nothing of it checked; each part in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The JSON that was signed.
    message: HeaderValue,
    /// RSA PKCS#1 v1.5 with SHA-256 over the JSON's bytes.
    signature: HeaderValue,
    /// The key to verify it with, a `SubjectPublicKeyInfo` in DER.
    public_key: HeaderValue,
}

/// The JSON of a token, in this order and without spaces.
#[derive(Serialize, Deserialize)]
struct Claim<'a> {
    model_id: std::borrow::Cow<'a, str>,
    /// Unix seconds.
    timestamp: i64,
}

/// The coordinator's end: signs tokens with its RSA key.
#[derive(Debug)]
pub struct TokenSigner {
    key: KeyPair,
    public_key: PublicKeyInfo,
}

impl TokenSigner {
    /// Reads the key in this file and follows its changes.
    pub fn watch(path: &Path) -> Result<Watched<Self>, CredentialsError> {
        Watched::open(vec![path.to_owned()], Duration::ZERO, |files| {
            let (path, pem) = files.get(0);
            Self::from_pem(path, pem)
        })
    }

    /// Reads a private RSA key of at least 2048 bits, PKCS#8 or PKCS#1, in PEM.
    pub fn from_pem(path: &Path, pem: &[u8]) -> Result<Self, CredentialsError> {
        let unreadable =
            |why: &dyn std::fmt::Display| CredentialsError::new(path, format!("no private key: {why}"));
        let refused = |why: &dyn std::fmt::Display| {
            CredentialsError::new(path, format!("no RSA key of 2048 bits or more: {why}"))
        };
        let key = match PrivateKeyDer::from_pem_slice(pem).map_err(|why| unreadable(&why))? {
            PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            _ => return Err(refused(&"it is of another kind")),
        };
        let key = key.map_err(|why| refused(&why))?;
        let spki = key.public_key().as_der().map_err(|why| refused(&why))?;
        Ok(TokenSigner { public_key: PublicKeyInfo::from_der(spki.as_ref()), key })
    }

    /// The key that nodes have to know.
    pub fn public_key(&self) -> &PublicKeyInfo {
        &self.public_key
    }

    /// A token for one model, good for [`MAX_TOKEN_AGE`] from `now`. Takes about a millisecond.
    pub fn token(&self, model_id: &str, now: Timestamp) -> Result<Token, TokenFault> {
        let claim = Claim { model_id: model_id.into(), timestamp: now.timestamp() };
        let message = serde_json::to_vec(&claim).map_err(|why| unreadable("message", why))?;
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature)
            .map_err(|_| TokenFault::Signing)?;
        Ok(Token {
            message: encoded("message", &message)?,
            signature: encoded("signature", &signature)?,
            public_key: encoded("public key", self.public_key.as_der())?,
        })
    }
}

/// Why a token is not accepted, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// There is none, or a part is missing or there twice.
    #[error("the call carries no `{0}` exactly once: set the coordinator's security to gateway")]
    Header(&'static str),
    /// A part cannot be decoded.
    #[error("the {part} of the token cannot be read: {why}")]
    Unreadable {
        /// Which part.
        part: &'static str,
        /// Why.
        why: String,
    },
    /// Signed with a key that this node does not know.
    #[error("the token was signed with the key {0}, which is not among this node's coordinator keys")]
    UnknownKey(KeyHash),
    /// The signature is not of that key.
    #[error("the signature of the token does not hold")]
    Signature,
    /// Made for another model.
    #[error("the token is for model {presented}, this is model {expected}")]
    Model {
        /// As signed.
        presented: String,
        /// As it should be.
        expected: String,
    },
    /// Too old, or from a clock that is ahead.
    #[error("the token is {age_s} s old, not between -{max} and {max}: compare the clocks", max = MAX_TOKEN_AGE.as_secs())]
    Age {
        /// Negative when it is from the future.
        age_s: i64,
    },
    /// Our own key cannot sign.
    #[error("the key cannot sign")]
    Signing,
}

impl Token {
    /// The token in a call's metadata.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, TokenFault> {
        let one = |name: &HeaderName, known: &'static str| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) if !value.is_empty() => Ok(value.clone()),
                _ => Err(TokenFault::Header(known)),
            }
        };
        Ok(Token {
            message: one(&MESSAGE, "x-gateway-auth-message")?,
            signature: one(&SIGNATURE, "x-gateway-auth-signature")?,
            public_key: one(&PUBLIC_KEY, "x-gateway-auth-pubkey")?,
        })
    }

    /// Puts the token into a call's metadata.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        headers.insert(MESSAGE, self.message.clone());
        headers.insert(SIGNATURE, self.signature.clone());
        headers.insert(PUBLIC_KEY, self.public_key.clone());
    }

    /// Accepts the token if one of `keys` signed it for this model, at most [`MAX_TOKEN_AGE`] before or after `now`.
    pub fn verify(&self, model_id: &str, keys: &CoordinatorKeys, now: Timestamp) -> Result<(), TokenFault> {
        let public_key = PublicKeyInfo::from_der(&decoded("public key", &self.public_key)?);
        if !keys.contains(&public_key) {
            return Err(TokenFault::UnknownKey(public_key.hash()));
        }
        let message = decoded("message", &self.message)?;
        let signature = decoded("signature", &self.signature)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public_key.as_der())
            .verify(&message, &signature)
            .map_err(|_| TokenFault::Signature)?;
        let claim: Claim<'_> = serde_json::from_slice(&message).map_err(|why| unreadable("message", why))?;
        claim.check(model_id, now)
    }
}

impl Claim<'_> {
    fn check(&self, model_id: &str, now: Timestamp) -> Result<(), TokenFault> {
        if self.model_id != model_id {
            let (presented, expected) = (crate::excerpt(&self.model_id), crate::excerpt(model_id));
            return Err(TokenFault::Model { presented, expected });
        }
        let age_s = now.timestamp().saturating_sub(self.timestamp);
        if age_s.unsigned_abs() > MAX_TOKEN_AGE.as_secs() {
            return Err(TokenFault::Age { age_s });
        }
        Ok(())
    }
}

fn unreadable(part: &'static str, why: impl ToString) -> TokenFault {
    TokenFault::Unreadable { part, why: crate::excerpt(&why.to_string()) }
}

fn decoded(part: &'static str, value: &HeaderValue) -> Result<Vec<u8>, TokenFault> {
    BASE64_STANDARD.decode(value.as_bytes()).map_err(|why| unreadable(part, why))
}

fn encoded(part: &'static str, bytes: &[u8]) -> Result<HeaderValue, TokenFault> {
    HeaderValue::from_str(&BASE64_STANDARD.encode(bytes)).map_err(|why| unreadable(part, why))
}

/// The keys of the coordinators that a node takes calls from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorKeys(Vec<KeyHash>);

impl CoordinatorKeys {
    /// Reads a file with the SHA-256 of one public key (DER SubjectPublicKeyInfo) in hexadecimal per line. Empty lines, what
    /// follows a `#` and the file name that `sha256sum` prints behind a hash, which is `-` here, do not count.
    pub fn read(path: &Path, contents: &[u8]) -> Result<Self, CredentialsError> {
        let text = str::from_utf8(contents).map_err(|why| CredentialsError::new(path, why))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let hashes = lines.filter(|line| !line.is_empty()).map(|line| {
            let hash = line.strip_suffix('-').map_or(line, str::trim_end);
            hash.parse::<KeyHash>()
        });
        let hashes = hashes.collect::<Result<Vec<_>, _>>();
        let hashes = hashes.map_err(|why| CredentialsError::new(path, why))?;
        if hashes.is_empty() {
            let fault = "it names no key: write the SHA-256 of the coordinator's public key in it";
            return Err(CredentialsError::new(path, fault));
        }
        Ok(CoordinatorKeys(hashes))
    }

    /// Reads the keys in this file and follows its changes.
    pub fn watch(path: &Path) -> Result<Watched<Self>, CredentialsError> {
        Watched::open(vec![path.to_owned()], Duration::ZERO, |files| {
            let (path, contents) = files.get(0);
            Self::read(path, contents)
        })
    }

    /// True when this key is one of them.
    pub fn contains(&self, key: &PublicKeyInfo) -> bool {
        self.0.contains(&key.hash())
    }
}

impl Perishable for TokenSigner {
    fn expiries(&self) -> &[Expiry] {
        &[]
    }
}

impl Perishable for CoordinatorKeys {
    fn expiries(&self) -> &[Expiry] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::TimestampExt;
    use rcgen::RsaKeySize;

    fn pem() -> String {
        let size = RsaKeySize::_2048;
        rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap().serialize_pem()
    }

    fn signer() -> TokenSigner {
        TokenSigner::from_pem(Path::new("key.pem"), pem().as_bytes()).unwrap()
    }

    fn keys(signers: &[&TokenSigner]) -> CoordinatorKeys {
        let lines = signers.iter().map(|signer| format!("{} # known\n\n", signer.public_key().hash()));
        CoordinatorKeys::read(Path::new("keys"), lines.collect::<String>().as_bytes()).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_token_is_the_json_of_the_public_client_with_its_signature_and_key() {
        let signer = signer();
        let token = signer.token("7", at(0)).unwrap();
        let message = BASE64_STANDARD.decode(token.message.as_bytes()).unwrap();
        assert_eq!(message, br#"{"model_id":"7","timestamp":1800000000}"#);
        let mut headers = HeaderMap::new();
        token.insert_into(&mut headers);
        assert_eq!(Token::from_headers(&headers).unwrap(), token);
        headers.append(SIGNATURE, HeaderValue::from_static("x"));
        assert_eq!(Token::from_headers(&headers), Err(TokenFault::Header("x-gateway-auth-signature")));
    }

    #[test]
    fn a_token_holds_for_thirty_seconds() {
        let signer = signer();
        let token = signer.token("7", at(0)).unwrap();
        let verified = |seconds| token.verify("7", &keys(&[&signer]), at(seconds));
        assert_eq!(verified(30), Ok(()));
        assert_eq!(verified(31), Err(TokenFault::Age { age_s: 31 }));
        assert_eq!(verified(-30), Ok(()));
        assert_eq!(verified(-31), Err(TokenFault::Age { age_s: -31 }));
    }

    #[test]
    fn a_token_is_for_one_model_and_of_a_known_key() {
        let (ours, other) = (signer(), signer());
        let token = other.token("7", at(0)).unwrap();
        assert_eq!(token.verify("7", &keys(&[&ours, &other]), at(0)), Ok(()));
        assert!(matches!(token.verify("8", &keys(&[&other]), at(0)), Err(TokenFault::Model { .. })));
        let unknown = TokenFault::UnknownKey(other.public_key().hash());
        assert_eq!(token.verify("7", &keys(&[&ours]), at(0)), Err(unknown));
        let forged = Token { public_key: ours.token("7", at(0)).unwrap().public_key, ..token.clone() };
        assert_eq!(forged.verify("7", &keys(&[&ours]), at(0)), Err(TokenFault::Signature));
        let later = Token { message: other.token("7", at(60)).unwrap().message, ..token };
        assert_eq!(later.verify("7", &keys(&[&other]), at(60)), Err(TokenFault::Signature));
    }

    #[test]
    fn only_rsa_keys_sign_and_a_wrong_file_is_named() {
        let refused =
            |pem: &str| TokenSigner::from_pem(Path::new("key.pem"), pem.as_bytes()).unwrap_err().to_string();
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert!(refused(&elliptic).starts_with("key.pem: no RSA key of 2048 bits or more"));
        assert!(refused("").starts_with("key.pem: no private key"));
        let no_keys =
            |text: &str| CoordinatorKeys::read(Path::new("keys"), text.as_bytes()).unwrap_err().to_string();
        assert!(no_keys("# none yet\n").starts_with("keys: it names no key"));
        assert!(no_keys("abc").contains("`abc` is no SHA-256"));
    }

    #[test]
    fn a_line_of_keys_is_what_sha256sum_prints_or_the_hash_alone() {
        let signer = signer();
        let key = signer.public_key();
        let known =
            |text: String| CoordinatorKeys::read(Path::new("keys"), text.as_bytes()).unwrap().contains(key);
        for line in ["{}", "{}  -\n", " {}\t# ours\n", "# ours\n\n{}  - # ours\n"] {
            assert!(known(line.replace("{}", &key.hash().to_string())), "{line:?}");
        }
        for bad in ["{} x", "{} {}", "-"] {
            let text = bad.replace("{}", &key.hash().to_string());
            assert!(CoordinatorKeys::read(Path::new("keys"), text.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
