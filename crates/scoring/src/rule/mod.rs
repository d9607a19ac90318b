//! Scoring rules: one file each; a new one is a file and a line in `RULES`.

mod crps;

use std::fmt;

use crate::Density;

/// How a density is judged against what happened. Lower is better for every rule.
pub trait Rule: Sync {
    /// Its name in the configuration.
    fn id(&self) -> &'static str;
    /// Raised whenever its numbers change: scores of different versions are never mixed.
    fn version(&self) -> u32;
    /// The score of `density` when the move was `x`; may be infinite.
    fn score(&self, density: &Density, x: f64) -> f64;
    /// True when scores below zero occur, so that multiples of a median mean nothing.
    fn can_be_negative(&self) -> bool;
}

const RULES: &[&dyn Rule] = &[&crps::Crps];

/// A name that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no scoring rule: use {}", rule_names())]
pub struct UnknownRule {
    name: String,
}

fn rule_names() -> String {
    RULES.iter().map(|rule| rule.id()).collect::<Vec<_>>().join(", ")
}

/// The rule of this name.
pub fn rule(id: &str) -> Result<&'static dyn Rule, UnknownRule> {
    RULES.iter().copied().find(|rule| rule.id() == id).ok_or_else(|| UnknownRule { name: id.into() })
}

impl fmt::Display for dyn Rule {
    /// Name and version as every score carries them: `crps/1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id(), self.version())
    }
}

impl fmt::Debug for dyn Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_by_name_and_shown_with_their_version() {
        assert_eq!(rule("crps").unwrap().to_string(), "crps/1");
        let error = rule("CRPS").unwrap_err().to_string();
        assert_eq!(error, "`CRPS` is no scoring rule: use crps");
    }
}
