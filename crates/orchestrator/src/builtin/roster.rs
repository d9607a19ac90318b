//! The first N built-in models.

use domain::ModelId;

use super::catalogue::{CATALOGUE, Card};
use super::spec::{BuiltinSpec, SCALE};

/// One model of a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltinEntry {
    /// Readable, and the same in every roster that holds it.
    pub model_id: ModelId,
    /// As shown on a leaderboard.
    pub model_name: String,
    /// What it runs.
    pub spec: BuiltinSpec,
}

/// The first `n` built-in models: the distinct ones with their defaults, beyond them the same with other parameters.
/// A shorter roster is the beginning of a longer one.
pub fn roster(n: usize) -> Vec<BuiltinEntry> {
    // ids and specs are made of the catalogue's own words: none is refused, and a test reads a long roster
    (0..n).filter_map(|place| entry(CATALOGUE[place % CATALOGUE.len()], place / CATALOGUE.len())).collect()
}

/// The model of `card` in the `turn`-th turn through the catalogue, from 0.
fn entry(card: &Card, turn: usize) -> Option<BuiltinEntry> {
    let (suffix, title_suffix) = match turn {
        0 => (String::new(), String::new()),
        _ => (format!("-{}", turn + 1), format!(" {}", turn + 1)),
    };
    Some(BuiltinEntry {
        model_id: ModelId::new(&format!("{}{suffix}", card.name)).ok()?,
        model_name: format!("{}{title_suffix}", card.title),
        spec: spec_text(card, turn).parse().ok()?,
    })
}

/// The card's variants one after another; then again, each time a tenth wider.
fn spec_text(card: &Card, turn: usize) -> String {
    let variant = card.variants[turn % card.variants.len()];
    let wider = turn / card.variants.len();
    let scale = (wider > 0).then(|| format!("{SCALE}={}", (10 + wider) as f64 / 10.0));
    let parameters: Vec<&str> =
        [variant].into_iter().filter(|v| !v.is_empty()).chain(scale.as_deref()).collect();
    match parameters.as_slice() {
        [] => card.name.to_owned(),
        parameters => format!("{}:{}", card.name, parameters.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_short_roster_is_the_beginning_of_a_long_one_and_every_entry_is_its_own() {
        let long = roster(1000);
        assert_eq!(long.len(), 1000);
        assert_eq!(roster(5), long[..5]);
        assert_eq!(roster(20), long[..20]);
        let ids: Vec<&str> = long[..6].iter().map(|entry| entry.model_id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "random-walk",
                "ewma-volatility",
                "student-t",
                "two-state-mixture",
                "empirical-histogram",
                "random-walk-2"
            ]
        );
        let distinct_ids: BTreeSet<_> = long.iter().map(|entry| &entry.model_id).collect();
        let distinct_specs: BTreeSet<_> = long.iter().map(|entry| entry.spec.to_string()).collect();
        assert_eq!((distinct_ids.len(), distinct_specs.len()), (1000, 1000));
    }
}
