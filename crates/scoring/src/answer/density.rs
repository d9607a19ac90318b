//! The grammar of one density: from its words to the plan by which its numbers make a distribution.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{Kind, quoted};
use super::plan::{
    Bucket, Build, Component, Histogram, Leaf, Operand, Plan, Quantiles, Samples, probability_refusal,
};
use super::tape::Value;
use super::{Limits, Refusal};
use crate::distribution::{Density, FAMILIES, Family, Norm, Types};

const TYPES: &str = "builtin, scipy, statistics, mixture, buckets, histogram, samples or quantiles";

/// The plan of one density of an answer.
pub(super) fn plan<'a>(value: Value<'_, 'a>, limits: &Limits) -> Result<Plan<'a>, Refusal> {
    Planner { limits, leaves: 0 }.density(value, 1)
}

/// The plan of an object from move to probability.
pub(super) fn plan_buckets<'a>(value: Value<'_, 'a>, limits: &Limits) -> Result<Plan<'a>, Refusal> {
    buckets(value, limits).map(Plan::Buckets)
}

/// The plan of an object with samples and, if it likes, their weights.
pub(super) fn plan_samples<'a>(value: Value<'_, 'a>, limits: &Limits) -> Result<Plan<'a>, Refusal> {
    expect_object(value, "an object with samples")?;
    let [values, weights] = fields(value, ["samples", "weights"])?;
    samples(("samples", values), weights, limits)
}

/// The plan of an object with levels and values.
pub(super) fn plan_quantiles<'a>(value: Value<'_, 'a>, limits: &Limits) -> Result<Plan<'a>, Refusal> {
    expect_object(value, "an object with levels and values")?;
    let [levels, values] = fields(value, ["levels", "values"])?;
    quantiles(levels, values, limits)
}

fn buckets<'a>(value: Value<'_, 'a>, limits: &Limits) -> Result<Vec<Bucket<'a>>, Refusal> {
    expect_object(value, "an object from move to probability")?;
    refuse_more_than(limits.max_buckets, value.members().count(), "buckets")?;
    value
        .members()
        .map(|(key, probability)| match bucket(&key, probability) {
            Ok((value, mass)) => Ok(Bucket { key, value, mass }),
            Err(refusal) => Err(refusal.at_key(&key)),
        })
        .collect()
}

fn bucket(key: &str, probability: Value<'_, '_>) -> Result<(f64, usize), Refusal> {
    let is_decimal = key.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value = key.parse::<f64>().ok().filter(|value| is_decimal && value.is_finite());
    let value = value.ok_or_else(|| Refusal::new("a bucket's key must be a finite number"))?;
    let mass = probability.slot().ok_or_else(|| probability_refusal(&probability.describe()))?;
    Ok((value, mass))
}

fn samples<'a>(
    values: (&'static str, Option<Value<'_, 'a>>),
    weights: Option<Value<'_, 'a>>,
    limits: &Limits,
) -> Result<Plan<'a>, Refusal> {
    let (key, list) = values;
    let values = number_list(list, key)?;
    refuse_more_than(limits.max_samples, values.len(), "samples").map_err(|refusal| refusal.at_key(key))?;
    // Python writes an optional argument that was not given as null.
    let weights = weights.filter(|weights| weights.as_sent() != "null");
    let weights = weights.map(|weights| number_list(Some(weights), "weights")).transpose()?;
    if let Some(weights) = weights.as_ref().filter(|weights| weights.len() != values.len()) {
        let (wanted, got) = (values.len(), weights.len());
        return Err(
            Refusal::new(format!("expected {wanted}, one for each sample, got {got}")).at_key("weights")
        );
    }
    Ok(Plan::Samples(Samples { key, values, weights }))
}

fn histogram<'a>(
    edges: Option<Value<'_, 'a>>,
    probabilities: Option<Value<'_, 'a>>,
    limits: &Limits,
) -> Result<Plan<'a>, Refusal> {
    let edges = number_list(edges, "edges")?;
    let probabilities = number_list(probabilities, "probabilities")?;
    refuse_more_than(limits.max_buckets, probabilities.len(), "bins")?;
    Ok(Plan::Histogram(Histogram { edges, probabilities }))
}

fn quantiles<'a>(
    levels: Option<Value<'_, 'a>>,
    values: Option<Value<'_, 'a>>,
    limits: &Limits,
) -> Result<Plan<'a>, Refusal> {
    let levels = number_list(levels, "levels")?;
    let values = number_list(values, "values")?;
    refuse_more_than(limits.max_buckets, levels.len(), "levels")?;
    Ok(Plan::Quantiles(Quantiles { levels, values }))
}

fn refuse_more_than(limit: usize, count: usize, what: &str) -> Result<(), Refusal> {
    if count <= limit { Ok(()) } else { Err(Refusal::new(format!("{count} {what}, the limit is {limit}"))) }
}

/// The slots of a list of numbers; they follow each other.
fn number_list(list: Option<Value<'_, '_>>, key: &str) -> Result<Range<usize>, Refusal> {
    let read = |list: Value<'_, '_>| {
        if list.kind() != Kind::List {
            return Err(Refusal::new(format!("expected a list of numbers, got {}", list.describe())));
        }
        let mut slots = 0..0;
        for (index, element) in list.elements().enumerate() {
            let slot = expect_number(element).map_err(|refusal| refusal.at_index(index))?;
            slots = if index == 0 { slot..slot + 1 } else { slots.start..slot + 1 };
        }
        Ok(slots)
    };
    required(list, key).and_then(|list| read(list).map_err(|refusal| refusal.at_key(key)))
}

/// The values of keys; refused when one is given twice.
fn fields<'t, 'a, const N: usize>(
    object: Value<'t, 'a>,
    keys: [&str; N],
) -> Result<[Option<Value<'t, 'a>>; N], Refusal> {
    let mut values = [None; N];
    for (key, value) in object.members() {
        let Some(index) = keys.iter().position(|&wanted| wanted == key) else { continue };
        if values[index].replace(value).is_some() {
            return Err(Refusal::new("is given twice").at_key(&key));
        }
    }
    Ok(values)
}

fn required<'t, 'a>(value: Option<Value<'t, 'a>>, key: &str) -> Result<Value<'t, 'a>, Refusal> {
    value.ok_or_else(|| Refusal::new("is missing").at_key(key))
}

fn expect_object(value: Value<'_, '_>, what: &str) -> Result<(), Refusal> {
    if value.kind() == Kind::Object {
        Ok(())
    } else {
        Err(Refusal::new(format!("expected {what}, got {}", value.describe())))
    }
}

fn expect_string<'a>(value: Option<Value<'_, 'a>>, key: &str) -> Result<Cow<'a, str>, Refusal> {
    let value = required(value, key)?;
    value
        .string()
        .ok_or_else(|| Refusal::new(format!("expected a string, got {}", value.describe())).at_key(key))
}

fn expect_number(value: Value<'_, '_>) -> Result<usize, Refusal> {
    value.slot().ok_or_else(|| Refusal::new(format!("expected a number, got {}", value.describe())))
}

/// One density on the way from text, with what counts towards its limits.
#[derive(Debug)]
struct Planner<'l> {
    limits: &'l Limits,
    leaves: usize,
}

impl Planner<'_> {
    /// Recursion is bounded by the depth to which JSON is read at all.
    fn density<'a>(&mut self, value: Value<'_, 'a>, level: usize) -> Result<Plan<'a>, Refusal> {
        expect_object(value, "a density")?;
        if level > self.limits.max_nesting {
            let limit = self.limits.max_nesting;
            return Err(Refusal::new(format!(
                "densities are nested deeper than the limit of {limit} levels"
            )));
        }
        let [kind] = fields(value, ["type"])?;
        let kind = expect_string(kind, "type")?;
        if kind == "mixture" {
            let [components] = fields(value, ["components"])?;
            return self.mixture(required(components, "components")?, level);
        }
        self.count_leaf()?;
        self.leaf(&kind, value)
    }

    fn count_leaf(&mut self) -> Result<(), Refusal> {
        self.leaves += 1;
        let limit = self.limits.max_leaves;
        if self.leaves > limit {
            return Err(Refusal::new(format!("more distributions in one density than the limit of {limit}")));
        }
        Ok(())
    }

    fn leaf<'a>(&self, kind: &str, value: Value<'_, 'a>) -> Result<Plan<'a>, Refusal> {
        match kind {
            "builtin" | "scipy" => {
                let [name, params] = fields(value, ["name", "params"])?;
                family(kind, name, params).map(Plan::Leaf)
            }
            "statistics" => {
                let [name, params] = fields(value, ["name", "params"])?;
                statistics_normal(name, params).map(Plan::Leaf)
            }
            "buckets" => {
                let [probabilities] = fields(value, ["probabilities"])?;
                let key = "probabilities";
                let buckets = buckets(required(probabilities, key)?, self.limits)
                    .map_err(|refusal| refusal.at_key(key))?;
                Ok(Plan::BucketsLeaf(buckets))
            }
            "histogram" => {
                let [edges, probabilities] = fields(value, ["edges", "probabilities"])?;
                histogram(edges, probabilities, self.limits)
            }
            "samples" => {
                let [values, weights] = fields(value, ["values", "weights"])?;
                samples(("values", values), weights, self.limits)
            }
            "quantiles" => {
                let [levels, values] = fields(value, ["levels", "values"])?;
                quantiles(levels, values, self.limits)
            }
            other => Err(Refusal::new(format!("unknown type {}: use {TYPES}", quoted(other))).at_key("type")),
        }
    }

    fn mixture<'a>(&mut self, list: Value<'_, 'a>, level: usize) -> Result<Plan<'a>, Refusal> {
        self.components(list, level).map(Plan::Mixture).map_err(|refusal| refusal.at_key("components"))
    }

    fn components<'a>(&mut self, list: Value<'_, 'a>, level: usize) -> Result<Vec<Component<'a>>, Refusal> {
        if list.kind() != Kind::List {
            return Err(Refusal::new(format!("expected a list of components, got {}", list.describe())));
        }
        let mut components = Vec::new();
        for (index, element) in list.elements().enumerate() {
            components.push(self.component(element, level).map_err(|refusal| refusal.at_index(index))?);
        }
        if components.is_empty() {
            return Err(Refusal::new("a mixture needs at least one component"));
        }
        Ok(components)
    }

    fn component<'a>(&mut self, value: Value<'_, 'a>, level: usize) -> Result<Component<'a>, Refusal> {
        expect_object(value, "an object with density and weight")?;
        let [density, weight] = fields(value, ["density", "weight"])?;
        let plan = self
            .density(required(density, "density")?, level + 1)
            .map_err(|refusal| refusal.at_key("density"))?;
        let weight =
            expect_number(required(weight, "weight")?).map_err(|refusal| refusal.at_key("weight"))?;
        Ok(Component { weight, plan })
    }
}

/// A leaf of type builtin (every parameter must be there, further ones are ignored) or scipy (`loc` and `scale` are 0
/// and 1 unless given, further ones are refused).
fn family(kind: &str, name: Option<Value<'_, '_>>, params: Option<Value<'_, '_>>) -> Result<Leaf, Refusal> {
    let family =
        find_family(kind, &expect_string(name, "name")?).map_err(|refusal| refusal.at_key("name"))?;
    let params = required(params, "params")?;
    let is_scipy = kind == "scipy";
    let default = |value: f64| is_scipy.then_some(value);
    let read = || {
        expect_object(params, "an object of parameters")?;
        if is_scipy {
            refuse_unknown(family, params)?;
        }
        let shapes =
            family.shapes.iter().map(|name| operand(params, name, None)).collect::<Result<Vec<_>, _>>()?;
        let loc = operand(params, "loc", default(0.0))?;
        let scale = operand(params, "scale", default(1.0))?;
        Ok(Leaf { is_norm: family.name == "norm", build: family.build, shapes, loc, scale })
    };
    read().map_err(|refusal: Refusal| refusal.at_key("params"))
}

fn find_family(kind: &str, name: &str) -> Result<&'static Family, Refusal> {
    let of_type = |family: &&Family| kind == "scipy" || family.types == Types::BuiltinAndScipy;
    match FAMILIES.iter().find(|family| family.name == name) {
        Some(family) if of_type(&family) => Ok(family),
        Some(_) => Err(Refusal::new(format!("{name} is of type scipy, not {kind}"))),
        None => {
            let known: Vec<&str> = FAMILIES.iter().filter(of_type).map(|family| family.name).collect();
            let (name, known) = (quoted(name), known.join(", "));
            Err(Refusal::new(format!("distribution {name} is unknown: use one of {known}")))
        }
    }
}

fn refuse_unknown(family: &Family, params: Value<'_, '_>) -> Result<(), Refusal> {
    let is_known = |key: &str| family.shapes.contains(&key) || key == "loc" || key == "scale";
    match params.members().find(|(key, _)| !is_known(key)) {
        Some((key, _)) => Err(Refusal::new(format!("is no parameter of {}", family.name)).at_key(&key)),
        None => Ok(()),
    }
}

fn operand(params: Value<'_, '_>, key: &'static str, default: Option<f64>) -> Result<Operand, Refusal> {
    let [sent] = fields(params, [key])?;
    match (sent, default) {
        (Some(value), _) => {
            let slot = expect_number(value).map_err(|refusal| refusal.at_key(key))?;
            Ok(Operand::Sent { key, slot })
        }
        (None, Some(value)) => Ok(Operand::Default(value)),
        (None, None) => Err(Refusal::new("is missing").at_key(key)),
    }
}

/// Python's `statistics.NormalDist`: `mu` (else `loc`, else 0) and `sigma` (else `scale`, else 1); others are ignored.
fn statistics_normal(name: Option<Value<'_, '_>>, params: Option<Value<'_, '_>>) -> Result<Leaf, Refusal> {
    let name = expect_string(name, "name")?;
    if name != "normal" {
        return Err(Refusal::new(format!("statistics has no {}: use normal", quoted(&name))).at_key("name"));
    }
    let params = required(params, "params")?;
    let read = || {
        expect_object(params, "an object of parameters")?;
        let [mu, sigma] = fields(params, ["mu", "sigma"])?;
        let loc_key = if mu.is_some() { "mu" } else { "loc" };
        let scale_key = if sigma.is_some() { "sigma" } else { "scale" };
        let loc = operand(params, loc_key, Some(0.0))?;
        let scale = operand(params, scale_key, Some(1.0))?;
        Ok(Leaf { is_norm: true, build: NORMAL, shapes: Vec::new(), loc, scale })
    };
    read().map_err(|refusal: Refusal| refusal.at_key("params"))
}

const NORMAL: Build = |_, loc, scale| Norm::new(loc, scale).map(Density::Norm);
