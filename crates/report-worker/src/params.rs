//! Query parameters: unknown, repeated and malformed ones are refused, and the answer says what is accepted.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use domain::{ModelId, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::Problem;
use crate::schema;

/// The query parameters of a route. `T` denies unknown fields.
pub(crate) struct Params<T>(pub(crate) T);

/// How much of a complaint, which may quote the request, is sent back.
const MAX_COMPLAINT_CHARS: usize = 300;

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Params(params)),
            Err(rejection) => {
                let text = rejection.body_text();
                let complaint = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                let complaint: String = complaint.chars().take(MAX_COMPLAINT_CHARS).collect();
                Err(Problem::bad_request(format!("The query parameters are not understood: {complaint}.")))
            }
        }
    }
}

/// What of the path names things, by their ids.
pub(crate) struct InPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let Path(ids) = path.map_err(|rejection| {
            let complaint: String = rejection.body_text().chars().take(MAX_COMPLAINT_CHARS).collect();
            Problem::bad_request(format!("The path is not understood: {complaint}."))
        })?;
        Ok(InPath(ids))
    }
}

/// For routes without query parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

/// How many entries a list holds at most: 1 to [`Limit::MAX`], by default 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Limit(usize);

impl Limit {
    /// The longest list.
    pub(crate) const MAX: usize = 1000;

    pub(crate) fn get(self) -> usize {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Limit(100)
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
            .minimum(Some(1))
            .maximum(Some(Limit::MAX))
            .default(Some(Limit::default().get().into()))
            .into()
    }
}

impl ToSchema for Limit {}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(limit @ 1..=Limit::MAX) => Ok(Limit(limit)),
            _ => Err(format!("expected a whole number from 1 to {}", Limit::MAX)),
        }
    }
}

/// An instant as answers give it: RFC 3339 in UTC with `Z`. Other zones are refused, for a plus in a query is a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Instant(Timestamp);

impl Instant {
    pub(crate) fn get(self) -> Timestamp {
        self.0
    }
}

impl TryFrom<String> for Instant {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
        let rest = shape.strip_prefix("dddd-dd-ddTdd:dd:dd").and_then(|rest| rest.strip_suffix('Z'));
        let is_in_form = rest.is_some_and(|fraction| fraction.is_empty() || is_fraction(fraction));
        let instant: Option<Timestamp> = is_in_form.then(|| text.parse().ok()).flatten();
        // A second 60 is read as one that lasts for two.
        let instant = instant.filter(|instant| instant.timestamp_subsec_nanos() < 1_000_000_000);
        instant.map(Instant).ok_or("expected an instant in UTC, such as 2026-01-31T12:00:00Z")
    }
}

/// A point and one to nine `d`.
fn is_fraction(shape: &str) -> bool {
    (2..=10).contains(&shape.len())
        && shape.strip_prefix('.').is_some_and(|digits| digits.bytes().all(|c| c == b'd'))
}

impl PartialSchema for Instant {
    fn schema() -> RefOr<Schema> {
        schema::Timestamp::schema()
    }
}

impl ToSchema for Instant {}

/// Some models: 1 to [`ModelIds::MAX`] different ids with commas between them. One that holds a comma cannot be among them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ModelIds(Vec<ModelId>);

impl ModelIds {
    /// The most that are answered at once.
    pub(crate) const MAX: usize = 10;

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ModelId> {
        self.0.iter()
    }
}

impl TryFrom<String> for ModelIds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let ids: Vec<ModelId> =
            text.split(',').map(ModelId::new).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let is_repeated = |(place, id): (usize, &ModelId)| ids[..place].contains(id);
        if ids.len() > ModelIds::MAX || ids.iter().enumerate().any(is_repeated) {
            return Err(format!("expected up to {} different models", ModelIds::MAX));
        }
        Ok(ModelIds(ids))
    }
}

impl PartialSchema for ModelIds {
    fn schema() -> RefOr<Schema> {
        let id = "[^,\\u0000-\\u001f\\u007f-\\u009f]{1,200}";
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(2009))
            .pattern(Some(format!("^{id}(,{id}){{0,{}}}$", ModelIds::MAX - 1)))
            .into()
    }
}

impl ToSchema for ModelIds {}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Option<Timestamp> {
        Instant::try_from(text.to_owned()).ok().map(Instant::get)
    }

    #[test]
    fn instants_are_taken_as_the_document_says_and_in_no_other_form() {
        let whole: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(instant("2026-01-31T12:00:00Z"), Some(whole));
        assert_eq!(instant("2026-01-31T12:00:00.000000000Z"), Some(whole));
        assert!(instant("2026-01-31T12:00:00.5Z") > Some(whole));
        for other in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00+00:00",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31T13:00:00 01:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31t12:00:00z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00.0000000000Z",
            "2026-02-30T12:00:00Z",
            "2026-01-31T12:00:60Z",
            "2016-12-31T23:59:60Z",
            "+12026-01-31T12:00:00Z",
        ] {
            assert_eq!(instant(other), None, "{other}");
        }
    }
}
