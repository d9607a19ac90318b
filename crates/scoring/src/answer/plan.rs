//! From numbers to a density, where the words have said which number is what.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::Refusal;
use super::json::excerpt;
use super::tape::Place;
use crate::distribution::{
    Density, FAMILIES, InvalidMasses, InvalidParameter, InvalidPieces, Mixture, Norm, PiecewiseLinear,
    PointMasses, Weighted,
};

/// What the words of a density say: which distribution it is, and which of its numbers is what. Numbers are named by
/// their slot, their place among all numbers of the density.
#[derive(Debug)]
pub(super) enum Plan<'a> {
    Leaf(Leaf),
    Mixture(Vec<Component<'a>>),
    /// A bucket dictionary by itself.
    Buckets(Vec<Bucket<'a>>),
    /// A leaf that has it under `probabilities`.
    BucketsLeaf(Vec<Bucket<'a>>),
    Histogram(Histogram),
    Samples(Samples),
    Quantiles(Quantiles),
}

/// Checks the shapes, `loc` and `scale` of a family.
pub(super) type Build = fn(&[f64], f64, f64) -> Result<Density, InvalidParameter>;

/// A member of a family.
#[derive(Debug)]
pub(super) struct Leaf {
    /// True for normals, where `build` makes a [`Norm`] of `loc` and `scale`.
    pub is_norm: bool,
    pub build: Build,
    pub shapes: Vec<Operand>,
    pub loc: Operand,
    pub scale: Operand,
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand {
    Sent { key: &'static str, slot: usize },
    Default(f64),
}

#[derive(Debug)]
pub(super) struct Component<'a> {
    pub weight: usize,
    pub plan: Plan<'a>,
}

#[derive(Debug)]
pub(super) struct Bucket<'a> {
    pub key: Cow<'a, str>,
    pub value: f64,
    pub mass: usize,
}

#[derive(Debug)]
pub(super) struct Histogram {
    pub edges: Range<usize>,
    pub probabilities: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Samples {
    /// Under which the values were sent.
    pub key: &'static str,
    pub values: Range<usize>,
    pub weights: Option<Range<usize>>,
}

#[derive(Debug)]
pub(super) struct Quantiles {
    pub levels: Range<usize>,
    pub values: Range<usize>,
}

/// The numbers of one density and, where that is known, how they were written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'n> {
    values: &'n [f64],
    text: &'n str,
    places: &'n [Place],
}

impl<'n> Numbers<'n> {
    /// The values alone.
    pub fn new(values: &'n [f64]) -> Self {
        Numbers { values, text: "", places: &[] }
    }

    /// The numbers at these places of a text.
    pub fn sent(values: &'n [f64], text: &'n str, places: &'n [Place]) -> Self {
        Numbers { values, text, places }
    }

    fn value(self, slot: usize) -> f64 {
        self.values[slot]
    }

    fn finite(self, slot: usize) -> Result<f64, Refusal> {
        let value = self.value(slot);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Refusal::new(format!("must be finite, got {}", self.as_sent(slot))))
        }
    }

    fn list(self, key: &str, slots: &Range<usize>) -> Result<Vec<f64>, Refusal> {
        let element = |(index, slot)| self.finite(slot).map_err(|refusal| refusal.at_index(index));
        let list: Result<Vec<f64>, Refusal> = slots.clone().enumerate().map(element).collect();
        list.map_err(|refusal| refusal.at_key(key))
    }

    fn as_sent(self, slot: usize) -> String {
        match self.places.get(slot) {
            Some(place) => excerpt(&self.text[place.start as usize..place.end as usize]),
            None => format!("{:?}", self.value(slot)),
        }
    }
}

impl Plan<'_> {
    /// [`Plan::density`], made where it stays: there are many mixtures, and moving them is much of the work.
    pub fn shared_density(&self, numbers: Numbers<'_>) -> Result<Arc<Density>, Refusal> {
        match self {
            Plan::Mixture(components) => {
                mixture(components, numbers).map(|mixture| Arc::new(Density::Mixture(mixture)))
            }
            other => other.density(numbers).map(Arc::new),
        }
    }

    /// The density of these numbers, each checked for its range.
    pub fn density(&self, numbers: Numbers<'_>) -> Result<Density, Refusal> {
        match self {
            Plan::Leaf(leaf) => leaf.density(numbers).map_err(|refusal| refusal.at_key("params")),
            Plan::Mixture(components) => mixture(components, numbers).map(Density::Mixture),
            Plan::Buckets(buckets) => point_masses(buckets, numbers),
            Plan::BucketsLeaf(buckets) => {
                point_masses(buckets, numbers).map_err(|refusal| refusal.at_key("probabilities"))
            }
            Plan::Histogram(histogram) => histogram.density(numbers),
            Plan::Samples(samples) => samples.density(numbers),
            Plan::Quantiles(quantiles) => quantiles.density(numbers),
        }
    }
}

/// The most shapes that a family has.
const MAX_SHAPES: usize = {
    let (mut most, mut k) = (0, 0);
    while k < FAMILIES.len() {
        if FAMILIES[k].shapes.len() > most {
            most = FAMILIES[k].shapes.len();
        }
        k += 1;
    }
    most
};

impl Leaf {
    fn density(&self, numbers: Numbers<'_>) -> Result<Density, Refusal> {
        let mut shapes = [0.0; MAX_SHAPES];
        for (value, shape) in shapes.iter_mut().zip(&self.shapes) {
            *value = shape.value(numbers)?;
        }
        let (loc, scale) = (self.loc.value(numbers)?, self.scale.value(numbers)?);
        (self.build)(&shapes[..self.shapes.len()], loc, scale)
            .map_err(|error| self.out_of_range(error, numbers))
    }

    /// `error` about the parameter as it was named and written.
    fn out_of_range(&self, error: InvalidParameter, numbers: Numbers<'_>) -> Refusal {
        let by_name = |operand: &&Operand| matches!(operand, Operand::Sent { key, .. } if *key == error.name);
        let operand = match error.name {
            "loc" => self.loc,
            "scale" => self.scale,
            _ => self.shapes.iter().find(by_name).copied().unwrap_or(Operand::Default(error.value)),
        };
        match operand {
            Operand::Sent { key, slot } => {
                Refusal::new(format!("must be {}, got {}", error.range, numbers.as_sent(slot))).at_key(key)
            }
            Operand::Default(value) => {
                Refusal::new(format!("must be {}, got {value:?}", error.range)).at_key(error.name)
            }
        }
    }
}

impl Operand {
    /// Unchecked.
    #[inline]
    fn number(self, numbers: Numbers<'_>) -> f64 {
        match self {
            Operand::Sent { slot, .. } => numbers.value(slot),
            Operand::Default(value) => value,
        }
    }

    fn value(self, numbers: Numbers<'_>) -> Result<f64, Refusal> {
        match self {
            Operand::Sent { key, slot } => numbers.finite(slot).map_err(|refusal| refusal.at_key(key)),
            Operand::Default(value) => Ok(value),
        }
    }
}

#[inline]
fn mixture(components: &[Component<'_>], numbers: Numbers<'_>) -> Result<Mixture, Refusal> {
    let mut densities = Vec::with_capacity(components.len());
    for (index, component) in components.iter().enumerate() {
        match component.norm(numbers) {
            Some((weight, norm)) => densities.push(Weighted { weight, density: Density::Norm(norm) }),
            None => {
                let density = component.density(numbers);
                densities.push(density.map_err(|refusal| refusal.at_index(index).at_key("components"))?);
            }
        }
    }
    Mixture::of(densities).map_err(|_| Refusal::new("the weights are all zero").at_key("components"))
}

impl Component<'_> {
    /// The weight and the normal that these numbers make, if it is one and all is well: most components are, and this way
    /// three numbers are moved rather than all that a density or a refusal may be.
    #[inline]
    fn norm(&self, numbers: Numbers<'_>) -> Option<(f64, Norm)> {
        let Plan::Leaf(Leaf { is_norm: true, loc, scale, .. }) = &self.plan else { return None };
        let norm = Norm::new(loc.number(numbers), scale.number(numbers)).ok()?;
        Some(numbers.value(self.weight)).filter(|weight| weight.is_finite()).map(|weight| (weight, norm))
    }

    fn density(&self, numbers: Numbers<'_>) -> Result<Weighted, Refusal> {
        let density = self.plan.density(numbers).map_err(|refusal| refusal.at_key("density"))?;
        let weight = numbers.finite(self.weight).map_err(|refusal| refusal.at_key("weight"))?;
        Ok(Weighted { weight, density })
    }
}

fn point_masses(buckets: &[Bucket<'_>], numbers: Numbers<'_>) -> Result<Density, Refusal> {
    let mass = |bucket: &Bucket<'_>| {
        let mass = numbers.value(bucket.mass);
        if mass.is_finite() && mass >= 0.0 {
            Ok((bucket.value, mass))
        } else {
            Err(probability_refusal(&numbers.as_sent(bucket.mass)).at_key(&bucket.key))
        }
    };
    let masses: Vec<(f64, f64)> = buckets.iter().map(mass).collect::<Result<_, _>>()?;
    PointMasses::new(masses).map(Density::other).map_err(|error| match error {
        InvalidMasses::Empty => Refusal::new("no bucket has a probability above zero"),
        InvalidMasses::Twice(value) => Refusal::new(format!("bucket {value:?} is given twice")),
        other => Refusal::new(other.to_string()),
    })
}

/// What is said of a bucket whose probability is none.
pub(super) fn probability_refusal(got: &str) -> Refusal {
    Refusal::new(format!("a probability must be a finite number >= 0, got {got}"))
}

impl Samples {
    fn density(&self, numbers: Numbers<'_>) -> Result<Density, Refusal> {
        let values = numbers.list(self.key, &self.values)?;
        let weights = match &self.weights {
            Some(weights) => self.checked_weights(weights, numbers)?,
            None => vec![1.0; values.len()],
        };
        let samples = values.into_iter().zip(weights).collect();
        PointMasses::samples(samples).map(Density::other).map_err(|error| match error {
            InvalidMasses::Empty if self.values.is_empty() => {
                Refusal::new("needs one sample or more").at_key(self.key)
            }
            InvalidMasses::Empty => Refusal::new("the weights are all zero").at_key("weights"),
            other => Refusal::new(other.to_string()).at_key(self.key),
        })
    }

    fn checked_weights(&self, slots: &Range<usize>, numbers: Numbers<'_>) -> Result<Vec<f64>, Refusal> {
        let weights = numbers.list("weights", slots)?;
        match weights.iter().position(|&weight| weight < 0.0) {
            Some(index) => {
                let got = numbers.as_sent(slots.start + index);
                Err(Refusal::new(format!("must be >= 0, got {got}")).at_index(index).at_key("weights"))
            }
            None => Ok(weights),
        }
    }
}

impl Histogram {
    fn density(&self, numbers: Numbers<'_>) -> Result<Density, Refusal> {
        let edges = numbers.list("edges", &self.edges)?;
        let probabilities = numbers.list("probabilities", &self.probabilities)?;
        piecewise_linear(PiecewiseLinear::histogram(&edges, &probabilities))
    }
}

impl Quantiles {
    fn density(&self, numbers: Numbers<'_>) -> Result<Density, Refusal> {
        let levels = numbers.list("levels", &self.levels)?;
        let values = numbers.list("values", &self.values)?;
        piecewise_linear(PiecewiseLinear::quantiles(&levels, &values))
    }
}

fn piecewise_linear(density: Result<PiecewiseLinear, InvalidPieces>) -> Result<Density, Refusal> {
    density.map(Density::other).map_err(|error| match error {
        InvalidPieces::Element { list, index, range, value } => {
            Refusal::new(format!("must be {range}, got {value:?}")).at_index(index).at_key(list)
        }
        InvalidPieces::Whole(reason) => Refusal::new(reason),
    })
}
