//! Wallet delegations: a cruncher's wallet vouches for the key of its model node's certificate.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::certificate::PublicKeyInfo;
use crate::excerpt;
use domain::{Timestamp, TimestampExt};

const MESSAGE: HeaderName = HeaderName::from_static("x-server-auth-message");
const SIGNATURE: HeaderName = HeaderName::from_static("x-server-auth-signature");
const WALLET: HeaderName = HeaderName::from_static("x-server-wallet-pubkey");

/// A delegation as it travels in metadata, nothing of it checked. As JSON it is the file that the public tool
/// `crunch-certificate sign` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedDelegation {
    /// Base64 of the JSON that was signed.
    #[serde(rename = "message_b64")]
    pub message: String,
    /// Base64 of the Ed25519 signature over the JSON's bytes.
    #[serde(rename = "signature_b64")]
    pub signature: String,
    /// The wallet, which is its public key in base58.
    #[serde(rename = "wallet_pubkey_b58")]
    pub wallet: String,
}

/// What a delegation has to say to be accepted.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The wallet that the orchestrator announced.
    pub wallet: Option<&'a str>,
    /// The hotkey that the orchestrator announced.
    pub hotkey: Option<&'a str>,
    /// The model.
    pub model_id: &'a str,
    /// The key of the certificate that the node shows on this very connection.
    pub public_key: &'a PublicKeyInfo,
}

/// What a wallet has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The key that the wallet vouches for.
    pub public_key: PublicKeyInfo,
    /// For which model.
    pub model_id: Option<String>,
    /// The cruncher's hotkey.
    pub hotkey: Option<String>,
    /// From when on it is worth nothing; `None` when it never ends.
    pub expires_at: Option<UnixSeconds>,
}

/// Seconds since the unix epoch, however far away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub i64);

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_unix_seconds(self.0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S UTC")),
            None => write!(f, "{} unix seconds", self.0),
        }
    }
}

/// Why a delegation is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationFault {
    /// The answer carries none, or a part is missing or there twice.
    #[error("its answer carries no `{0}` exactly once: start the node with its wallet delegation")]
    Header(&'static str),
    /// The orchestrator does not say who the model belongs to.
    #[error("the orchestrator announced no wallet for this model, so nobody can vouch for its node")]
    NobodyExpected,
    /// Another wallet.
    #[error("it presents the wallet {presented}, the model belongs to {expected}")]
    Wallet {
        /// As it says.
        presented: String,
        /// As the orchestrator says.
        expected: String,
    },
    /// A part cannot be decoded.
    #[error("the {part} of its wallet delegation cannot be read: {why}")]
    Unreadable {
        /// Which part.
        part: &'static str,
        /// Why.
        why: String,
    },
    /// The message was not signed by the wallet, or was changed since.
    #[error("the signature of its wallet delegation does not hold: sign it again with the wallet {wallet}")]
    Signature {
        /// The wallet.
        wallet: String,
    },
    /// The wallet vouches for another key.
    #[error(
        "its wallet delegation is for another certificate: sign one for the certificate that the node shows (cert_pub)"
    )]
    PublicKey,
    /// The wallet vouches for another model.
    #[error("its wallet delegation is for {presented}, this is model {expected}")]
    Model {
        /// As signed.
        presented: String,
        /// As it should be.
        expected: String,
    },
    /// The wallet vouches for another hotkey.
    #[error("its wallet delegation names {presented}, the orchestrator announced {expected}")]
    Hotkey {
        /// As signed.
        presented: String,
        /// As the orchestrator says.
        expected: String,
    },
    /// It was valid once.
    #[error("its wallet delegation expired at {0}: sign a new one")]
    Expired(UnixSeconds),
}

impl SignedDelegation {
    /// The delegation in an answer's initial metadata.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, DelegationFault> {
        let one = |name: &HeaderName, known: &'static str| {
            let mut values = headers.get_all(name).iter();
            match (values.next().map(HeaderValue::to_str), values.next()) {
                (Some(Ok(text)), None) if !text.is_empty() => Ok(text.to_owned()),
                _ => Err(DelegationFault::Header(known)),
            }
        };
        Ok(SignedDelegation {
            message: one(&MESSAGE, "x-server-auth-message")?,
            signature: one(&SIGNATURE, "x-server-auth-signature")?,
            wallet: one(&WALLET, "x-server-wallet-pubkey")?,
        })
    }

    /// True when an answer's metadata has any part of a delegation.
    pub fn is_in(headers: &HeaderMap) -> bool {
        [MESSAGE, SIGNATURE, WALLET].iter().any(|name| headers.contains_key(name))
    }

    /// True when the answer's metadata is this delegation again, byte for byte.
    pub fn is_same_in(&self, headers: &HeaderMap) -> bool {
        Self::from_headers(headers).is_ok_and(|delegation| delegation == *self)
    }

    /// The metadata that carries it; an error names a part that no metadata can carry.
    pub fn to_headers(&self) -> Result<HeaderMap, DelegationFault> {
        let parts = [(MESSAGE, &self.message), (SIGNATURE, &self.signature), (WALLET, &self.wallet)];
        let header = |(name, text): (HeaderName, &String)| match HeaderValue::from_str(text) {
            Ok(value) => Ok((name, value)),
            Err(why) => Err(unreadable("text", why)),
        };
        parts.into_iter().map(header).collect()
    }

    /// What was signed; says nothing of who signed it.
    pub fn read(&self) -> Result<Delegation, DelegationFault> {
        payload(&decoded("message", &self.message)?)
    }

    /// Accepts the delegation if it is what is expected and has not expired at `now`.
    pub fn verify(&self, expected: &Expected<'_>, now: Timestamp) -> Result<Delegation, DelegationFault> {
        let wallet =
            expected.wallet.filter(|wallet| !wallet.is_empty()).ok_or(DelegationFault::NobodyExpected)?;
        if self.wallet != wallet {
            let (presented, expected) = (excerpt(&self.wallet), excerpt(wallet));
            return Err(DelegationFault::Wallet { presented, expected });
        }
        let message = decoded("message", &self.message)?;
        self.verify_signature(&message)?;
        let delegation = payload(&message)?;
        delegation.matches(expected)?;
        delegation.check_expiry(now)?;
        Ok(delegation)
    }

    fn verify_signature(&self, message: &[u8]) -> Result<(), DelegationFault> {
        let signature = decoded("signature", &self.signature)?;
        let wallet = bs58::decode(&self.wallet).into_vec().map_err(|why| unreadable("wallet", why))?;
        UnparsedPublicKey::new(&ED25519, wallet)
            .verify(message, &signature)
            .map_err(|_| DelegationFault::Signature { wallet: excerpt(&self.wallet) })
    }
}

impl Delegation {
    fn matches(&self, expected: &Expected<'_>) -> Result<(), DelegationFault> {
        if self.public_key != *expected.public_key {
            return Err(DelegationFault::PublicKey);
        }
        if self.model_id.as_deref() != Some(expected.model_id) {
            let presented = named("model", self.model_id.as_deref());
            return Err(DelegationFault::Model { presented, expected: excerpt(expected.model_id) });
        }
        if self.hotkey.as_deref() != expected.hotkey {
            let presented = named("hotkey", self.hotkey.as_deref());
            return Err(DelegationFault::Hotkey { presented, expected: named("hotkey", expected.hotkey) });
        }
        Ok(())
    }

    /// Refuses a delegation whose time is over at `now`.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), DelegationFault> {
        match self.expires_at {
            Some(expiry) if now.timestamp() >= expiry.0 => Err(DelegationFault::Expired(expiry)),
            _ => Ok(()),
        }
    }
}

fn named(what: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("the {what} {}", excerpt(name)),
        None => format!("no {what}"),
    }
}

fn unreadable(part: &'static str, why: impl ToString) -> DelegationFault {
    DelegationFault::Unreadable { part, why: excerpt(&why.to_string()) }
}

fn decoded(part: &'static str, text: &str) -> Result<Vec<u8>, DelegationFault> {
    BASE64_STANDARD.decode(text).map_err(|why| unreadable(part, why))
}

/// The JSON that wallets sign. More may be in it.
#[derive(Deserialize)]
struct Payload {
    cert_pub: String,
    model_id: Option<String>,
    hotkey: Option<String>,
    expires_at: Option<serde_json::Value>,
}

fn payload(message: &[u8]) -> Result<Delegation, DelegationFault> {
    let payload: Payload = serde_json::from_slice(message).map_err(|why| unreadable("message", why))?;
    let public_key = PublicKeyInfo::from_der(&decoded("cert_pub", &payload.cert_pub)?);
    let expires_at = payload.expires_at.map(|time| unix_seconds(&time)).transpose()?;
    Ok(Delegation { public_key, model_id: payload.model_id, hotkey: payload.hotkey, expires_at })
}

/// A time that cannot be read is no time in the future.
fn unix_seconds(value: &serde_json::Value) -> Result<UnixSeconds, DelegationFault> {
    let whole = value.as_i64().or_else(|| value.as_str().and_then(|digits| digits.parse().ok()));
    // the cast saturates
    let seconds = whole.or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64));
    seconds.map(UnixSeconds).ok_or_else(|| unreadable("expires_at", format!("{value} is not unix seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    struct Wallet(Ed25519KeyPair);

    impl Wallet {
        fn new(seed: u8) -> Self {
            Wallet(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
        }

        fn name(&self) -> String {
            bs58::encode(self.0.public_key()).into_string()
        }

        fn sign(&self, message: &[u8]) -> SignedDelegation {
            SignedDelegation {
                message: BASE64_STANDARD.encode(message),
                signature: BASE64_STANDARD.encode(self.0.sign(message)),
                wallet: self.name(),
            }
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000).unwrap()
    }

    fn message() -> serde_json::Value {
        json!({"cert_pub": BASE64_STANDARD.encode(b"the key"), "hotkey": "hot", "model_id": "7"})
    }

    /// What becomes of this message, signed by the right wallet.
    fn of_message(message: &serde_json::Value) -> Result<Delegation, DelegationFault> {
        let wallet = Wallet::new(1);
        verified(&wallet.sign(message.to_string().as_bytes()), &wallet.name())
    }

    fn verified(signed: &SignedDelegation, wallet: &str) -> Result<Delegation, DelegationFault> {
        let public_key = PublicKeyInfo::from_der(b"the key");
        let expected =
            Expected { wallet: Some(wallet), hotkey: Some("hot"), model_id: "7", public_key: &public_key };
        signed.verify(&expected, now())
    }

    fn changed(field: &str, value: serde_json::Value) -> Result<Delegation, DelegationFault> {
        let mut message = message();
        message[field] = value;
        of_message(&message)
    }

    /// Made with the public client's own modules: base58 of the wallet of seed 01…01, signed with cryptography's Ed25519.
    #[test]
    fn wallets_and_signatures_are_those_of_the_public_client() {
        let wallet = Wallet::new(1);
        assert_eq!(wallet.name(), "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9");
        let signed = wallet.sign(br#"{"cert_pub": "AAEC", "hotkey": "hot", "model_id": "7"}"#);
        assert_eq!(
            signed.message,
            "eyJjZXJ0X3B1YiI6ICJBQUVDIiwgImhvdGtleSI6ICJob3QiLCAibW9kZWxfaWQiOiAiNyJ9"
        );
        assert_eq!(
            signed.signature,
            "eFcrAWkL1L/o6kS34nDRAWoY68a0E/87sctTPl++bY3AGi/0GBxsTJsi7w4H2fhD61w0rLurN5oB8h9V4uv1Cg=="
        );
        assert_eq!(signed.read().unwrap().public_key.as_der(), [0, 1, 2]);
    }

    #[test]
    fn a_delegation_that_says_what_is_expected_is_accepted() {
        assert_eq!(of_message(&message()).unwrap().expires_at, None);
        assert!(changed("new_in_2027", json!([1])).is_ok());
    }

    #[test]
    fn every_part_that_is_not_as_expected_is_named() {
        let told = |field, value| changed(field, value).unwrap_err().to_string();
        assert_eq!(changed("cert_pub", json!("AAEC")), Err(DelegationFault::PublicKey));
        assert!(told("cert_pub", json!("not base64")).contains("the cert_pub of its wallet delegation"));
        assert_eq!(told("model_id", json!("8")), "its wallet delegation is for the model 8, this is model 7");
        assert_eq!(told("model_id", json!(null)), "its wallet delegation is for no model, this is model 7");
        assert!(told("model_id", json!(7)).contains("the message of its wallet delegation"));
        assert_eq!(
            told("hotkey", json!("cold")),
            "its wallet delegation names the hotkey cold, the orchestrator announced the hotkey hot"
        );
        assert!(told("hotkey", json!(null)).starts_with("its wallet delegation names no hotkey"));
        let wallet = Wallet::new(1);
        assert!(matches!(
            verified(&wallet.sign(b"[1"), &wallet.name()),
            Err(DelegationFault::Unreadable { part: "message", .. })
        ));
    }

    #[test]
    fn a_delegation_holds_until_the_second_that_it_names() {
        let second = now().timestamp();
        assert!(changed("expires_at", json!(second + 1)).is_ok());
        assert!(changed("expires_at", json!(second as f64 + 1.5)).is_ok());
        assert!(changed("expires_at", json!((second + 1).to_string())).is_ok());
        assert!(changed("expires_at", json!(null)).is_ok());
        let expired = DelegationFault::Expired(UnixSeconds(second));
        assert_eq!(changed("expires_at", json!(second)), Err(expired.clone()));
        assert_eq!(changed("expires_at", json!(second as f64 + 0.9)), Err(expired.clone()));
        assert_eq!(changed("expires_at", json!(second.to_string())), Err(expired));
        for never in [json!("next year"), json!({}), json!(true)] {
            assert!(matches!(
                changed("expires_at", never),
                Err(DelegationFault::Unreadable { part: "expires_at", .. })
            ));
        }
    }

    #[test]
    fn another_wallet_cannot_vouch() {
        let (owner, thief) = (Wallet::new(1), Wallet::new(2));
        let signed = thief.sign(message().to_string().as_bytes());
        assert!(matches!(verified(&signed, &owner.name()), Err(DelegationFault::Wallet { .. })));
        let forged = SignedDelegation { wallet: owner.name(), ..signed };
        assert_eq!(
            verified(&forged, &owner.name()),
            Err(DelegationFault::Signature { wallet: owner.name() })
        );
        let mut changed = owner.sign(message().to_string().as_bytes());
        changed.message = BASE64_STANDARD.encode(message().to_string().replace('7', "8"));
        assert!(matches!(verified(&changed, &owner.name()), Err(DelegationFault::Signature { .. })));
        let odd = SignedDelegation { wallet: "0OIl".into(), ..owner.sign(b"{}") };
        assert!(matches!(verified(&odd, "0OIl"), Err(DelegationFault::Unreadable { part: "wallet", .. })));
        assert_eq!(verified(&odd, ""), Err(DelegationFault::NobodyExpected));
    }

    #[test]
    fn metadata_carries_a_delegation_unchanged_and_whole() {
        let signed = Wallet::new(1).sign(b"{}");
        let headers = signed.to_headers().unwrap();
        assert_eq!(SignedDelegation::from_headers(&headers).unwrap(), signed);
        assert!(signed.is_same_in(&headers));
        for name in [MESSAGE, SIGNATURE, WALLET] {
            let mut partial = headers.clone();
            partial.remove(&name);
            assert!(matches!(SignedDelegation::from_headers(&partial), Err(DelegationFault::Header(_))));
            let mut twice = headers.clone();
            twice.append(&name, HeaderValue::from_static("x"));
            assert!(matches!(SignedDelegation::from_headers(&twice), Err(DelegationFault::Header(_))));
        }
    }
}
