//! Roll-ups: what windows are computed from, so that they cost the same whatever the age of the competition.
//!
//! They follow the changes of scores: each change has a number, which is given in the transaction that makes it, and the
//! mark of the roll-ups is the number up to which they hold everything. What is above it is rolled up next; saved twice it
//! is the same. They belong to one rule: with another one they begin anew.

use async_trait::async_trait;
use domain::{ModelNumber, RollUp, RollUpChanges, RolledHour, RolledModel, RolledRound, Sums, Timestamp};

use crate::varint::{push_number, take_number};
use crate::{ChangeNumber, Lease, Result};

/// Of what roll-ups are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollUpMark {
    /// The stamp of the scores, such as `crps/1`.
    pub rule: String,
    /// Every change up to here is in them.
    pub up_to: ChangeNumber,
    /// A full hour; rounds that resolved up to then are not in them.
    pub after: Timestamp,
}

/// Roll-ups as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRollUps {
    /// Of what they are.
    pub mark: RollUpMark,
    /// By number; every number in a roll-up is one of these.
    pub models: Vec<RolledModel>,
    /// In the order of their ends, and of parameters.
    pub hours: Vec<RolledHour>,
}

/// Roll-ups. Only the score worker that holds the lease [`LeaseName::Ranking`](crate::LeaseName::Ranking) writes them: with
/// a lease that somebody else has taken since, nothing is written, and the error is
/// [`StorageError::LeaseLost`](crate::StorageError::LeaseLost).
#[async_trait]
pub trait RollUpRepository {
    /// The roll-ups of this rule, of hours that end after `after`; `None` when there are none that reach back so far.
    async fn roll_ups(&self, rule: &str, after: Timestamp) -> Result<Option<StoredRollUps>>;

    /// The rounds in the roll-ups of the hours with these ends, in the order of resolution and id.
    async fn rolled_rounds(&self, ends: &[Timestamp]) -> Result<Vec<RolledRound>>;

    /// Saves what has changed, and of what the roll-ups are by now. What resolved up to `mark.after` goes.
    async fn save_roll_ups(&self, changes: &RollUpChanges, mark: &RollUpMark, lease: &Lease) -> Result<()>;

    /// Removes them all; in several transactions where one would hold others up, the mark in the first.
    async fn clear_roll_ups(&self, lease: &Lease) -> Result<()>;
}

/// The form of [`encode_roll_up`].
const FORM: u8 = 1;

/// The bytes of one model's two sums of floating-point numbers.
const FLOATS: usize = 16;

/// Packs a roll-up: the form, how many models, and by column their numbers as differences, their counts of predictions and of
/// valid answers (all of these in groups of seven bits), and their sums, which keep every bit.
pub fn encode_roll_up(roll_up: &RollUp) -> Vec<u8> {
    let entries = roll_up.entries();
    let mut bytes = Vec::with_capacity(8 + entries.len() * (FLOATS + 4));
    bytes.push(FORM);
    push_number(&mut bytes, entries.len() as u64);
    let mut last = 0;
    for (ModelNumber(number), _) in entries {
        push_number(&mut bytes, u64::from(number - last));
        last = number;
    }
    roll_up.entries().for_each(|(_, sums)| push_number(&mut bytes, u64::from(sums.predictions)));
    roll_up.entries().for_each(|(_, sums)| push_number(&mut bytes, u64::from(sums.valid)));
    roll_up.entries().for_each(|(_, sums)| bytes.extend(sums.relative.to_le_bytes()));
    roll_up.entries().for_each(|(_, sums)| bytes.extend(sums.raw.to_le_bytes()));
    bytes
}

/// Unpacks a roll-up of models with numbers below `models`; the error says why it cannot be.
pub fn decode_roll_up(bytes: &[u8], models: usize) -> Result<RollUp, String> {
    unpack(bytes, models)
        .ok_or_else(|| format!("these {} bytes are no roll-up of {models} models", bytes.len()))
}

fn unpack(bytes: &[u8], models: usize) -> Option<RollUp> {
    let (form, mut rest) = bytes.split_first()?;
    let mut next = || take_number(&mut rest).and_then(|number| u32::try_from(number).ok());
    let count = next()? as usize;
    if *form != FORM || count > models {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    let mut number = 0_u32;
    for place in 0..count {
        let difference = next()?;
        number = number.checked_add(difference)?;
        if number as usize >= models || (difference == 0 && place > 0) {
            return None;
        }
        entries.push((ModelNumber(number), Sums::default()));
    }
    for (_, sums) in &mut entries {
        sums.predictions = next()?;
    }
    for (_, sums) in &mut entries {
        sums.valid = next()?;
    }
    let (floats, rest) = rest.as_chunks::<8>();
    if floats.len() != 2 * count || !rest.is_empty() {
        return None;
    }
    let (relative, raw) = floats.split_at(count);
    for ((_, sums), (relative, raw)) in entries.iter_mut().zip(relative.iter().zip(raw)) {
        (sums.relative, sums.raw) = (f64::from_le_bytes(*relative), f64::from_le_bytes(*raw));
    }
    Some(RollUp::new(entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roll_up() -> RollUp {
        let odd = [0.1 + 0.2, 5e-324, f64::MAX, -0.0];
        let entries = [0, 1, 300, u32::MAX - 1].into_iter().zip(odd).map(|(number, value)| {
            let sums = Sums { relative: value, raw: -value, predictions: number, valid: number / 2 };
            (ModelNumber(number), sums)
        });
        RollUp::new(entries.rev().collect())
    }

    #[test]
    fn a_roll_up_comes_back_to_the_bit() {
        for roll_up in [roll_up(), RollUp::default()] {
            let back = decode_roll_up(&encode_roll_up(&roll_up), u32::MAX as usize).unwrap();
            assert_eq!(format!("{back:?}"), format!("{roll_up:?}"), "also the sign of a zero");
        }
    }

    #[test]
    fn a_thousand_models_take_nineteen_bytes_each() {
        let entries =
            (0..1000).map(|n| (ModelNumber(n), Sums { predictions: 60, valid: 60, ..Sums::default() }));
        assert_eq!(encode_roll_up(&RollUp::new(entries.collect())).len(), 3 + 19 * 1000);
    }

    #[test]
    fn what_is_cut_off_too_long_of_another_form_or_of_unknown_models_is_refused() {
        let whole = encode_roll_up(&roll_up());
        let models = u32::MAX as usize;
        for length in 0..whole.len() {
            assert!(decode_roll_up(&whole[..length], models).is_err(), "{length}");
        }
        assert!(decode_roll_up(&[&whole[..], &[0]].concat(), models).is_err());
        assert!(decode_roll_up(&[&[FORM + 1], &whole[1..]].concat(), models).is_err());
        assert!(decode_roll_up(&whole, models - 1).is_err());
        let twice = RollUp::new(vec![(ModelNumber(7), Sums::default()); 2]);
        assert!(decode_roll_up(&encode_roll_up(&twice), 8).is_err(), "one model twice");
        let endless = [&[FORM, 1][..], &[0xff; 6]].concat();
        assert!(decode_roll_up(&endless, models).is_err());
    }
}
