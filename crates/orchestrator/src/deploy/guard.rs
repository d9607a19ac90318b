//! Who is let in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::key::DeployKey;
use super::problem::Problem;

/// Checks every request before anything else of it is read.
#[derive(Clone)]
pub(super) struct Guard {
    key: Arc<DeployKey>,
    is_loopback: bool,
}

impl Guard {
    pub(super) fn new(key: DeployKey, address: SocketAddr) -> Self {
        Guard { key: Arc::new(key), is_loopback: address.ip().is_loopback() }
    }

    fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let forbidden = |why: &str| Err(Problem::new(StatusCode::FORBIDDEN, why));
        if headers.contains_key(header::ORIGIN) {
            return forbidden(
                "Pages in a browser are kept out: use a client of your own, such as `condor models`.",
            );
        }
        // a name of somebody else's that leads here: a page in a browser would not even need a foreign origin
        if self.is_loopback && !names_loopback(headers) {
            return forbidden(
                "This is not the host that you asked for: ask for localhost or a loopback address.",
            );
        }
        let is_reading = method == Method::GET || method == Method::HEAD;
        if (is_reading && self.is_loopback) || self.knows_key(headers) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "This needs the deploy key: send `Authorization: Bearer KEY`. The orchestrator says at its start where its key is.",
        ))
    }

    fn knows_key(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        sent.and_then(bearer).is_some_and(|key| self.key.is(key))
    }
}

/// What comes after `Bearer `; the scheme may be written in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key)
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(authority) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Lets a request pass or answers it.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let (method, path) = (request.method(), request.uri().path());
            tracing::info!(%method, path, "deploy API: {method} {path} was refused: {problem:?}");
            problem.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn status(address: &str, method: Method, headers: &[(header::HeaderName, &str)]) -> u16 {
        let guard = Guard::new(DeployKey::new(KEY).unwrap(), address.parse().unwrap());
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        guard
            .check(&method, &headers)
            .map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn on_loopback_reading_is_free_and_changing_needs_the_key() {
        let (here, host) = ("127.0.0.1:8001", (header::HOST, "localhost:8001"));
        let right = (header::AUTHORIZATION, "bearer 0123456789abcdef");
        assert_eq!(status(here, Method::GET, std::slice::from_ref(&host)), 200);
        for change in [Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            assert_eq!(status(here, change.clone(), std::slice::from_ref(&host)), 401, "{change}");
            assert_eq!(status(here, change.clone(), &[host.clone(), right.clone()]), 200, "{change}");
            for wrong in ["Bearer ", "Bearer x", "0123456789abcdef", "Basic 0123456789abcdef"] {
                let wrong = (header::AUTHORIZATION, wrong);
                assert_eq!(status(here, change.clone(), &[host.clone(), wrong]), 401, "{change}");
            }
        }
    }

    #[test]
    fn beyond_loopback_everything_needs_the_key() {
        let right = (header::AUTHORIZATION, "Bearer 0123456789abcdef");
        let host = (header::HOST, "models.example:8001");
        assert_eq!(status("192.0.2.1:8001", Method::GET, std::slice::from_ref(&host)), 401);
        assert_eq!(status("192.0.2.1:8001", Method::GET, &[host, right]), 200);
    }

    #[test]
    fn pages_in_a_browser_are_kept_out_whatever_they_know() {
        let right = (header::AUTHORIZATION, "Bearer 0123456789abcdef");
        let origin = (header::ORIGIN, "http://localhost:3000");
        let host = (header::HOST, "127.0.0.1:8001");
        assert_eq!(status("127.0.0.1:8001", Method::POST, &[host, right.clone(), origin]), 403);
        for foreign in ["evil.example:8001", "127.0.0.1.evil.example", "10.0.0.1"] {
            assert_eq!(status("127.0.0.1:8001", Method::GET, &[(header::HOST, foreign)]), 403, "{foreign}");
        }
        assert_eq!(status("127.0.0.1:8001", Method::GET, &[]), 403, "a request names its host");
        assert_eq!(status("[::1]:8001", Method::GET, &[(header::HOST, "[::1]:8001")]), 200);
    }
}
