//! The web page: files in the binary. Which view is shown is the page's own business: each of its addresses gets the same document.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;

use crate::App;
use crate::ask::Ask;
use crate::body::Body;
use crate::problem::Problem;

/// The addresses of the page's views, as `page/js/router.js` knows them.
const VIEWS: [&str; 6] = ["/", "/models/{model_id}", "/rounds", "/rounds/{round_id}", "/market", "/system"];

/// A file of the page.
struct File {
    /// Below `/assets/`.
    path: &'static str,
    content: &'static str,
}

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(File { path: $path, content: include_str!(concat!("../page/", $path)) }),*]
    };
}

static FILES: &[File] = &files![
    "app.css",
    "docs.css",
    "js/advice.js",
    "js/api.js",
    "js/charts.js",
    "js/components.js",
    "js/docs.js",
    "js/dom.js",
    "js/fan.js",
    "js/format.js",
    "js/key.js",
    "js/live.js",
    "js/main.js",
    "js/router.js",
    "js/sparkline.js",
    "js/theme.js",
    "js/views/leaderboard.js",
    "js/views/market.js",
    "js/views/model.js",
    "js/views/round.js",
    "js/views/rounds.js",
    "js/views/system.js",
    "vendor/uplot/LICENSE",
    "vendor/uplot/VERSION",
    "vendor/uplot/uPlot.iife.min.js",
    "vendor/uplot/uPlot.min.css",
];

/// The document at the address of every view, and the files that it loads.
pub(crate) fn routes() -> Router<Arc<App>> {
    let documents = VIEWS.into_iter().fold(Router::new(), |router, path| router.route(path, get(html)));
    documents.route("/docs", get(docs)).route("/assets/{*path}", get(asset))
}

/// The one document; which view it shows is up to its script, so that its address and query do not matter.
static DOCUMENT: LazyLock<Body> =
    LazyLock::new(|| Body::new("text/html; charset=utf-8", include_str!("../page/index.html")));

/// The page to try the API; its script makes it from the OpenAPI document.
static DOCS: LazyLock<Body> =
    LazyLock::new(|| Body::new("text/html; charset=utf-8", include_str!("../page/docs.html")));

static ASSETS: LazyLock<HashMap<&str, Body>> = LazyLock::new(|| {
    let body = |file: &File| Body::new(content_type(file.path), file.content);
    FILES.iter().map(|file| (file.path, body(file))).collect()
});

async fn html(ask: Ask) -> Result<Response, Problem> {
    ask.answer(&DOCUMENT).await
}

async fn docs(ask: Ask) -> Result<Response, Problem> {
    ask.answer(&DOCS).await
}

async fn asset(Path(path): Path<String>, uri: Uri, ask: Ask) -> Result<Response, Problem> {
    let body = ASSETS.get(path.as_str()).ok_or_else(|| unknown(&uri))?;
    ask.answer(body).await
}

fn unknown(uri: &Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::not_found(format!("The page has no file at {path}. The page at / names those that it has."))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn files_below(folder: &Path, prefix: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => files_below(&entry.path(), &format!("{path}/"), found),
                false => _ = found.insert(path),
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_in_the_binary() {
        let mut stored = BTreeSet::new();
        files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page"), "", &mut stored);
        assert!(stored.remove("index.html") && stored.remove("docs.html"));
        let served: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(served, stored);
    }

    #[test]
    fn every_module_is_named_by_a_document_so_that_none_waits_for_another() {
        let documents = [include_str!("../page/index.html"), include_str!("../page/docs.html")].concat();
        for file in FILES.iter().filter(|file| file.path.ends_with(".js") || file.path.ends_with(".css")) {
            assert!(documents.contains(&format!("\"/assets/{}\"", file.path)), "{} is not named", file.path);
        }
    }
}
