//! Stands in for the parsers of samples and quantiles until they are merged.
use scoring::{Density, Limits, Refusal};

pub fn parse_samples(_: &[u8], _: &Limits) -> Result<Density, Refusal> {
    Err(Refusal { path: String::new(), reason: "samples are not supported".into() })
}
pub fn parse_quantiles(_: &[u8], _: &Limits) -> Result<Density, Refusal> {
    Err(Refusal { path: String::new(), reason: "quantiles are not supported".into() })
}
