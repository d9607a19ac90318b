//! What the report worker shows: the real one, asked over HTTP.

use std::sync::Arc;

use domain::{Clock, ModelId, Span};
use report_worker::{Judging, Process, ReportSettings};
use storage::ReportStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::{crunch, score_settings, timetable};

/// What it shows of all models; the report worker's own tests try every path that there is.
const PATHS: [&str; 10] = [
    "/",
    "/leaderboard",
    "/statistics",
    "/api/v1/leaderboard",
    "/api/v1/status",
    "/api/v1/audit",
    "/api/v1/rounds",
    "/reports/predictions",
    "/healthz",
    "/readyz",
];

/// A page, and what it says.
pub struct Page {
    pub path: String,
    pub text: String,
}

/// What a report worker shows that was started just now: it has nothing in store that it read before.
pub async fn pages(store: Arc<dyn ReportStore>, clock: Arc<dyn Clock>, models: Vec<ModelId>) -> Vec<Page> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let judging = score_settings();
    let settings = watch::Sender::new(Arc::new(ReportSettings {
        leave_after: Span::days(1),
        judging: Judging { scoring: judging.scoring, settlement: judging.settlement },
        ..ReportSettings::new(crunch(), timetable(0))
    }));

    let shutdown = CancellationToken::new();
    let in_force = settings.subscribe();
    let running = report_worker::run(listener, store, clock, in_force, Process::unnamed(), shutdown.clone());
    let worker = tokio::spawn(running);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let of_models = models
        .iter()
        .flat_map(|model| [format!("/model/{model}/metrics"), format!("/api/v1/models/{model}/predictions")]);
    let mut pages = Vec::new();
    for path in PATHS.into_iter().map(str::to_owned).chain(of_models) {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        pages.push(Page { path, text: answer.text().await.unwrap() });
    }
    shutdown.cancel();
    drop(client);
    worker.await.unwrap().unwrap();
    pages
}

impl Page {
    /// The numbers on it.
    pub fn numbers(&self) -> impl Iterator<Item = f64> {
        let is_part = |letter: char| letter.is_ascii_digit() || "+-.eE".contains(letter);
        self.text.split(move |letter| !is_part(letter)).filter_map(|word| word.parse().ok())
    }
}
