//! Elementary functions near the points at which their plain forms lose digits.

/// (e^y - 1) / y, and 1 at 0.
pub(in crate::distribution) fn exprel(y: f64) -> f64 {
    if y == 0.0 { 1.0 } else { libm::expm1(y) / y }
}

/// u - ln(1 + u) for u > -1, with 1 + u given as well, for its digits where u is next to -1.
pub(in crate::distribution) fn excess_over_log(u: f64, one_plus_u: f64) -> f64 {
    /// Of artanh r = r + r³/3 + r⁵/5 + …
    const COEFFICIENTS: [f64; 14] = [
        1.0 / 3.0,
        1.0 / 5.0,
        1.0 / 7.0,
        1.0 / 9.0,
        1.0 / 11.0,
        1.0 / 13.0,
        1.0 / 15.0,
        1.0 / 17.0,
        1.0 / 19.0,
        1.0 / 21.0,
        1.0 / 23.0,
        1.0 / 25.0,
        1.0 / 27.0,
        1.0 / 29.0,
    ];
    // ln(1 + u) = 2 artanh r, and u - 2 r = u r.
    let r = u / (2.0 + u);
    let terms = match r.abs() {
        ..0.05 => 7,
        0.05..=0.25 => COEFFICIENTS.len(),
        _ => return u - libm::log(one_plus_u),
    };
    let square = r * r;
    let series = COEFFICIENTS[..terms].iter().rev().fold(0.0, |sum, c| sum * square + c);
    r * (u - 2.0 * square * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The values are of 40 digits, rounded.

    fn close(ours: f64, truth: f64) -> bool {
        (ours - truth).abs() <= 4e-15 * truth.abs()
    }

    #[test]
    fn the_excess_over_the_logarithm_keeps_its_digits_at_both_ends_and_in_the_middle() {
        for (u, excess) in [
            (-0.999, 5.908_755_278_982_136),
            (-0.5, 0.193_147_180_559_945_31),
            (-0.41, 0.117_632_742_082_371_9),
            (-0.39, 0.104_296_321_814_780_13),
            (-1.0e-9, 5.000_000_003_333_334e-19),
            (1.0e-5, 4.999_966_666_916_665_5e-11),
            (0.3, 0.037_635_735_532_508_94),
            (0.66, 0.153_182_397_631_548_15),
            (0.67, 0.157_176_373_571_336_26),
            (100_000_000.0, 99_999_981.579_319_24),
        ] {
            assert!(close(excess_over_log(u, 1.0 + u), excess), "{u}: {}", excess_over_log(u, 1.0 + u));
        }
        assert!(close(excess_over_log(-1.0, 1e-300), -1.0 + 300.0 * std::f64::consts::LN_10));
    }
}
