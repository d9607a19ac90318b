//! The worker as its callers start it: on a port, over a real database.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::Arc;

use domain::{
    Asset, Clock, CrunchId, Cruncher, DeploymentId, Method, Model, ModelId, ModelStanding, Parameter,
    ParameterStanding, PerWindow, Prediction, PredictionStatus, Question, Schedules, SimulatedClock, Span,
    Standings, Stopwatch, Target, Timestamp, WindowScore, rank,
};
use report_worker::{PriceOrigin, Process, ReportSettings, run};
use serde_json::{Value, json};
use storage::{
    ChangeNumber, Hold, HolderId, LeaseName, LeaseRepository, ModelRepository, RoundRepository,
    StandingsRepository, Store,
};
use storage_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn now() -> Timestamp {
    "2025-05-29T00:00:07Z".parse().unwrap()
}

fn crunch() -> CrunchId {
    CrunchId::new("condor").unwrap()
}

fn btc() -> Asset {
    Asset::new("BTC").unwrap()
}

fn model() -> Model {
    Model {
        id: ModelId::new("7").unwrap(),
        deployment_id: DeploymentId::new("d").unwrap(),
        name: Some("walker".into()),
        cruncher: Cruncher { id: None, name: Some("Ann".into()) },
        joined_at: now() - Span::days(9),
        last_connected_at: now(),
        is_baseline: false,
    }
}

fn question(at: Timestamp) -> Question {
    Question::new(
        &crunch(),
        btc(),
        Span::HOUR,
        vec![Span::minutes(1)],
        Method::Predict,
        Target::LogReturn,
        at,
    )
}

async fn fill(store: &SqliteStore) {
    store.save_models(&[model()]).await.unwrap();
    let at = "2025-05-28T20:00:00Z".parse().unwrap();
    let question = question(at);
    let mut prediction = Prediction::unanswered(model().id, None, PredictionStatus::Success, "");
    prediction.reason = None;
    prediction.answer = Some(vec![1].into());
    store.close_round(&question, at + Span::seconds(1), &[prediction]).await.unwrap();
    let window = WindowScore { score: Some(0.0), raw: Some(0.25), predictions: 4, valid: 3, full: true };
    let windows = PerWindow { recent: window, steady: window, anchor: window };
    let standing = ModelStanding {
        model_id: model().id,
        first_scored_at: Some(now() - Span::days(8)),
        windows,
        parameters: vec![ParameterStanding {
            parameter: Parameter { asset: btc(), horizon: Span::HOUR },
            windows,
        }],
    };
    let as_of = "2025-05-29T00:00:00Z".parse().unwrap();
    let standings = Standings { as_of, models: vec![standing] };
    let hold = Hold { by: HolderId::random(), now: as_of, lasts: Span::HOUR };
    let lease = store.take_lease(LeaseName::Ranking, &hold).await.unwrap().unwrap();
    store.save_leaderboard(&rank(&standings, "crps/1"), &standings, ChangeNumber(0), &lease).await.unwrap();
}

/// A stream of events, frame by frame.
struct Frames {
    stream: reqwest::Response,
    /// What is not a whole frame yet.
    received: String,
}

impl Frames {
    /// The next frame but for heartbeats, which come when they come; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            while let Some((frame, rest)) = self.received.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.received = rest;
                if !frame.starts_with(':') {
                    return Some(frame);
                }
            }
            self.received.push_str(std::str::from_utf8(&self.stream.chunk().await.unwrap()?).unwrap());
        }
    }
}

#[tokio::test]
async fn a_worker_serves_what_is_stored_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        SqliteStore::open(&format!("sqlite://{}", folder.path().join("t.db").display())).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let schedules = Schedules::new(Schedules::standard(&[btc()]), Span::minutes(1)).unwrap();
    let settings = tokio::sync::watch::Sender::new(Arc::new(ReportSettings {
        prices: PriceOrigin::Recorded(Span::days(7)),
        ..ReportSettings::new(crunch(), schedules)
    }));
    let shutdown = CancellationToken::new();
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::at(now()));
    let (reading, in_force) = (Arc::new(store.clone()), settings.subscribe());
    let worker = tokio::spawn(run(listener, reading, clock, in_force, Process::unnamed(), shutdown.clone()));
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let response = client.get(format!("{base}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };

    let (status, body) = get("/readyz").await;
    assert_eq!((status, &body["checks"]["database"]), (503, &json!("ok")));
    assert!(body["checks"]["schema"].as_str().unwrap().contains("condor db migrate"), "{body}");

    store.migrate().await.unwrap();
    fill(&store).await;
    // What could not be read is not asked for again at once.
    while get("/readyz").await.0 == 503 || get("/statistics").await.0 == 503 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let (_, board) = get("/leaderboard").await;
    assert_eq!(
        board["models"],
        json!([{"rank": 1, "model_id": "7", "model_name": "walker", "cruncher_name": "Ann", "baseline": false, "score": 0.0,
                "raw_score": 0.25, "prediction_count": 4, "full": true}])
    );
    let (_, metrics) = get("/model/7/metrics").await;
    assert_eq!(
        metrics["by_horizon"]["1h"],
        json!({"count": 4, "mean_score": 0.0, "mean_raw_score": 0.25, "success_rate": 0.75,
               "recent_24h": 0.0, "steady_72h": 0.0, "anchor_7d": 0.0})
    );
    let (_, statistics) = get("/statistics").await;
    assert_eq!(
        statistics,
        json!({"total_models": 1, "active_models": 1, "total_predictions": 1, "predictions_last_24h": 1,
               "as_of": "2025-05-29T00:00:07Z", "stale": false})
    );

    let stream = client.get(format!("{base}/api/v1/events")).send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut frames = Frames { stream, received: String::new() };
    assert_eq!(frames.next().await.unwrap(), "retry: 2000");
    let newcomer = Model { id: ModelId::new("8").unwrap(), name: None, ..model() };
    let since = Stopwatch::start();
    store.save_models(&[newcomer]).await.unwrap();
    assert_eq!(
        frames.next().await.unwrap(),
        "event: model\ndata: {\"model_id\":\"8\",\"model_name\":\"8\",\"change\":\"joined\"}"
    );
    assert!(since.elapsed() < std::time::Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!(get("/model/8/metrics").await.0, 200, "what is told is there");
    let at = "2025-05-28T21:00:00Z".parse().unwrap();
    store.mark_asked(&[question(at)], at).await.unwrap();
    let event = frames.next().await.unwrap();
    assert!(event.starts_with("event: round\n") && event.contains("\"state\":\"asked\""), "{event}");

    shutdown.cancel();
    assert_eq!(frames.next().await, None, "streams end with the worker");
    worker.await.unwrap().unwrap();
    assert!(client.get(format!("{base}/healthz")).send().await.is_err());
}
