//! The web page: three files in the binary.

use axum::http::HeaderMap;
use axum::response::Response;

use crate::respond::tagged;

/// `GET /`.
pub(crate) async fn html(headers: HeaderMap) -> Response {
    tagged(&headers, "text/html; charset=utf-8", include_str!("../page/index.html"))
}

/// `GET /assets/app.css`.
pub(crate) async fn css(headers: HeaderMap) -> Response {
    tagged(&headers, "text/css; charset=utf-8", include_str!("../page/app.css"))
}

/// `GET /assets/app.js`.
pub(crate) async fn js(headers: HeaderMap) -> Response {
    tagged(&headers, "text/javascript; charset=utf-8", include_str!("../page/app.js"))
}
