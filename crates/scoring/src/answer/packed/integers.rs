//! A column of integers in as few bits as tell them apart: each as its distance from the least of them or, where that is
//! shorter, the differences between neighbours in the same way.

use super::UnreadableAnswer;
use super::input::{Input, write_integer};

/// In the byte that has the width: neighbours are told apart.
const DIFFERENCES: u8 = 0x80;

/// How a column is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coding {
    /// The least value, or the least difference in two's complement.
    least: u64,
    /// Bits a value.
    width: u32,
    are_differences: bool,
    /// Bits in all.
    bits: u64,
}

impl Coding {
    /// The shorter one.
    pub fn of(values: &[u64]) -> Self {
        let plain = Coding::of_values(values);
        let differences = Coding::of_differences(values);
        if differences.bits < plain.bits { differences } else { plain }
    }

    fn of_values(values: &[u64]) -> Self {
        let (mut least, mut greatest) = (u64::MAX, 0);
        for &value in values {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        Coding::between(least.min(greatest), greatest, values.len(), false)
    }

    fn of_differences(values: &[u64]) -> Self {
        let (mut least, mut greatest) = (i64::MAX, i64::MIN);
        for difference in differences(values) {
            (least, greatest) = (least.min(difference as i64), greatest.max(difference as i64));
        }
        let count = values.len().saturating_sub(1);
        let coding = Coding::between(least.min(greatest) as u64, greatest as u64, count, true);
        // The first value stands before them.
        Coding { bits: coding.bits.saturating_add(u64::from(u64::BITS)), ..coding }
    }

    fn between(least: u64, greatest: u64, count: usize, are_differences: bool) -> Self {
        let width = u64::BITS - greatest.wrapping_sub(least).leading_zeros();
        Coding { least, width, are_differences, bits: u64::from(width) * count as u64 }
    }

    /// How long the column becomes, about.
    pub fn bits(self) -> u64 {
        self.bits
    }

    /// Writes the column of which this is the coding.
    pub fn write(self, values: &[u64], out: &mut Vec<u8>) {
        out.push(self.width as u8 | if self.are_differences { DIFFERENCES } else { 0 });
        if self.are_differences {
            write_integer(values.first().copied().unwrap_or_default(), out);
            write_integer(zigzag(self.least), out);
            write_bits(differences(values).map(|value| value.wrapping_sub(self.least)), self.width, out);
        } else {
            write_integer(self.least, out);
            write_bits(values.iter().map(|value| value.wrapping_sub(self.least)), self.width, out);
        }
    }
}

fn differences(values: &[u64]) -> impl Iterator<Item = u64> {
    values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))
}

/// Small for small numbers of both signs.
fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ ((difference as i64 >> 63) as u64)
}

fn back_from_zigzag(code: u64) -> u64 {
    (code >> 1) ^ (code & 1).wrapping_neg()
}

/// Reads a column of `count` integers, instead of what is in `values`.
pub(super) fn read(
    input: &mut Input<'_>,
    count: usize,
    values: &mut Vec<u64>,
) -> Result<(), UnreadableAnswer> {
    let head = input.byte()?;
    let width = u32::from(head & !DIFFERENCES);
    if width > u64::BITS {
        return Err(UnreadableAnswer::Damaged(format!("no integer has {width} bits")));
    }
    values.clear();
    if head & DIFFERENCES == 0 {
        let least = input.integer()?;
        return read_bits(input, count, width, |code| values.push(least.wrapping_add(code)));
    }
    let mut value = input.integer()?;
    let least = back_from_zigzag(input.integer()?);
    values.push(value);
    read_bits(input, count.saturating_sub(1), width, |code| {
        value = value.wrapping_add(least).wrapping_add(code);
        values.push(value);
    })
}

/// The low `width` bits of each, one after the other from the lowest bit of the first byte on.
fn write_bits(codes: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut pending, mut filled) = (0u128, 0);
    for code in codes {
        pending |= u128::from(code) << filled;
        filled += width;
        if filled >= u64::BITS {
            out.extend_from_slice(&(pending as u64).to_le_bytes());
            pending >>= u64::BITS;
            filled -= u64::BITS;
        }
    }
    out.extend_from_slice(&(pending as u64).to_le_bytes()[..filled.div_ceil(8) as usize]);
}

fn read_bits(
    input: &mut Input<'_>,
    count: usize,
    width: u32,
    mut each: impl FnMut(u64),
) -> Result<(), UnreadableAnswer> {
    let bits = (count as u64).saturating_mul(u64::from(width));
    let bytes = input.padded_bytes(usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX))?;
    let mask = u64::MAX.checked_shr(u64::BITS - width).unwrap_or_default();
    let mut at = 0usize;
    for _ in 0..count {
        let window = &bytes[at / 8..];
        let code = if width <= u64::BITS - 7 {
            u64::from_le_bytes(first(window)) >> (at % 8)
        } else {
            (u128::from_le_bytes(first(window)) >> (at % 8)) as u64
        };
        each(code & mask);
        at += width as usize;
    }
    Ok(())
}

/// The first ones; there is padding enough behind all that is read.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}
