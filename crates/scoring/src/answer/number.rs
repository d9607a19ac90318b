//! Numbers as JSON writes them, read to the last bit.

/// The value of the number at the start of `bytes` and its length; infinite when it is too large, `None` when none
/// stands there: -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
#[inline]
pub(super) fn leading(bytes: &[u8]) -> Option<(f64, usize)> {
    let mut scan = Scan { bytes, at: 0, mantissa: 0 };
    let negative = scan.eat(b'-');
    let first_digit = scan.at;
    let whole = scan.digits()?;
    if whole > 1 && bytes[first_digit] == b'0' {
        return None;
    }
    let fraction = if scan.eat(b'.') { scan.fraction()? } else { 0 };
    let end_of_digits = scan.at;
    let exponent = if scan.eat(b'e') || scan.eat(b'E') { scan.exponent()? } else { 0 };
    let digits = &bytes[first_digit..end_of_digits];
    let exact = (significant(whole + fraction, digits) <= MAX_DIGITS)
        .then(|| decimal(scan.mantissa, exponent.saturating_sub_unsigned(fraction as u64)))
        .flatten();
    let value = match exact {
        Some(size) if negative => -size,
        Some(size) => size,
        None => str::from_utf8(&bytes[..scan.at]).ok()?.parse().ok()?,
    };
    Some((value, scan.at))
}

/// So many digits fit the mantissa.
const MAX_DIGITS: usize = 19;

#[derive(Debug)]
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The digits so far as one integer, modulo 2^64.
    mantissa: u64,
}

impl Scan<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn digit(&self) -> Option<u8> {
        self.bytes.get(self.at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10)
    }

    /// The number that the next eight bytes are, if all are digits; computed for all at once, byte by byte, then pair
    /// by pair and four by four.
    fn eight_digits(&self) -> Option<u64> {
        let bytes = *self.bytes[self.at..].first_chunk::<8>()?;
        let digits = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
        let above_nine = digits.wrapping_add(0x7676_7676_7676_7676) | digits;
        if above_nine & 0x8080_8080_8080_8080 != 0 {
            return None;
        }
        let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
        let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
        Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
    }

    /// Passes one digit or more and says how many.
    #[inline]
    fn digits(&mut self) -> Option<usize> {
        let start = self.at;
        while let Some(digit) = self.digit() {
            self.mantissa = self.mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        (self.at > start).then_some(self.at - start)
    }

    /// The same where many digits are likely.
    #[inline]
    fn fraction(&mut self) -> Option<usize> {
        let start = self.at;
        while let Some(eight) = self.eight_digits() {
            self.mantissa = self.mantissa.wrapping_mul(100_000_000).wrapping_add(eight);
            self.at += 8;
        }
        self.digits();
        (self.at > start).then_some(self.at - start)
    }

    /// What follows the letter of an exponent.
    fn exponent(&mut self) -> Option<i64> {
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        let mut size = i64::from(self.digit()?);
        self.at += 1;
        while let Some(digit) = self.digit() {
            size = size.saturating_mul(10).saturating_add(i64::from(digit));
            self.at += 1;
        }
        Some(if negative { -size } else { size })
    }
}

/// How many of `count` digits, with or without a point among them, there are from the first that is not zero on.
fn significant(count: usize, digits: &[u8]) -> usize {
    if count <= MAX_DIGITS {
        return count;
    }
    count - digits.iter().take_while(|byte| matches!(byte, b'0' | b'.')).filter(|&&byte| byte == b'0').count()
}

/// mantissa · 10^exponent, correctly rounded; `None` where that is not cheap.
fn decimal(mantissa: u64, exponent: i64) -> Option<f64> {
    const EXACT_INTEGERS: u64 = 1 << f64::MANTISSA_DIGITS;
    match exponent {
        _ if mantissa == 0 => Some(0.0),
        // Both are exact as doubles, so that the one operation rounds correctly (Clinger 1990).
        0..=22 if mantissa <= EXACT_INTEGERS => Some(mantissa as f64 * POWERS_OF_TEN[exponent as usize]),
        -22..0 if mantissa <= EXACT_INTEGERS => Some(mantissa as f64 / POWERS_OF_TEN[-exponent as usize]),
        -27..0 => Some(quotient(mantissa, -exponent as usize)),
        _ => None,
    }
}

/// mantissa / 10^power for a mantissa above zero: the integer quotient by 5^power to more bits than a double has, with
/// the lowest bit set where a remainder is left, so that the conversion to a double is the only rounding.
fn quotient(mantissa: u64, power: usize) -> f64 {
    let divisor = POWERS_OF_FIVE[power];
    let (up, divisor_up) = (mantissa.leading_zeros(), divisor.leading_zeros());
    let numerator = u128::from(mantissa << up) << 63;
    let divisor = u128::from(divisor << divisor_up);
    let bits = (numerator / divisor) as u64 | u64::from(!numerator.is_multiple_of(divisor));
    let exponent = divisor_up as i32 - up as i32 - 63 - power as i32;
    bits as f64 * power_of_two(exponent)
}

/// 2^exponent for exponents of normal doubles.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

/// Those that are exact as doubles.
pub(super) const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Those that fit 64 bits.
const POWERS_OF_FIVE: [u64; 28] = {
    let mut powers = [1; 28];
    let mut k = 1;
    while k < powers.len() {
        powers[k] = 5 * powers[k - 1];
        k += 1;
    }
    powers
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(text: &str) -> u64 {
        let (value, length) = leading(text.as_bytes()).unwrap();
        assert_eq!(length, text.len(), "{text}");
        value.to_bits()
    }

    fn reference(text: &str) -> u64 {
        serde_json::from_str::<f64>(text).unwrap().to_bits()
    }

    #[test]
    fn numbers_at_the_edges_of_the_fast_ways_are_read_to_the_last_bit() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "0e99",
            "0.000000000000000000000000000000",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993e-1",
            "9007199254740993e-27",
            "18446744073709551615e-27",
            "9999999999999999999e-27",
            "9999999999999999999",
            "18446744073709551616",
            "18446744073709551617e-3",
            "1e22",
            "1e23",
            "1e-22",
            "1e-23",
            "1e-27",
            "1e-28",
            "3e-27",
            "123456789012345678e-18",
            "0.00012345678901234567",
            "1.7976931348623157e308",
            "4.9e-324",
            "2.2250738585072011e-308",
            "1e-400",
            "1E+2",
            "1e-0",
            "0.1000000000000000055511151231257827021181583404541015625",
            "9007199254740992.5",
            "9007199254740993.0",
            "4503599627370497.5",
            "9007199254740991.5",
            "1.00000000000000011102230246251565404236316680908203125",
            "1.00000000000000011102230246251565404236316680908203126",
        ] {
            assert_eq!(bits(text), reference(text), "{text}");
        }
        let long = format!("0.{}1{}", "0".repeat(300), "7".repeat(5_000));
        assert_eq!(bits(&long), reference(&long));
    }

    #[test]
    fn what_is_too_large_is_infinite() {
        for text in ["1e309", "1e999", "1e99999999999999999999999999", &"9".repeat(400)] {
            assert_eq!(bits(text), f64::INFINITY.to_bits());
        }
        assert_eq!(bits("-1e999"), f64::NEG_INFINITY.to_bits());
        assert_eq!(bits("1e-99999999999999999999999999"), 0.0_f64.to_bits());
    }

    #[test]
    fn what_json_does_not_write_is_no_number() {
        for text in ["", "-", "+1", ".5", "01", "-01", "00", "1.", "1.e5", "1e", "1e+", "-a", "x", "NaN"] {
            assert_eq!(leading(text.as_bytes()), None, "{text}");
        }
        assert_eq!(leading(b"1.5, 2"), Some((1.5, 3)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn every_double_comes_back_from_its_shortest_text(number in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            prop_assert_eq!(bits(&format!("{number:e}")), number.to_bits());
        }

        #[test]
        fn decimals_are_read_to_the_last_bit(text in "-?(0|[1-9][0-9]{0,20})([.][0-9]{1,24})?([eE][+-]?[0-9]{1,2})?") {
            prop_assert_eq!(bits(&text), reference(&text), "{}", text);
        }

        /// Decimals next to the middle of two doubles, where a quotient that forgets its remainder goes wrong.
        #[test]
        fn ties_are_broken_as_they_should(mantissa in 1u64 << 52..1 << 53, power in 1i32..11, off in -1i64..=1) {
            let middle = (2 * u128::from(mantissa) + 1) * 5u128.pow(power as u32);
            let digits = middle.checked_add_signed(off.into()).unwrap();
            let text = format!("{digits}e-{power}");
            prop_assert_eq!(bits(&text), reference(&text), "{}", text);
        }
    }
}
