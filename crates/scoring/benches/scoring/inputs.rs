//! Inputs that are the same at each run: day-ahead forecasts, every five minutes, of a price of a few dollars, whose moves are
//! written as long as returns are.

use std::error::Error;
use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

/// How many normals are scored at once.
const NORMALS: usize = 1_000_000;
/// About as many as a few answers hold: they stay in the cache in which parsing left them.
const MIXTURES: usize = 2_000;
/// Outcomes of one density on the grid, and points of one density.
const OUTCOMES: usize = 100;
/// Densities in an answer.
pub const INCREMENTS: usize = 288;

/// The window of the grid, as crunch-synth has it for XRP, and its points.
pub const HALF_WIDTH: f64 = 0.04;
pub const POINTS: u32 = 1024;

/// The standard deviation of the price's moves.
const MOVE: f64 = 0.002;

/// Everything that is scored.
pub struct Inputs {
    pub normals: Normals,
    pub mixtures: Mixtures,
    pub moves: Vec<f64>,
    /// One more than increments.
    pub prices: Vec<f64>,
    pub normal: String,
    pub mixture: String,
    pub six_digits: String,
    pub full_doubles: String,
    pub identical: String,
}

/// Normal distributions and their outcomes.
#[derive(Serialize)]
pub struct Normals {
    pub x: Vec<f64>,
    pub loc: Vec<f64>,
    pub scale: Vec<f64>,
}

/// Mixtures of two normals and their outcomes; the weights add up to 1.
#[derive(Serialize)]
pub struct Mixtures {
    pub x: Vec<f64>,
    pub loc: Vec<[f64; 2]>,
    pub scale: Vec<[f64; 2]>,
    pub weight: Vec<[f64; 2]>,
}

impl Inputs {
    pub fn generate() -> Self {
        let mut random = Random(3);
        let six_digits: Vec<String> =
            (0..INCREMENTS).map(|_| mixture_text(&mut random, six_digits)).collect();
        let full_doubles: Vec<String> = (0..INCREMENTS).map(|_| mixture_text(&mut random, |x| x)).collect();
        let identical = vec![six_digits[0].clone(); INCREMENTS];
        Inputs {
            normals: Normals::generate(&mut random),
            mixtures: Mixtures::generate(&mut random),
            moves: (0..OUTCOMES).map(|_| random.normal(MOVE)).collect(),
            prices: prices(&mut random),
            normal: normal_text(0.015 * MOVE, 0.9 * MOVE),
            mixture: six_digits[0].clone(),
            six_digits: list(&six_digits),
            full_doubles: list(&full_doubles),
            identical: list(&identical),
        }
    }

    pub fn write(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        let write = |name: &str, content: Vec<u8>| fs::write(folder.join(format!("{name}.json")), content);
        write("normals", serde_json::to_vec(&self.normals)?)?;
        write("mixtures", serde_json::to_vec(&self.mixtures)?)?;
        write("prices", serde_json::to_vec(&self.prices)?)?;
        for (name, text) in [("normal", &self.normal), ("mixture", &self.mixture)] {
            let density: Value = serde_json::from_str(text)?;
            let pdf = json!({"density": density, "points": self.moves});
            write(&format!("pdf_{name}"), serde_json::to_vec(&pdf)?)?;
            let grid = json!({
                "density": density, "moves": self.moves, "t_min": -HALF_WIDTH, "t_max": HALF_WIDTH, "points": POINTS,
            });
            write(&format!("grid_{name}"), serde_json::to_vec(&grid)?)?;
        }
        write("answer_6_digits", self.six_digits.clone().into_bytes())?;
        write("answer_full_doubles", self.full_doubles.clone().into_bytes())?;
        write("answer_identical", self.identical.clone().into_bytes())?;
        Ok(())
    }
}

impl Normals {
    fn generate(random: &mut Random) -> Self {
        let mut normals = Normals { x: Vec::new(), loc: Vec::new(), scale: Vec::new() };
        for _ in 0..NORMALS {
            let (loc, scale) = (random.normal(0.1 * MOVE), random.between(0.3 * MOVE, 1.5 * MOVE));
            normals.x.push(loc + random.normal(1.2 * scale));
            normals.loc.push(loc);
            normals.scale.push(scale);
        }
        normals
    }
}

impl Mixtures {
    fn generate(random: &mut Random) -> Self {
        let mut mixtures = Mixtures { x: Vec::new(), loc: Vec::new(), scale: Vec::new(), weight: Vec::new() };
        for _ in 0..MIXTURES {
            let [(loc, scale, weight), (other_loc, other_scale, _)] = components(random);
            mixtures.x.push(random.normal(1.2 * MOVE));
            mixtures.loc.push([loc, other_loc]);
            mixtures.scale.push([scale, other_scale]);
            mixtures.weight.push([weight, 1.0 - weight]);
        }
        mixtures
    }
}

/// Location, scale and weight of a calm and of a wild component.
fn components(random: &mut Random) -> [(f64, f64, f64); 2] {
    [
        (random.normal(0.05 * MOVE), random.between(0.5 * MOVE, MOVE), random.between(0.5, 0.9)),
        (random.normal(0.1 * MOVE), random.between(1.2 * MOVE, 3.0 * MOVE), random.between(0.1, 0.5)),
    ]
}

fn prices(random: &mut Random) -> Vec<f64> {
    let mut price = 2.5;
    let walk = (0..=INCREMENTS).map(|_| {
        price += random.normal(MOVE);
        (price * 1e5_f64).round() / 1e5
    });
    walk.collect()
}

/// As Python's `json.dumps` writes it.
fn normal_text(loc: f64, scale: f64) -> String {
    format!(r#"{{"type": "builtin", "name": "norm", "params": {{"loc": {loc:?}, "scale": {scale:?}}}}}"#)
}

fn mixture_text(random: &mut Random, digits: fn(f64) -> f64) -> String {
    let component = |(loc, scale, weight): (f64, f64, f64)| {
        let density = normal_text(digits(loc), digits(scale));
        format!(r#"{{"density": {density}, "weight": {:?}}}"#, digits(weight))
    };
    format!(r#"{{"type": "mixture", "components": {}}}"#, list(&components(random).map(component)))
}

fn list(elements: &[String]) -> String {
    format!("[{}]", elements.join(", "))
}

fn six_digits(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform, above `low` and below `high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        low + unit * (high - low)
    }

    /// Normal around 0 (Box and Muller 1958).
    fn normal(&mut self, scale: f64) -> f64 {
        let radius = (-2.0 * libm::log(self.between(0.0, 1.0))).sqrt();
        scale * radius * libm::cos(self.between(0.0, TAU))
    }
}
