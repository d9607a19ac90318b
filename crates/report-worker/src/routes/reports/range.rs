//! Of which models, from when to when.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use domain::{ModelId, Span, Timestamp, TimestampExt};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::App;
use crate::problem::Problem;

/// How far back a chart goes unless `start` says.
const DEFAULT_SPAN: Span = Span::days(30);

/// Nothing is from before, and instants from here on can be reckoned with.
const EARLIEST: Timestamp = Timestamp::UNIX_EPOCH;

/// The year 2200: nothing is from later.
fn latest() -> Timestamp {
    Timestamp::from_timestamp(7_258_118_400, 0).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Of which models, from when to when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    /// `None`: of all.
    models: Option<BTreeSet<ModelId>>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// What the OpenAPI document says of it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes, and is never made")]
#[allow(non_snake_case, reason = "the client's name")]
pub(crate) struct RangeParams {
    /// Model ids, joined by commas or as repeated parameters; all models without any. Ids that are not known have no rows. A
    /// path with its query has 65,534 bytes at most: 1,700 ids of 36 characters.
    #[param(required = false, style = Form, explode = false)]
    projectIds: Vec<String>,
    /// The first instant: RFC 3339, in UTC where no zone is given, or a day. 30 days before the end unless given.
    #[param(
        required = false,
        pattern = "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])([T ]([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)?)?$"
    )]
    start: String,
    /// The last instant, as late as the first or later; now unless given.
    #[param(
        required = false,
        pattern = "^\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\\d|3[01])([T ]([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,9})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)?)?$"
    )]
    end: String,
}

impl Range {
    fn parse(pairs: &[(String, String)], now: Timestamp) -> Result<Self, Problem> {
        let (mut ids, mut start, mut end) = (Vec::new(), None, None);
        for (name, value) in pairs {
            match name.as_str() {
                "projectIds" => ids.extend(value.split(',').map(str::trim).filter(|id| !id.is_empty())),
                "start" => set_once(&mut start, name, value)?,
                "end" => set_once(&mut end, name, value)?,
                _ => {
                    let name: String = name.chars().take(100).collect();
                    return Err(Problem::bad_request(format!(
                        "`{name}` is no parameter of this; there are projectIds, start and end."
                    )));
                }
            }
        }
        let end = end.unwrap_or(now).clamp(EARLIEST, latest());
        let start = start.unwrap_or(end - DEFAULT_SPAN).clamp(EARLIEST, latest());
        if start > end {
            return Err(Problem::bad_request("The start lies after the end."));
        }
        // What can be no id is the id of nobody.
        let models = (!ids.is_empty()).then(|| ids.into_iter().filter_map(|id| id.parse().ok()).collect());
        Ok(Range { models, start, end })
    }

    /// The same slots, whenever within an interval of them it was asked for.
    pub(super) fn to_slots(&self, interval: Span) -> Self {
        let (start, end) = (self.start.ceil_to(interval), self.end.floor_to(interval));
        Range { start, end, models: self.models.clone() }
    }

    /// Whether rows of this model are asked for.
    pub(super) fn holds(&self, model: &ModelId) -> bool {
        self.models.as_ref().is_none_or(|models| models.contains(model))
    }

    /// Of which models, as a part of the key of an answer.
    pub(super) fn models_key(&self) -> String {
        match &self.models {
            None => String::new(),
            Some(models) => {
                let ids: Vec<&str> = models.iter().map(ModelId::as_str).collect();
                // Control characters are in no id.
                Uuid::new_v5(&Uuid::nil(), ids.join("\n").as_bytes()).to_string()
            }
        }
    }
}

fn set_once(place: &mut Option<Timestamp>, name: &str, value: &str) -> Result<(), Problem> {
    if place.is_some() {
        return Err(Problem::bad_request(format!("`{name}` is given twice.")));
    }
    let instant = instant(value).ok_or_else(|| {
        Problem::bad_request(format!("`{name}` is no instant: write it like 2026-01-31T12:00:00Z."))
    })?;
    *place = Some(instant);
    Ok(())
}

/// With zone, or in UTC; a date alone is its midnight. A plus in a query is a space unless it is escaped, and clients forget to.
fn instant(text: &str) -> Option<Timestamp> {
    let text = match text.char_indices().nth(10) {
        Some((at, ' ')) => format!("{}T{}", &text[..at], &text[at + 1..]),
        _ => text.to_owned(),
    };
    let text = text.replace(' ', "+");
    let forms = [text.clone(), format!("{text}Z"), format!("{text}T00:00:00Z")];
    forms.iter().find_map(|form| form.parse().ok())
}

impl FromRequestParts<Arc<App>> for Range {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Range::parse(&pairs, app.clock.now()),
            Err(_) => Err(Problem::bad_request("The query parameters are not understood.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T12:00:07Z".parse().unwrap()
    }

    fn parsed(pairs: &[(&str, &str)]) -> Result<Range, Problem> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Range::parse(&pairs, now())
    }

    fn ids(range: &Range) -> Vec<&str> {
        range.models.iter().flatten().map(ModelId::as_str).collect()
    }

    #[test]
    fn ids_come_joined_or_repeated_and_no_id_is_every_model() {
        let joined = parsed(&[("projectIds", "7,12, 9,")]).unwrap();
        let repeated = parsed(&[("projectIds", "12"), ("projectIds", "9,7"), ("projectIds", "9")]).unwrap();
        assert_eq!(ids(&joined), ["12", "7", "9"]);
        assert_eq!(joined, repeated);
        assert_eq!(joined.models_key(), repeated.models_key());
        let all = parsed(&[("projectIds", "")]).unwrap();
        assert_eq!((all.models.as_ref(), all.models_key()), (None, String::new()));
        let nobody = parsed(&[("projectIds", &"x".repeat(201))]).unwrap();
        assert!(!nobody.holds(&"7".parse().unwrap()) && all.holds(&"7".parse().unwrap()));
        assert_ne!(nobody.models_key(), all.models_key());
    }

    #[test]
    fn a_span_is_the_last_30_days_unless_it_is_given() {
        let range = parsed(&[]).unwrap();
        assert_eq!((range.start, range.end), ("2026-01-01T12:00:07Z".parse().unwrap(), now()));
        let expected: Timestamp = "2026-01-30T12:00:00Z".parse().unwrap();
        for text in [
            "2026-01-30T12:00:00Z",
            "2026-01-30T12:00:00.000Z",
            "2026-01-30T12:00:00.000",
            "2026-01-30 12:00:00",
            "2026-01-30T14:00:00+02:00",
            "2026-01-30T14:00:00 02:00",
        ] {
            assert_eq!(parsed(&[("start", text)]).unwrap().start, expected, "{text}");
        }
        assert_eq!(
            parsed(&[("start", "2026-01-30")]).unwrap().start,
            "2026-01-30T00:00:00Z".parse::<Timestamp>().unwrap()
        );
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for pairs in [
            [("start", "soon"), ("end", "2026-01-30")],
            [("start", ""), ("end", "2026-01-30")],
            [("start", "é2026-01-3 0"), ("end", "2026-01-30")],
            [("start", "2026-01-31"), ("end", "2026-01-30")],
            [("start", "2026-01-31"), ("start", "2026-01-31")],
            [("start", "2026-01-31"), ("model", "7")],
        ] {
            assert!(parsed(&pairs).is_err(), "{pairs:?}");
        }
        let ages =
            parsed(&[("start", "-200000-01-01T00:00:00Z"), ("end", "+200000-01-01T00:00:00Z")]).unwrap();
        assert_eq!((ages.start, ages.end), (EARLIEST, latest()));
        assert!(parsed(&[("end", "-200000-01-01T00:00:00Z")]).is_ok());
    }
}
