//! How coordinators and model nodes prove to each other who they are: the messages, signatures and certificates of both
//! ends, without I/O but for reading files.
//!
//! There are two ways. With **mutual TLS** the node shows a certificate for [`server_name`] and, with each answer, a
//! [`SignedDelegation`] in which a wallet vouches for that certificate's key; the coordinator shows a certificate whose
//! key the node knows ([`PinnedClients`]). Behind a **gateway**, which ends TLS for the node, the coordinator sends a
//! signed [`Token`] with each call.
//!
//! Times are real time: certificates, delegations and tokens mean nothing in a replay's.

mod certificate;
mod delegation;
mod error;
mod expiry;
mod gateway;
mod tls;
mod watched;

pub use certificate::{Certificate, InvalidCertificate, InvalidKeyHash, KeyHash, PublicKeyInfo};
pub use delegation::{Delegation, DelegationFault, Expected, SignedDelegation, UnixSeconds};
pub use error::CredentialsError;
pub use expiry::{Expiry, Perishable};
pub use gateway::{CoordinatorKeys, MAX_TOKEN_AGE, Token, TokenFault, TokenSigner};
pub use tls::{
    ClientIdentity, GatewayTls, NodeIdentity, PinnedClients, ServerNameError, is_about_credentials,
    server_name, tls_fault,
};
pub use watched::{FileChecks, Watched};

/// The gRPC health check's service: no model's answer, so that it needs neither delegation nor token.
pub const HEALTH_SERVICE: &str = "/grpc.health.v1.Health/";

/// Enough of a foreign text to recognise it, on one line.
fn excerpt(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}
