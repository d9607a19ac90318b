//! Scores of many normal distributions at once.

use crate::distribution::normal_crps;
use crate::vectors::{Kernel, Vectors};

/// Slices that should be equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("x, loc, scale and out must be equally long: got {x}, {loc}, {scale} and {out} elements")]
pub struct UnequalLengths {
    x: usize,
    loc: usize,
    scale: usize,
    out: usize,
}

/// The exact CRPS of the normal distribution with `loc[i]` and `scale[i]` at `x[i]`, into `out[i]`: bit for bit that of
/// [`Norm`](crate::distribution::Norm), and no finite number where that refuses the parameters.
///
/// ```
/// let mut scores = [0.0; 2];
/// scoring::normal_crps_batch(&[0.3, -1.0], &[0.0, 0.5], &[1.0, 2.0], &mut scores)?;
/// assert!((scores[0] - 0.269_332_900_686_663_45).abs() < 1e-15);
/// # Ok::<(), scoring::UnequalLengths>(())
/// ```
pub fn normal_crps_batch(
    x: &[f64],
    loc: &[f64],
    scale: &[f64],
    out: &mut [f64],
) -> Result<(), UnequalLengths> {
    normal_crps_batch_with(Vectors::widest(), x, loc, scale, out)
}

/// [`normal_crps_batch`] with vector instructions of choice; all give the same bits.
pub fn normal_crps_batch_with(
    vectors: Vectors,
    x: &[f64],
    loc: &[f64],
    scale: &[f64],
    out: &mut [f64],
) -> Result<(), UnequalLengths> {
    if [loc.len(), scale.len(), out.len()] != [x.len(); 3] {
        return Err(UnequalLengths { x: x.len(), loc: loc.len(), scale: scale.len(), out: out.len() });
    }
    vectors.run(Batch { x, loc, scale, out });
    Ok(())
}

struct Batch<'a> {
    x: &'a [f64],
    loc: &'a [f64],
    scale: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for Batch<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let parameters = self.loc.iter().zip(self.scale);
        for ((out, &x), (&loc, &scale)) in self.out.iter_mut().zip(self.x).zip(parameters) {
            let crps = normal_crps(x, loc, scale);
            *out = if scale > 0.0 { crps } else { f64::NAN };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Distribution;
    use crate::distribution::Norm;

    /// Outcomes from next to the centre to far beyond where the tail underflows, at scales from tiny to huge.
    fn cases() -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (mut x, mut loc, mut scale) = (vec![], vec![], vec![]);
        for k in 0..10_007_u32 {
            let size = libm::exp10(f64::from(k % 601) - 300.0);
            let z = 45.0 * libm::sin(f64::from(k)) * f64::from(k % 7) / 7.0;
            scale.push(size);
            loc.push(size * libm::cos(f64::from(k)));
            x.push(size * (libm::cos(f64::from(k)) + z));
        }
        x.extend([1e308, 3.0, f64::INFINITY]);
        loc.extend([-1e308, 3.0, 0.0]);
        scale.extend([1.0, 5e-324, 2.0]);
        (x, loc, scale)
    }

    fn scores(vectors: Vectors) -> Vec<u64> {
        let (x, loc, scale) = cases();
        let mut out = vec![0.0; x.len()];
        normal_crps_batch_with(vectors, &x, &loc, &scale, &mut out).unwrap();
        out.into_iter().map(f64::to_bits).collect()
    }

    #[test]
    fn a_batch_gives_the_bits_of_one_at_a_time() {
        let (x, loc, scale) = cases();
        let single = |k: usize| Norm::new(loc[k], scale[k]).unwrap().crps(x[k]).to_bits();
        assert_eq!(scores(Vectors::BASELINE), (0..x.len()).map(single).collect::<Vec<u64>>());
    }

    #[test]
    fn all_vector_instructions_give_the_same_bits() {
        if Vectors::widest() == Vectors::BASELINE {
            println!("skipped: this machine has no wider vector instructions than the baseline");
        }
        assert_eq!(scores(Vectors::widest()), scores(Vectors::BASELINE));
    }

    #[test]
    fn parameters_of_no_distribution_give_no_finite_number() {
        let (nan, infinite) = (f64::NAN, f64::INFINITY);
        for (loc, scale) in
            [(0.0, 0.0), (0.0, -1.0), (0.0, nan), (0.0, infinite), (nan, 1.0), (infinite, 1.0), (1.0, -0.0)]
        {
            let mut out = [0.0; 9];
            normal_crps_batch(&[1.0; 9], &[loc; 9], &[scale; 9], &mut out).unwrap();
            assert!(out.iter().all(|score| !score.is_finite()), "{loc} {scale}: {out:?}");
        }
    }

    #[test]
    fn slices_of_unequal_length_are_refused() {
        let error = normal_crps_batch(&[0.0; 2], &[0.0; 2], &[1.0; 1], &mut [0.0; 2]).unwrap_err();
        let words = "x, loc, scale and out must be equally long: got 2, 2, 1 and 2 elements";
        assert_eq!(error.to_string(), words);
    }
}
