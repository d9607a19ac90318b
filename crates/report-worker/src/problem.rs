//! Errors as clients see them: `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use storage::StorageError;
use utoipa::ToSchema;

use crate::cache::Unavailable;

/// When a client may ask again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An error with a sentence that says what to do. Its type is `about:blank`: the status says what kind it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem { status, detail: detail.into() }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn internal() -> Self {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The report worker failed to answer; its log says why. Please report it.",
        )
    }
}

impl Problem {
    /// Something that is not read ahead cannot be read. The cause goes to the log.
    pub(crate) fn unreadable(error: &StorageError) -> Self {
        tracing::warn!(%error, "report worker: what a request asks for cannot be read: {error}");
        Unavailable.into()
    }
}

impl From<Unavailable> for Problem {
    fn from(_: Unavailable) -> Self {
        Problem::unavailable(
            "The data cannot be read at the moment. Ask again in a few seconds; /readyz says what is wrong.",
        )
    }
}

/// RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    /// `about:blank`: the status says what kind of problem it is.
    r#type: &'a str,
    /// The status in words.
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence that says what to do.
    detail: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&self.status) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
