//! Cursors: where a list goes on.
//!
//! A cursor is the key of the last entry that was sent, with a letter that says of which kind, as opaque text: later versions may
//! go on by something else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{DeploymentId, LedgerPosition, ModelId, RoundId, Timestamp};
use serde::Deserialize;
use uuid::Uuid;

/// What a list is sorted by.
pub(crate) trait Key: Sized {
    /// Tells cursors of one kind from those of another; a new letter when the meaning changes.
    const KIND: u8;

    fn to_bytes(&self) -> Vec<u8>;

    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl Key for RoundId {
    const KIND: u8 = b'r';

    fn to_bytes(&self) -> Vec<u8> {
        self.as_uuid().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Uuid::from_slice(bytes).ok().map(RoundId::from_uuid)
    }
}

impl Key for ModelId {
    const KIND: u8 = b'm';

    fn to_bytes(&self) -> Vec<u8> {
        self.as_str().as_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        ModelId::new(std::str::from_utf8(bytes).ok()?).ok()
    }
}

impl Key for Timestamp {
    const KIND: u8 = b't';

    fn to_bytes(&self) -> Vec<u8> {
        self.timestamp_micros().to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let micros = i64::from_be_bytes(bytes.try_into().ok()?);
        Timestamp::from_timestamp_micros(micros).filter(|at| *at >= Timestamp::UNIX_EPOCH)
    }
}

impl Key for LedgerPosition {
    const KIND: u8 = b'p';

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        // Databases count with a sign.
        let position = u64::from_be_bytes(bytes.try_into().ok()?);
        i64::try_from(position).is_ok().then_some(LedgerPosition(position))
    }
}

/// Deployments of one model, by when they were first seen.
impl Key for (Timestamp, DeploymentId) {
    const KIND: u8 = b'd';

    fn to_bytes(&self) -> Vec<u8> {
        [&self.0.to_bytes(), self.1.as_str().as_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, id) = bytes.split_first_chunk::<8>()?;
        Some((Timestamp::from_bytes(at)?, DeploymentId::new(std::str::from_utf8(id).ok()?).ok()?))
    }
}

/// Where a list goes on: behind the entry with this key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String", bound = "K: Key")]
pub(crate) struct Cursor<K>(pub(crate) K);

impl<K: Key> Cursor<K> {
    /// The cursor to the entries behind `key`.
    pub(crate) fn text(key: K) -> String {
        let mut bytes = vec![K::KIND];
        bytes.extend(key.to_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Cuts a list that was read with one entry more than `limit` down to that many; the cursor to what follows, `None` at the
    /// end.
    pub(crate) fn cut<T>(found: &mut Vec<T>, limit: usize, key: impl FnOnce(&T) -> K) -> Option<String> {
        let is_cut = found.len() > limit;
        found.truncate(limit);
        found.last().filter(|_| is_cut).map(|last| Cursor::text(key(last)))
    }
}

impl<K: Key> TryFrom<String> for Cursor<K> {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let key = bytes.strip_prefix(&[K::KIND]).and_then(K::from_bytes);
        key.map(Cursor)
            .ok_or("`cursor` is none of this list: give what `next` of an answer says, or leave it out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_the_key_it_was_made_of() {
        let round: RoundId = "0196eafd-7000-8b01-8009-2862c22b03f7".parse().unwrap();
        assert_eq!(Cursor::try_from(Cursor::text(round)), Ok(Cursor(round)));
        for id in ["a", "modèle/7 % ?", &"x".repeat(200)] {
            let model = ModelId::new(id).unwrap();
            let text = Cursor::text(model.clone());
            assert!(
                text.len() <= 300 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            assert_eq!(Cursor::try_from(text), Ok(Cursor(model)));
        }
        let at: Timestamp = "2025-05-29T00:00:00.000001Z".parse().unwrap();
        assert_eq!(Cursor::try_from(Cursor::text(at)), Ok(Cursor(at)));
        let deployment = (at, DeploymentId::new(&"é".repeat(100)).unwrap());
        let text = Cursor::text(deployment.clone());
        assert!(text.len() <= 300, "{}", text.len());
        assert_eq!(Cursor::try_from(text), Ok(Cursor(deployment)));
    }

    #[test]
    fn a_cursor_of_another_list_or_none_at_all_is_refused() {
        let round: RoundId = "0196eafd-7000-8b01-8009-2862c22b03f7".parse().unwrap();
        assert!(Cursor::<ModelId>::try_from(Cursor::text(round)).is_err());
        let model = Cursor::text(ModelId::new("m").unwrap());
        for text in [model.as_str(), "", "r", "%%%", "cg", "cgA"] {
            assert!(Cursor::<RoundId>::try_from(text.to_owned()).is_err(), "{text}");
            assert!(Cursor::<Timestamp>::try_from(text.to_owned()).is_err(), "{text}");
            assert!(Cursor::<(Timestamp, DeploymentId)>::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
