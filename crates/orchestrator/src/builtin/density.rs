//! Densities and point masses in the format of the competition.

use std::fmt;

/// One density of a log return.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Density {
    Normal(Normal),
    /// Student's t around 0.
    StudentT {
        df: f64,
        scale: f64,
    },
    /// Weights and normals; the weights add up to 1.
    Mixture(Vec<(f64, Normal)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Normal {
    pub(super) loc: f64,
    pub(super) scale: f64,
}

impl Normal {
    /// A normal around 0.
    pub(super) fn centred(scale: f64) -> Self {
        Normal { loc: 0.0, scale }
    }

    pub(super) fn widened(self, factor: f64) -> Self {
        Normal { loc: self.loc * factor, scale: self.scale * factor }
    }
}

impl Density {
    fn widened(self, factor: f64) -> Self {
        match self {
            Density::Normal(normal) => Density::Normal(normal.widened(factor)),
            Density::StudentT { df, scale } => Density::StudentT { df, scale: scale * factor },
            Density::Mixture(parts) => {
                Density::Mixture(parts.into_iter().map(|(weight, n)| (weight, n.widened(factor))).collect())
            }
        }
    }
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Normal { loc, scale } = self;
        write!(f, r#"{{"type":"builtin","name":"norm","params":{{"loc":{loc:?},"scale":{scale:?}}}}}"#)
    }
}

/// JSON, numbers with the fewest digits that read back to the same bits.
impl fmt::Display for Density {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Density::Normal(normal) => normal.fmt(f),
            Density::StudentT { df, scale } => write!(
                f,
                r#"{{"type":"builtin","name":"t","params":{{"df":{df:?},"loc":0.0,"scale":{scale:?}}}}}"#
            ),
            Density::Mixture(parts) => {
                f.write_str(r#"{"type":"mixture","components":["#)?;
                for (index, (weight, normal)) in parts.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, r#"{comma}{{"density":{normal},"weight":{weight:?}}}"#)?;
                }
                f.write_str("]}")
            }
        }
    }
}

/// The densities of one question.
pub(super) enum Densities {
    /// The same for every step.
    Same(Density),
    /// One for each step, in order.
    Each(Vec<Density>),
}

impl Densities {
    /// `factor` times as wide.
    pub(super) fn widened(self, factor: f64) -> Self {
        match self {
            Densities::Same(density) => Densities::Same(density.widened(factor)),
            Densities::Each(list) => {
                Densities::Each(list.into_iter().map(|density| density.widened(factor)).collect())
            }
        }
    }

    /// The JSON list for `count` steps.
    pub(super) fn to_json(&self, count: usize) -> String {
        let mut items = match self {
            Densities::Same(density) => format!("{density},").repeat(count),
            Densities::Each(list) => list.iter().map(|density| format!("{density},")).collect(),
        };
        items.pop();
        format!("[{items}]")
    }
}

/// Point masses: log returns, strictly increasing, and their probabilities.
pub(super) struct Buckets(pub(super) Vec<(f64, f64)>);

impl Buckets {
    /// `factor` times as wide.
    pub(super) fn widened(self, factor: f64) -> Self {
        Buckets(self.0.into_iter().map(|(value, probability)| (value * factor, probability)).collect())
    }

    /// The JSON dictionary.
    pub(super) fn to_json(&self) -> String {
        let mut items: String =
            self.0.iter().map(|(value, share)| format!("\"{value:?}\":{share:?},")).collect();
        items.pop();
        format!("{{{items}}}")
    }
}
