//! Answers that carry an entity tag, so that a client that has the content already gets 304 (RFC 9110).

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::problem::Problem;

/// Answers with `value` as JSON, or with 304.
pub(crate) fn tagged_json<T: Serialize>(request: &HeaderMap, value: &T) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "report worker: an answer has no JSON form: {error}");
        Problem::internal()
    })?;
    Ok(tagged(request, "application/json", body))
}

/// Answers with `body`, or with 304 when the request names its tag.
///
/// The tag follows from the content, so that every copy of this worker gives the same. It is a weak one, since the same
/// content goes out compressed and plain.
pub(crate) fn tagged(request: &HeaderMap, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let body = body.into();
    let tag = format!("W/\"{}\"", Uuid::new_v5(&Uuid::nil(), &body).simple());
    let mut response = if names_tag(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// True when `If-None-Match` holds the tag, compared weakly, or `*`.
fn names_tag(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|candidate| candidate.trim() == "*" || opaque(candidate) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let matches = |text: &str| {
            let headers =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(text).unwrap())]);
            names_tag(&headers, "W/\"abc\"")
        };
        assert!(matches("W/\"abc\"") && matches("\"abc\"") && matches("\"x\", W/\"abc\"") && matches("*"));
        assert!(!matches("\"ab\"") && !matches("abc") && !matches(""));
        assert!(!names_tag(&HeaderMap::new(), "W/\"abc\""));
    }
}
