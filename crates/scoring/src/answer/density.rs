//! The grammar of one density.

use std::borrow::Cow;

use super::json::{Kind, Value, quoted};
use super::{Limits, Refusal};
use crate::distribution::{
    Density, FAMILIES, Family, InvalidMasses, InvalidParameter, Mixture, Norm, PointMasses, Types,
};

const TYPES: &str = "builtin, scipy, statistics, mixture or buckets";

/// Reads one density of an answer.
pub(super) fn read(value: Value<'_>, limits: &Limits) -> Result<Density, Refusal> {
    Reader { limits, leaves: 0 }.density(value, 1)
}

/// Reads an object from move to probability.
pub(super) fn read_buckets(value: Value<'_>, limits: &Limits) -> Result<Density, Refusal> {
    expect_object(value, "an object from move to probability")?;
    let count = value.members().count();
    if count > limits.max_buckets {
        let limit = limits.max_buckets;
        return Err(Refusal::new(format!("{count} buckets, the limit is {limit}")));
    }
    let masses: Vec<(f64, f64)> = value
        .members()
        .map(|(key, probability)| bucket(&key, probability).map_err(|refusal| refusal.at_key(&key)))
        .collect::<Result<_, _>>()?;
    PointMasses::new(masses).map(Density::other).map_err(|error| match error {
        InvalidMasses::Empty => Refusal::new("no bucket has a probability above zero"),
        InvalidMasses::Twice(value) => Refusal::new(format!("bucket {value:?} is given twice")),
        other => Refusal::new(other.to_string()),
    })
}

fn bucket(key: &str, probability: Value<'_>) -> Result<(f64, f64), Refusal> {
    let is_decimal = key.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value = key.parse::<f64>().ok().filter(|value| is_decimal && value.is_finite());
    let value = value.ok_or_else(|| Refusal::new("a bucket's key must be a finite number"))?;
    match probability.number() {
        Some(mass) if mass.is_finite() && mass >= 0.0 => Ok((value, mass)),
        _ => Err(Refusal::new(format!(
            "a probability must be a finite number >= 0, got {}",
            probability.describe()
        ))),
    }
}

/// The value of a key; refused when the key is given twice.
pub(super) fn field<'a>(object: Value<'a>, key: &str) -> Result<Option<Value<'a>>, Refusal> {
    let [value] = fields(object, [key])?;
    Ok(value)
}

fn fields<'a, const N: usize>(object: Value<'a>, keys: [&str; N]) -> Result<[Option<Value<'a>>; N], Refusal> {
    let mut values = [None; N];
    for (key, value) in object.members() {
        let Some(index) = keys.iter().position(|&wanted| wanted == key) else { continue };
        if values[index].replace(value).is_some() {
            return Err(Refusal::new("is given twice").at_key(&key));
        }
    }
    Ok(values)
}

fn expect_object(value: Value<'_>, what: &str) -> Result<(), Refusal> {
    if value.kind() == Kind::Object {
        Ok(())
    } else {
        Err(Refusal::new(format!("expected {what}, got {}", value.describe())))
    }
}

fn expect_string<'a>(value: Option<Value<'a>>, key: &str) -> Result<Cow<'a, str>, Refusal> {
    let value = value.ok_or_else(|| Refusal::new("is missing").at_key(key))?;
    value
        .string()
        .ok_or_else(|| Refusal::new(format!("expected a string, got {}", value.describe())).at_key(key))
}

fn expect_number(value: Value<'_>) -> Result<f64, Refusal> {
    let number =
        value.number().ok_or_else(|| Refusal::new(format!("expected a number, got {}", value.describe())))?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(Refusal::new(format!("must be finite, got {}", value.describe())))
    }
}

/// One density on the way from text, with what counts towards its limits.
#[derive(Debug)]
struct Reader<'l> {
    limits: &'l Limits,
    leaves: usize,
}

impl Reader<'_> {
    /// Recursion is bounded by the depth to which JSON is read at all.
    fn density(&mut self, value: Value<'_>, level: usize) -> Result<Density, Refusal> {
        expect_object(value, "a density")?;
        if level > self.limits.max_nesting {
            let limit = self.limits.max_nesting;
            return Err(Refusal::new(format!(
                "densities are nested deeper than the limit of {limit} levels"
            )));
        }
        let [kind, name, params, components, probabilities] =
            fields(value, ["type", "name", "params", "components", "probabilities"])?;
        let kind = expect_string(kind, "type")?;
        if kind == "mixture" {
            return self.mixture(components, level);
        }
        self.count_leaf()?;
        match kind.as_ref() {
            "builtin" | "scipy" => family(&kind, name, params),
            "statistics" => statistics_normal(name, params),
            "buckets" => {
                let probabilities =
                    probabilities.ok_or_else(|| Refusal::new("is missing").at_key("probabilities"))?;
                read_buckets(probabilities, self.limits).map_err(|refusal| refusal.at_key("probabilities"))
            }
            "histogram" | "samples" | "quantiles" => {
                Err(Refusal::new(format!("`{kind}` is not supported: use {TYPES}")).at_key("type"))
            }
            other => Err(Refusal::new(format!("unknown type {}: use {TYPES}", quoted(other))).at_key("type")),
        }
    }

    fn count_leaf(&mut self) -> Result<(), Refusal> {
        self.leaves += 1;
        let limit = self.limits.max_leaves;
        if self.leaves > limit {
            return Err(Refusal::new(format!("more distributions in one density than the limit of {limit}")));
        }
        Ok(())
    }

    fn mixture(&mut self, components: Option<Value<'_>>, level: usize) -> Result<Density, Refusal> {
        let list = components.ok_or_else(|| Refusal::new("is missing").at_key("components"))?;
        self.components(list, level).map_err(|refusal| refusal.at_key("components"))
    }

    fn components(&mut self, list: Value<'_>, level: usize) -> Result<Density, Refusal> {
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
        Mixture::new(components).map(Density::Mixture).map_err(|_| Refusal::new("the weights are all zero"))
    }

    fn component(&mut self, value: Value<'_>, level: usize) -> Result<(f64, Density), Refusal> {
        expect_object(value, "an object with density and weight")?;
        let [density, weight] = fields(value, ["density", "weight"])?;
        let density = density.ok_or_else(|| Refusal::new("is missing").at_key("density"))?;
        let density = self.density(density, level + 1).map_err(|refusal| refusal.at_key("density"))?;
        let weight = weight.ok_or_else(|| Refusal::new("is missing").at_key("weight"))?;
        let weight = expect_number(weight).map_err(|refusal| refusal.at_key("weight"))?;
        Ok((weight, density))
    }
}

/// A leaf of type builtin (every parameter must be there, further ones are ignored) or scipy (`loc` and `scale` are 0
/// and 1 unless given, further ones are refused).
fn family(kind: &str, name: Option<Value<'_>>, params: Option<Value<'_>>) -> Result<Density, Refusal> {
    let family =
        find_family(kind, &expect_string(name, "name")?).map_err(|refusal| refusal.at_key("name"))?;
    let params = params.ok_or_else(|| Refusal::new("is missing").at_key("params"))?;
    let (defaults, strict) = match kind {
        "scipy" => ((Some(0.0), Some(1.0)), true),
        _ => ((None, None), false),
    };
    let read = || {
        expect_object(params, "an object of parameters")?;
        if strict {
            refuse_unknown(family, params)?;
        }
        let shapes = family
            .shapes
            .iter()
            .map(|name| parameter(params, name, None))
            .collect::<Result<Vec<f64>, _>>()?;
        let loc = parameter(params, "loc", defaults.0)?;
        let scale = parameter(params, "scale", defaults.1)?;
        (family.build)(&shapes, loc, scale).map_err(|error| out_of_range(params, error.name, error))
    };
    read().map_err(|refusal| refusal.at_key("params"))
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

fn refuse_unknown(family: &Family, params: Value<'_>) -> Result<(), Refusal> {
    let is_known = |key: &str| family.shapes.contains(&key) || key == "loc" || key == "scale";
    match params.members().find(|(key, _)| !is_known(key)) {
        Some((key, _)) => Err(Refusal::new(format!("is no parameter of {}", family.name)).at_key(&key)),
        None => Ok(()),
    }
}

fn parameter(params: Value<'_>, name: &str, default: Option<f64>) -> Result<f64, Refusal> {
    let value = match field(params, name)? {
        Some(value) => expect_number(value),
        None => default.ok_or_else(|| Refusal::new("is missing")),
    };
    value.map_err(|refusal| refusal.at_key(name))
}

/// `error` about the parameter that was sent as `key`, quoting what was sent.
fn out_of_range(params: Value<'_>, key: &str, error: InvalidParameter) -> Refusal {
    let sent = params.members().find(|(name, _)| name == key);
    let got = sent.map_or_else(|| format!("{:?}", error.value), |(_, value)| value.describe());
    Refusal::new(format!("must be {}, got {got}", error.range)).at_key(key)
}

/// Python's `statistics.NormalDist`: `mu` (else `loc`, else 0) and `sigma` (else `scale`, else 1); others are ignored.
fn statistics_normal(name: Option<Value<'_>>, params: Option<Value<'_>>) -> Result<Density, Refusal> {
    let name = expect_string(name, "name")?;
    if name != "normal" {
        return Err(Refusal::new(format!("statistics has no {}: use normal", quoted(&name))).at_key("name"));
    }
    let params = params.ok_or_else(|| Refusal::new("is missing").at_key("params"))?;
    let read = || {
        expect_object(params, "an object of parameters")?;
        let [mu, sigma] = fields(params, ["mu", "sigma"])?;
        let loc_key = if mu.is_some() { "mu" } else { "loc" };
        let scale_key = if sigma.is_some() { "sigma" } else { "scale" };
        let loc = parameter(params, loc_key, Some(0.0))?;
        let scale = parameter(params, scale_key, Some(1.0))?;
        let key = |error: InvalidParameter| if error.name == "loc" { loc_key } else { scale_key };
        Norm::new(loc, scale).map(Density::Norm).map_err(|error| out_of_range(params, key(error), error))
    };
    read().map_err(|refusal| refusal.at_key("params"))
}
