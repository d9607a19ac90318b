//! A request, as far as it decides which form of an answer goes out.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::App;
use crate::access::Viewer;
use crate::body::{Body, Coding, off_the_runtime};
use crate::problem::Problem;
use crate::rendered::Rendered;
use crate::stamp::Basis;

/// Who asks for what, and what they can do with the answer.
pub(crate) struct Ask {
    rendered: Arc<Rendered>,
    /// Who asks, path and query as sent: unknown parameters are refused, so that few spellings lead to one answer.
    place: String,
    if_none_match: Vec<HeaderValue>,
    coding: Coding,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let path = parts.uri.path_and_query().map_or("/", |place| place.as_str());
        // No path has a space in it.
        let place = match parts.extensions.get().and_then(Viewer::key_name) {
            Some(name) => format!("{name} {path}"),
            None => path.to_owned(),
        };
        let if_none_match = parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
        let rendered = Arc::clone(&app.rendered);
        Ok(Ask { rendered, place, if_none_match, coding: preferred_coding(&parts.headers) })
    }
}

impl Ask {
    /// The same question under another name: for answers that spans which move with the clock share.
    pub(crate) fn at(self, place: String) -> Self {
        Ask { place, ..self }
    }

    /// What is asked for: the same place has the same answer as long as its basis is the same.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Answers with what `render` makes of the readings whose stamps are `basis`. It is called once for each basis, however many
    /// ask, and may take long.
    pub(crate) async fn render(
        &self,
        basis: impl Into<Basis>,
        render: impl FnOnce() -> Result<Body, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        self.fetch(basis, off_the_runtime(render)).await
    }

    /// The same for answers that need more than is held in memory: `fetch` may ask the database.
    pub(crate) async fn fetch(
        &self,
        basis: impl Into<Basis>,
        fetch: impl Future<Output = Result<Body, Problem>>,
    ) -> Result<Response, Problem> {
        self.rendered.answer(self, basis, fetch).await
    }

    /// Answers with `body` in the form that the client takes, or with 304 when it has it.
    pub(crate) async fn answer(&self, body: &Body) -> Result<Response, Problem> {
        let mut response = match self.names(body.tag()) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => self.full(body).await?,
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, authorization"));
        headers.insert(header::ETAG, body.tag().clone());
        Ok(response)
    }

    async fn full(&self, body: &Body) -> Result<Response, Problem> {
        let (coding, bytes) = body.coded(self.coding).await?;
        let mut response = bytes.into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, body.content_type());
        let name = match coding {
            Coding::Identity => return Ok(response),
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
        };
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        Ok(response)
    }

    /// True when `If-None-Match` holds the tag, compared weakly, or `*` (RFC 9110).
    fn names(&self, tag: &HeaderValue) -> bool {
        let Ok(tag) = tag.to_str().map(opaque) else { return false };
        let candidates = self.if_none_match.iter().filter_map(|value| value.to_str().ok());
        candidates
            .flat_map(|value| value.split(','))
            .any(|candidate| candidate.trim() == "*" || opaque(candidate) == tag)
    }

    #[cfg(test)]
    pub(crate) fn for_path(place: &str) -> Self {
        let place = place.to_owned();
        Ask { rendered: Arc::default(), place, if_none_match: Vec::new(), coding: Coding::Identity }
    }
}

/// A tag without the mark of a weak one.
fn opaque(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/")
}

/// The shortest form that the client takes. Among those it takes, its own preferences are not asked for: content is the same.
fn preferred_coding(headers: &HeaderMap) -> Coding {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let accepted: Vec<&str> = values.flat_map(|value| value.split(',')).filter_map(accepted_coding).collect();
    let takes = |name: &str| accepted.iter().any(|coding| coding.eq_ignore_ascii_case(name));
    match (takes("br"), takes("gzip")) {
        (true, _) => Coding::Brotli,
        (false, true) => Coding::Gzip,
        (false, false) => Coding::Identity,
    }
}

/// The name of a coding in `Accept-Encoding`; `None` for one that is refused by a weight of 0.
fn accepted_coding(element: &str) -> Option<&str> {
    let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
    let weight = parameters.trim().strip_prefix("q=").map(|weight| weight.trim().parse::<f64>());
    (!matches!(weight, Some(Ok(0.0) | Err(_)))).then_some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let matches = |text: &str| {
            let if_none_match = vec![HeaderValue::from_str(text).unwrap()];
            Ask { if_none_match, ..Ask::for_path("/") }.names(&HeaderValue::from_static("W/\"abc\""))
        };
        assert!(matches("W/\"abc\"") && matches("\"abc\"") && matches("\"x\", W/\"abc\"") && matches("*"));
        assert!(!matches("\"ab\"") && !matches("abc") && !matches(""));
        assert!(!Ask::for_path("/").names(&HeaderValue::from_static("W/\"abc\"")));
    }

    #[test]
    fn the_shortest_coding_that_the_client_takes_is_chosen() {
        let coding = |value: &str| preferred_coding(&headers(header::ACCEPT_ENCODING, value));
        assert_eq!(coding("gzip, deflate, br"), Coding::Brotli);
        assert_eq!(coding("gzip;q=1.0, br;q=0"), Coding::Gzip);
        assert_eq!(coding("GZIP ; q=0.5"), Coding::Gzip);
        assert_eq!(coding("deflate, gzip;q=0.000, br;q=x"), Coding::Identity);
        assert_eq!(preferred_coding(&HeaderMap::new()), Coding::Identity);
    }
}
