//! Query parameters: unknown, repeated and malformed ones are refused, and the answer says what is accepted.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

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

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse() {
            Ok(limit @ 1..=Limit::MAX) => Ok(Limit(limit)),
            _ => Err(format!("expected a whole number from 1 to {}", Limit::MAX)),
        }
    }
}
