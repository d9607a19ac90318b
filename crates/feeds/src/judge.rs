//! Which of several prices of one instant is believed.

use domain::Price;

/// What comes of the prices that sources give for one instant. Numbers are places in what was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The preferred one: another source agrees, or it is the only one and near the close before.
    Confirmed(usize),
    /// Not the preferred one, which stands alone against others that agree.
    Outvoted(usize),
    /// The preferred one: no two agree, but it is near the close before.
    Doubtful(usize),
    /// The only one, far from the close before.
    Jump(usize),
    /// None: no two agree, and the preferred one is far from the close before.
    Refused,
}

/// True when two prices differ by no more than the share `bound` of the lower one.
pub(crate) fn agree(a: Price, b: Price, bound: f64) -> bool {
    let (a, b) = (a.value(), b.value());
    (a - b).abs() <= bound * a.min(b)
}

/// Judges `prices`, in the order of preference, at least one, after the close `before`.
pub(crate) fn judge(prices: &[Price], before: Option<Price>, bound: f64) -> Judgement {
    let agree = |a: Price, b: Price| agree(a, b, bound);
    let preferred = prices[0];
    let others = &prices[1..];
    if others.is_empty() {
        let is_near = before.is_none_or(|before| agree(preferred, before));
        return if is_near { Judgement::Confirmed(0) } else { Judgement::Jump(0) };
    }
    if others.iter().any(|other| agree(preferred, *other)) {
        return Judgement::Confirmed(0);
    }
    let has_a_second =
        |i: usize| others.iter().enumerate().any(|(j, other)| i != j && agree(others[i], *other));
    if let Some(i) = (0..others.len()).find(|i| has_a_second(*i)) {
        return Judgement::Outvoted(i + 1);
    }
    if before.is_some_and(|before| agree(preferred, before)) {
        Judgement::Doubtful(0)
    } else {
        Judgement::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::Judgement::*;
    use super::*;

    fn judged(prices: &[f64], before: Option<f64>) -> Judgement {
        let price = |value: f64| Price::new(value).unwrap();
        let prices: Vec<Price> = prices.iter().copied().map(price).collect();
        judge(&prices, before.map(price), 0.02)
    }

    #[test]
    fn sources_that_agree_are_believed_whatever_came_before() {
        assert_eq!(judged(&[100.0, 101.9], Some(50.0)), Confirmed(0));
        assert_eq!(judged(&[100.0, 103.0, 101.0], None), Confirmed(0));
    }

    #[test]
    fn one_that_is_wrong_by_three_per_cent_is_outvoted_wherever_it_stands() {
        assert_eq!(judged(&[103.0, 100.0, 100.1], Some(103.0)), Outvoted(1));
        assert_eq!(judged(&[100.0, 103.0, 100.1], Some(103.0)), Confirmed(0));
        assert_eq!(judged(&[100.0, 100.1, 103.0], Some(103.0)), Confirmed(0));
        assert_eq!(judged(&[103.0, 90.0, 100.0, 100.1], None), Outvoted(2));
    }

    #[test]
    fn of_two_that_differ_the_preferred_needs_the_close_before() {
        assert_eq!(judged(&[100.0, 103.0], Some(100.5)), Doubtful(0));
        assert_eq!(judged(&[103.0, 100.0], Some(100.5)), Refused);
        assert_eq!(judged(&[103.0, 100.0], None), Refused);
        assert_eq!(judged(&[103.0, 100.0, 97.0], Some(90.0)), Refused);
    }

    #[test]
    fn one_alone_is_believed_near_the_close_before_and_at_the_beginning() {
        assert_eq!(judged(&[100.0], None), Confirmed(0));
        assert_eq!(judged(&[100.0], Some(98.1)), Confirmed(0));
        assert_eq!(judged(&[103.0], Some(100.0)), Jump(0));
        assert_eq!(judged(&[97.0], Some(100.0)), Jump(0));
    }
}
