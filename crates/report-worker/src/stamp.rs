//! Numbers that tell one state of what was read from another.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// One state of a value: as long as the stamp is the same, so is the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// One that never was before.
    pub(crate) fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Stamp(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// That of a value which is itself at hand: another one has another stamp. No fresh one is equal to it.
    pub(crate) fn of(value: &impl Hash) -> Self {
        const NEVER_FRESH: u64 = 1 << 63;
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Stamp(hasher.finish() | NEVER_FRESH)
    }
}

/// The states of everything that an answer is made from: answers to one request with equal bases are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Basis(Box<[Stamp]>);

impl From<Vec<Stamp>> for Basis {
    fn from(stamps: Vec<Stamp>) -> Self {
        Basis(stamps.into())
    }
}

impl<const N: usize> From<[Stamp; N]> for Basis {
    fn from(stamps: [Stamp; N]) -> Self {
        Basis(stamps.into())
    }
}
