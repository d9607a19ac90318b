//! A column of doubles: as decimals where all of them are short ones, otherwise by their bits. Either way each comes back
//! to the last bit.

use super::UnreadableAnswer;
use super::input::Input;
use super::integers::{self, Coding};
use crate::answer::number::POWERS_OF_TEN;

/// Each double's bits with the sign as the lowest.
const BITS: u8 = 0;
/// The power of ten that divides all of them, and their mantissas.
const DECIMALS: u8 = 1;
/// The same; trailing zeros of the mantissas stand in a column of their own.
const TRIMMED_DECIMALS: u8 = 2;
/// Added where the lowest bit of a mantissa is the sign.
const SIGNED: u8 = 4;

/// What a column costs however few bits its integers take.
const HEAD_BITS: u64 = 16;

/// Integers up to here are exact as doubles.
const EXACT_INTEGERS: u64 = 1 << f64::MANTISSA_DIGITS;

/// What as many trailing zeros stand for.
const FACTORS: [u64; 16] = {
    let mut factors = [1; 16];
    let mut k = 1;
    while k < factors.len() {
        factors[k] = 10 * factors[k - 1];
        k += 1;
    }
    factors
};

/// Appends a column.
pub(super) fn write(values: &[f64], out: &mut Vec<u8>) {
    match Decimals::of(values) {
        Some(decimals) => decimals.write(values, out),
        None => {
            let bits: Vec<u64> = values.iter().map(|value| value.to_bits().rotate_left(1)).collect();
            out.push(BITS);
            Coding::of(&bits).write(&bits, out);
        }
    }
}

/// Doubles without their signs as mantissas / 10^power. Both are exact as doubles, so that the one division gives the
/// double that is nearest to the decimal (Clinger 1990).
struct Decimals {
    power: usize,
    mantissas: Vec<u64>,
}

impl Decimals {
    fn of(values: &[f64]) -> Option<Self> {
        let mut decimals = Decimals { power: 0, mantissas: Vec::with_capacity(values.len()) };
        for value in values {
            decimals.add(value.abs())?;
        }
        Some(decimals)
    }

    fn add(&mut self, size: f64) -> Option<()> {
        let (power, mantissa) = (self.power..POWERS_OF_TEN.len())
            .map_while(|power| Some((power, rounded(size * POWERS_OF_TEN[power])?)))
            .find(|&(power, mantissa)| mantissa as f64 / POWERS_OF_TEN[power] == size)?;
        if power > self.power {
            self.rescale(power)?;
        }
        self.mantissas.push(mantissa);
        Some(())
    }

    #[cold]
    fn rescale(&mut self, power: usize) -> Option<()> {
        let factor = POWERS_OF_TEN[power - self.power] as u64;
        for mantissa in &mut self.mantissas {
            *mantissa = mantissa.checked_mul(factor).filter(|&mantissa| mantissa < EXACT_INTEGERS)?;
        }
        self.power = power;
        Some(())
    }

    fn write(mut self, values: &[f64], out: &mut Vec<u8>) {
        let is_signed = values.iter().any(|value| value.is_sign_negative());
        let (zeros, trimmed) = self.trimmed();
        let (whole, short, zeros_coding) =
            (Coding::of(&self.mantissas), Coding::of(&trimmed), Coding::of(&zeros));
        let is_trimmed = short.bits() + zeros_coding.bits() + HEAD_BITS < whole.bits();
        let kind = if is_trimmed { TRIMMED_DECIMALS } else { DECIMALS };
        out.push(kind | if is_signed { SIGNED } else { 0 });
        out.push(self.power as u8);
        let mut coding = whole;
        if is_trimmed {
            zeros_coding.write(&zeros, out);
            (self.mantissas, coding) = (trimmed, short);
        }
        if is_signed {
            self.sign(values);
            coding = Coding::of(&self.mantissas);
        }
        coding.write(&self.mantissas, out);
    }

    /// Makes the sign of each value the lowest bit of its mantissa.
    fn sign(&mut self, values: &[f64]) {
        for (mantissa, value) in self.mantissas.iter_mut().zip(values) {
            *mantissa = *mantissa << 1 | u64::from(value.is_sign_negative());
        }
    }

    /// How many zeros each mantissa ends with, and what is left without them.
    fn trimmed(&self) -> (Vec<u64>, Vec<u64>) {
        let trim = |&mantissa: &u64| {
            let (mut zeros, mut left) = (0, mantissa);
            while left != 0 && left.is_multiple_of(10) {
                left /= 10;
                zeros += 1;
            }
            (zeros, left)
        };
        self.mantissas.iter().map(trim).unzip()
    }
}

/// The nearest integer, if it is exact as a double.
fn rounded(number: f64) -> Option<u64> {
    (number < EXACT_INTEGERS as f64).then_some((number + 0.5) as i64 as u64)
}

/// Reads columns, one after the other.
#[derive(Debug, Default)]
pub(super) struct ColumnReader {
    integers: Vec<u64>,
    zeros: Vec<u64>,
}

impl ColumnReader {
    /// Reads a column into every `stride`th of `values`.
    pub fn read(
        &mut self,
        input: &mut Input<'_>,
        values: &mut [f64],
        stride: usize,
    ) -> Result<(), UnreadableAnswer> {
        let count = values.len().div_ceil(stride);
        let places = values.iter_mut().step_by(stride);
        match input.byte()? {
            BITS => self.read_bits(input, count, places),
            kind => self.read_decimals(kind, input, count, places),
        }
    }

    fn read_bits<'v>(
        &mut self,
        input: &mut Input<'_>,
        count: usize,
        places: impl Iterator<Item = &'v mut f64>,
    ) -> Result<(), UnreadableAnswer> {
        integers::read(input, count, &mut self.integers)?;
        let mut is_any_nan = false;
        for (place, bits) in places.zip(&self.integers) {
            *place = f64::from_bits(bits.rotate_right(1));
            is_any_nan |= place.is_nan();
        }
        if is_any_nan { Err(UnreadableAnswer::Damaged("a number is none".into())) } else { Ok(()) }
    }

    fn read_decimals<'v>(
        &mut self,
        kind: u8,
        input: &mut Input<'_>,
        count: usize,
        places: impl Iterator<Item = &'v mut f64>,
    ) -> Result<(), UnreadableAnswer> {
        let power = usize::from(input.byte()?);
        let divisor = *POWERS_OF_TEN
            .get(power)
            .ok_or_else(|| UnreadableAnswer::Damaged(format!("10^{power} divides no decimal")))?;
        self.zeros.clear();
        match kind & !SIGNED {
            DECIMALS => {}
            TRIMMED_DECIMALS => integers::read(input, count, &mut self.zeros)?,
            _ => return Err(UnreadableAnswer::Damaged(format!("there are no columns of kind {kind}"))),
        }
        integers::read(input, count, &mut self.integers)?;
        let sign_bits = u32::from(kind & SIGNED != 0);
        let signs = u64::from(sign_bits);
        for (mantissa, &zeros) in self.integers.iter_mut().zip(&self.zeros) {
            let factor = FACTORS.get(zeros as usize).copied().unwrap_or_default();
            *mantissa = (*mantissa >> sign_bits).wrapping_mul(factor) << sign_bits | *mantissa & signs;
        }
        for (place, code) in places.zip(&self.integers) {
            let size = (code >> sign_bits) as i64 as f64 / divisor;
            *place = f64::from_bits(size.to_bits() | (code & signs) << 63);
        }
        Ok(())
    }
}
