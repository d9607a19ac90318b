//! Names of things. Each is checked once, where it enters the system.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Span, Timestamp};

/// A name that is empty, too long or holds a character that names may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no valid {kind}: {why}")]
pub struct InvalidId {
    kind: &'static str,
    value: String,
    why: &'static str,
}

const MAX_LENGTH: usize = 200;

fn check(
    kind: &'static str,
    value: &str,
    allowed: fn(char) -> bool,
    why: &'static str,
) -> Result<Arc<str>, InvalidId> {
    let fault = |why| InvalidId { kind, value: value.chars().take(MAX_LENGTH).collect(), why };
    if value.is_empty() {
        return Err(fault("it is empty"));
    }
    if value.len() > MAX_LENGTH {
        return Err(fault("it is longer than 200 bytes"));
    }
    if !value.chars().all(allowed) {
        return Err(fault(why));
    }
    Ok(value.into())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $allowed:expr, $why:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and takes a name; 1 to 200 bytes.
            pub fn new(value: &str) -> Result<Self, InvalidId> {
                check($kind, value, $allowed, $why).map($type)
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = InvalidId;
            fn from_str(value: &str) -> Result<Self, InvalidId> {
                Self::new(value)
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidId;
            fn try_from(value: String) -> Result<Self, InvalidId> {
                Self::new(&value)
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

fn is_symbol(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
}

fn is_printable(c: char) -> bool {
    !c.is_control()
}

name!(
    /// What is priced, such as `BTC`.
    Asset, "asset", is_symbol, "it may hold letters, digits and - _ . / only"
);
name!(
    /// The competition.
    CrunchId, "crunch id", is_symbol, "it may hold letters, digits and - _ . / only"
);
name!(
    /// A participant's program, stable over its deployments.
    ModelId, "model id", is_printable, "it holds a control character"
);
name!(
    /// One start of a model's code.
    DeploymentId, "deployment id", is_printable, "it holds a control character"
);

/// The identity of a round. It follows from (crunch, asset, horizon, steps, slot instant), so that a restart or a
/// second instance means the same round; ids sort by slot instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoundId(Uuid);

/// The namespace of the name-based part; random, fixed for ever.
const ROUND_NAMESPACE: Uuid = Uuid::from_u128(0x6d1f_0b5c_93ce_4f57_8f0a_3a52_c3f1_7e94);

impl RoundId {
    /// The id of the round in which `asset` is asked at `performed_at`: an RFC 9562 version 8 UUID, the first 48 bits
    /// the unix milliseconds of the slot, the rest from the SHA-1 of the other parts.
    pub fn derive(
        crunch: &CrunchId,
        asset: &Asset,
        horizon: Span,
        steps: &[Span],
        performed_at: Timestamp,
    ) -> Self {
        let steps: Vec<String> = steps.iter().map(|step| step.as_secs().to_string()).collect();
        let name = format!(
            "{crunch}\n{asset}\n{}\n{}\n{}",
            horizon.as_secs(),
            steps.join(","),
            performed_at.timestamp()
        );
        let mut bytes = *Uuid::new_v5(&ROUND_NAMESPACE, name.as_bytes()).as_bytes();
        bytes[..6].copy_from_slice(&slot_millis(performed_at));
        RoundId(Uuid::new_v8(bytes))
    }

    /// No id of a round asked at or after `performed_at` is less than this, and every other id is: the bound between rounds
    /// asked before an instant and the rest.
    pub fn first_at(performed_at: Timestamp) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&slot_millis(performed_at));
        RoundId(Uuid::from_bytes(bytes))
    }

    /// The id as a UUID, as databases store it.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// An id that was stored before.
    pub fn from_uuid(uuid: Uuid) -> Self {
        RoundId(uuid)
    }
}

/// What ids begin with; from the year 10889 on they are all of one instant.
fn slot_millis(performed_at: Timestamp) -> [u8; 6] {
    const LAST: i64 = (1 << 48) - 1;
    let [_, _, millis @ ..] = performed_at.timestamp_millis().clamp(0, LAST).to_be_bytes();
    millis
}

impl FromStr for RoundId {
    type Err = InvalidId;
    fn from_str(value: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(value).map(RoundId).map_err(|_| InvalidId {
            kind: "round id",
            value: value.chars().take(MAX_LENGTH).collect(),
            why: "it is no UUID",
        })
    }
}

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TimestampExt;

    #[test]
    fn a_round_id_follows_from_every_part_and_from_nothing_else() {
        let crunch = CrunchId::new("condor").unwrap();
        let (btc, eth) = (Asset::new("BTC").unwrap(), Asset::new("ETH").unwrap());
        let at = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
        let hour = Span::hours(1);
        let id = |asset, horizon, steps: &[Span], at| RoundId::derive(&crunch, asset, horizon, steps, at);
        let first = id(&btc, hour, &[Span::minutes(1)], at);
        assert_eq!(first, id(&btc, hour, &[Span::minutes(1)], at));
        assert_eq!(first.to_string(), "0196eafd-7000-8b01-8009-2862c22b03f7");
        assert_ne!(first, id(&eth, hour, &[Span::minutes(1)], at));
        assert_ne!(first, id(&btc, Span::hours(4), &[Span::minutes(1)], at));
        assert_ne!(first, id(&btc, hour, &[Span::minutes(1), Span::minutes(5)], at));
        assert!(first < id(&btc, hour, &[Span::minutes(1)], at + Span::minutes(1)));
    }

    #[test]
    fn the_first_id_of_an_instant_lies_between_what_was_asked_before_and_the_rest() {
        let (crunch, btc) = (CrunchId::new("condor").unwrap(), Asset::new("BTC").unwrap());
        let at = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
        let id = |at| RoundId::derive(&crunch, &btc, Span::HOUR, &[Span::minutes(1)], at);
        assert_eq!(RoundId::first_at(at).to_string(), "0196eafd-7000-0000-0000-000000000000");
        assert!(id(at - Span::seconds(1)) < RoundId::first_at(at));
        assert!(RoundId::first_at(at) < id(at));
        assert!(RoundId::first_at(Timestamp::MIN_UTC) < id(Timestamp::MIN_UTC));
        assert!(id(at) < RoundId::first_at(Timestamp::MAX_UTC));
    }

    #[test]
    fn names_that_could_break_a_line_or_a_path_are_refused() {
        assert!(ModelId::new("a\nb").is_err());
        assert!(ModelId::new("").is_err());
        assert!(ModelId::new(&"x".repeat(201)).is_err());
        assert!(Asset::new("BTC USD").is_err());
        assert!(ModelId::new("modèle 7").is_ok());
    }
}
