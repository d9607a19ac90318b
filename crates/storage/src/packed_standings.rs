//! Window scores as stored. Those of a thousand models are some 80,000 floating-point numbers: as JSON, which they once were,
//! they would be most of what a leaderboard costs.

use std::collections::BTreeMap;

use domain::{
    Asset, ModelId, ModelStanding, Parameter, ParameterStanding, PerWindow, Span, Standings, Timestamp,
    WindowScore,
};

use crate::codec::{decode_document, pack, unpack};
use crate::varint::{push_number, take_number};

/// The form of [`encode_standings`]. JSON in a zstd frame, as standings once were, begins with another byte.
const FORM: u8 = 1;

/// The first byte of a zstd frame.
const FRAME: u8 = 0x28;

const HAS_SCORE: u8 = 1;
const HAS_RAW: u8 = 2;
const IS_FULL: u8 = 4;

/// Packs window scores: the form, the length of a frame, the frame with everything but scores, and the scores in the order in
/// which they belong to it. Numbers keep every bit, instants their microseconds.
pub fn encode_standings(standings: &Standings) -> Vec<u8> {
    let parameters = parameters_of(standings);
    let mut writer = Writer::default();
    writer.instant(standings.as_of);
    writer.number(parameters.len() as u64);
    for parameter in parameters.keys() {
        writer.text(parameter.asset.as_str());
        writer.number(u64::from(parameter.horizon.as_secs()));
    }
    writer.number(standings.models.len() as u64);
    for model in &standings.models {
        writer.model(model, &parameters);
    }
    writer.finish()
}

/// Unpacks window scores, also those that are JSON; the error says why it cannot be.
pub fn decode_standings(bytes: &[u8]) -> Result<Standings, String> {
    match bytes.split_first() {
        Some((&FRAME, _)) => decode_document(bytes),
        Some((&FORM, rest)) => {
            let damaged = || format!("these {} bytes are no window scores", bytes.len());
            let (words, floats) = halves(rest).ok_or_else(damaged)?;
            Reader { words: &unpack(words)?, floats }.standings().ok_or_else(damaged)
        }
        _ => Err("these bytes are of an unknown form".to_owned()),
    }
}

/// What is in the frame, and the scores.
fn halves(mut bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(take_number(&mut bytes)?).ok()?;
    bytes.split_at_checked(length)
}

/// Each parameter by its place in their order.
fn parameters_of(standings: &Standings) -> BTreeMap<&Parameter, u64> {
    let all = standings.models.iter().flat_map(|model| &model.parameters);
    let mut places: BTreeMap<&Parameter, u64> = all.map(|standing| (&standing.parameter, 0)).collect();
    places.values_mut().zip(0..).for_each(|(place, n)| *place = n);
    places
}

#[derive(Default)]
struct Writer {
    words: Vec<u8>,
    floats: Vec<u8>,
}

impl Writer {
    fn finish(self) -> Vec<u8> {
        let frame = pack(&self.words);
        let mut bytes = Vec::with_capacity(1 + 10 + frame.len() + self.floats.len());
        bytes.push(FORM);
        push_number(&mut bytes, frame.len() as u64);
        bytes.extend(frame);
        bytes.extend(self.floats);
        bytes
    }

    fn model(&mut self, model: &ModelStanding, parameters: &BTreeMap<&Parameter, u64>) {
        self.text(model.model_id.as_str());
        self.number(u64::from(model.first_scored_at.is_some()));
        if let Some(first) = model.first_scored_at {
            self.instant(first);
        }
        self.windows(&model.windows);
        self.number(model.parameters.len() as u64);
        for standing in &model.parameters {
            self.number(parameters[&standing.parameter]);
            self.windows(&standing.windows);
        }
    }

    fn windows(&mut self, windows: &PerWindow<WindowScore>) {
        for window in [windows.recent, windows.steady, windows.anchor] {
            let flag = |is_set, flag| if is_set { flag } else { 0 };
            self.words.push(
                flag(window.score.is_some(), HAS_SCORE)
                    | flag(window.raw.is_some(), HAS_RAW)
                    | flag(window.full, IS_FULL),
            );
            self.number(window.predictions);
            self.number(window.valid);
            for float in [window.score, window.raw].into_iter().flatten() {
                self.floats.extend(float.to_le_bytes());
            }
        }
    }

    fn number(&mut self, number: u64) {
        push_number(&mut self.words, number);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.words.extend(text.as_bytes());
    }

    fn instant(&mut self, instant: Timestamp) {
        self.words.extend(instant.timestamp_micros().to_le_bytes());
    }
}

/// Whatever it reads is `None` where the bytes make no sense.
struct Reader<'a> {
    words: &'a [u8],
    floats: &'a [u8],
}

impl Reader<'_> {
    fn standings(mut self) -> Option<Standings> {
        let as_of = self.instant()?;
        let parameters = self.some(Self::parameter)?;
        let models = self.some(|reader| reader.model(&parameters))?;
        (self.words.is_empty() && self.floats.is_empty()).then_some(Standings { as_of, models })
    }

    fn parameter(&mut self) -> Option<Parameter> {
        let asset = Asset::new(&self.text()?).ok()?;
        Some(Parameter { asset, horizon: Span::seconds(self.number()?.try_into().ok()?) })
    }

    fn model(&mut self, parameters: &[Parameter]) -> Option<ModelStanding> {
        Some(ModelStanding {
            model_id: ModelId::new(&self.text()?).ok()?,
            first_scored_at: match self.number()? {
                0 => None,
                _ => Some(self.instant()?),
            },
            windows: self.windows()?,
            parameters: self.some(|reader| {
                let place = usize::try_from(reader.number()?).ok()?;
                let parameter = parameters.get(place)?.clone();
                Some(ParameterStanding { parameter, windows: reader.windows()? })
            })?,
        })
    }

    /// A list, after the number of its members.
    fn some<T>(&mut self, mut member: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        // A list that says it were longer than it is ends where its members end, and takes no memory for the others.
        (0..count).map(|_| member(self)).collect()
    }

    fn windows(&mut self) -> Option<PerWindow<WindowScore>> {
        Some(PerWindow { recent: self.window()?, steady: self.window()?, anchor: self.window()? })
    }

    fn window(&mut self) -> Option<WindowScore> {
        let [flags] = self.take()?;
        let (predictions, valid) = (self.number()?, self.number()?);
        let score = self.float_if(flags & HAS_SCORE != 0)?;
        let raw = self.float_if(flags & HAS_RAW != 0)?;
        Some(WindowScore { score, raw, predictions, valid, full: flags & IS_FULL != 0 })
    }

    fn float_if(&mut self, is_there: bool) -> Option<Option<f64>> {
        if !is_there {
            return Some(None);
        }
        let (float, rest) = self.floats.split_first_chunk()?;
        self.floats = rest;
        Some(Some(f64::from_le_bytes(*float)))
    }

    fn number(&mut self) -> Option<u64> {
        take_number(&mut self.words)
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.words.split_at_checked(length)?;
        self.words = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn instant(&mut self) -> Option<Timestamp> {
        Timestamp::from_timestamp_micros(i64::from_le_bytes(self.take()?))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.words.split_first_chunk()?;
        self.words = rest;
        Some(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode_document;

    fn parameter(asset: &str, horizon: Span) -> Parameter {
        Parameter { asset: Asset::new(asset).unwrap(), horizon }
    }

    /// Models with all, some and no parameters, and odd numbers.
    fn standings(models: u64) -> Standings {
        let as_of: Timestamp = "2025-05-20T00:17:00.000001Z".parse().unwrap();
        let score = |n: u64| WindowScore {
            score: (n % 5 != 1).then(|| 1.0 / (n as f64 - 3.5)),
            raw: (!n.is_multiple_of(3)).then_some([0.1 + 0.2, 5e-324, f64::MAX, -0.0][n as usize % 4]),
            predictions: n * n * 1_000_003,
            valid: n,
            full: n.is_multiple_of(2),
        };
        let windows = |n: u64| PerWindow { recent: score(n), steady: score(n + 1), anchor: score(n + 2) };
        let all = [("BTC", Span::HOUR), ("ETH", Span::HOUR), ("ETH", Span::hours(24))];
        let models = (0..models).map(|n| ModelStanding {
            model_id: ModelId::new(&format!("modèle {n}")).unwrap(),
            first_scored_at: (!n.is_multiple_of(3)).then_some(as_of),
            windows: windows(n),
            parameters: all[n as usize % 2..][..(n as usize + 1) % 3]
                .iter()
                .zip(n..)
                .map(|((asset, horizon), n)| ParameterStanding {
                    parameter: parameter(asset, *horizon),
                    windows: windows(n),
                })
                .collect(),
        });
        Standings { as_of, models: models.collect() }
    }

    #[test]
    fn standings_come_back_to_the_bit_also_those_that_were_json() {
        for standings in [standings(0), standings(1), standings(40)] {
            let json = encode_document(&standings).unwrap();
            for bytes in [encode_standings(&standings), json] {
                let back = decode_standings(&bytes).unwrap();
                assert_eq!(format!("{back:?}"), format!("{standings:?}"), "also the sign of a zero");
            }
        }
    }

    #[test]
    fn what_is_cut_off_too_long_or_of_another_form_is_refused() {
        let whole = encode_standings(&standings(7));
        for length in 0..whole.len() {
            assert!(decode_standings(&whole[..length]).is_err(), "{length}");
        }
        assert!(decode_standings(&[&whole[..], &[0]].concat()).is_err());
        assert!(decode_standings(&[&[FORM + 1], &whole[1..]].concat()).is_err());
        let mut writer = Writer::default();
        writer.instant(standings(0).as_of);
        writer.number(0);
        writer.number(u64::MAX);
        assert!(decode_standings(&writer.finish()).is_err(), "a list without members");
    }
}
