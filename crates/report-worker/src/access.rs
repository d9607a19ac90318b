//! Who may read: keys, and pages of other hosts.

use std::convert::Infallible;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Cruncher;
use subtle::ConstantTimeEq;

use crate::App;
use crate::problem::Problem;

/// Who may read what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Reading needs a key. Without it everybody reads what is public.
    pub needs_key: bool,
    /// So does reading the metrics.
    pub metrics_need_key: bool,
    /// The keys.
    pub keys: Vec<Key>,
    /// Whose pages may read from a browser, such as `https://example.org`; nobody else's when empty.
    pub origins: Vec<String>,
}

/// A key, known by its digest alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whose it is; shown in logs.
    pub name: String,
    /// The SHA-256 digest of the key's text.
    pub sha256: [u8; 32],
    /// What it is good for.
    pub role: Role,
}

/// What a key is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Reading what is public, where that needs a key.
    Read,
    /// The same, and what concerns the models of this cruncher, by its id.
    Cruncher(String),
    /// Reading everything that may be shown to anybody.
    Admin,
}

impl Access {
    /// Whose key a request shows. All keys are compared, each in constant time.
    fn viewer(&self, headers: &HeaderMap, needs_key: bool) -> Result<Viewer, Problem> {
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return if needs_key { Err(key_needed()) } else { Ok(Viewer(None)) };
        };
        let shown = authorization.to_str().ok().and_then(bearer).ok_or_else(key_unknown)?;
        let shown = digest(&SHA256, shown.as_bytes());
        let mut known = None;
        for key in &self.keys {
            if bool::from(key.sha256[..].ct_eq(shown.as_ref())) {
                known = Some(key);
            }
        }
        known.map(|key| Viewer(Some(Arc::new(key.clone())))).ok_or_else(key_unknown)
    }

    fn lets_read(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn key_needed() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "Reading needs a key here: send it as `Authorization: Bearer KEY`.",
    )
}

fn key_unknown() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "This key is not known: send one that is, as `Authorization: Bearer KEY`, or leave the header out.",
    )
}

/// Who asks: the holder of a key, or anybody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Viewer(Option<Arc<Key>>);

impl Viewer {
    /// The name of the key; none for anybody.
    pub(crate) fn key_name(&self) -> Option<&str> {
        self.0.as_ref().map(|key| key.name.as_str())
    }

    /// True for who may see what is its owner's business in a model of this cruncher.
    pub(crate) fn owns(&self, cruncher: &Cruncher) -> bool {
        match self.0.as_ref().map(|key| &key.role) {
            None | Some(Role::Read) => false,
            Some(Role::Cruncher(id)) => cruncher.id.as_ref() == Some(id),
            Some(Role::Admin) => true,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Viewer>().cloned().unwrap_or_default())
    }
}

/// Lets in who may read, and notes who that is for the route.
pub(crate) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let access = &app.settings().0.access;
    let viewer = access.viewer(request.headers(), access.needs_key);
    admit_as(viewer, request, next).await
}

/// The same for who reads the metrics.
pub(crate) async fn admit_monitoring(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let access = &app.settings().0.access;
    let viewer = access.viewer(request.headers(), access.metrics_need_key);
    admit_as(viewer, request, next).await
}

async fn admit_as(viewer: Result<Viewer, Problem>, mut request: Request, next: Next) -> Response {
    match viewer {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(problem) => {
            let mut response = problem.into_response();
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}

/// Says to browsers that the pages of certain hosts may read. Cookies are not used, so that a key is all there is to send.
pub(crate) async fn share(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let Some(origin) = origin.filter(|origin| app.settings().0.access.lets_read(origin)) else {
        return next.run(request).await;
    };
    let asks_first = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match asks_first {
        true => (StatusCode::NO_CONTENT, PREFLIGHT).into_response(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, retry-after"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

const PREFLIGHT: [(header::HeaderName, &str); 3] = [
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, if-none-match"),
    (header::ACCESS_CONTROL_MAX_AGE, "600"),
];
