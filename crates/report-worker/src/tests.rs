//! What clients see, over a source in memory.

mod access;
mod boards;
mod browse;
mod metrics;
mod models;
mod openapi;
mod system;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use domain::{
    Asset, CrunchId, Cruncher, DeploymentId, Leaderboard, LedgerEntry, Model, ModelId, ModelStanding,
    Parameter, ParameterStanding, PerWindow, Rescoring, RoundId, Schedules, SimulatedClock, Span, Standings,
    StatusCounts, Timestamp, TimestampExt, Weights, WindowScore, rank,
};
use serde_json::{Value, json};
use storage::{
    AuditEntry, Counts, DueRounds, FeedStatus, Hole, PackedSnapshot, Result, ScoredOutcome, ScoredQuestion,
    SeenWorker, SlotTally, SnapshotMark, StorageError, Topic, WorkerIdentity, WorkerRole, encode_standings,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::reader::Reader;
use crate::router::router;
use crate::source::Source;
use crate::{App, Key, PriceOrigin, ReportSettings, Role};

const HOSTILE: &str = "</script><script>alert('x')</script> & \"Zoë\" \u{202e}";

/// The database of a test, and what is wrong with it.
#[derive(Default, Clone)]
struct Fake {
    standings: Option<Standings>,
    /// Of a leaderboard and a snapshot before.
    earlier: Option<Standings>,
    rescoring: Option<Rescoring>,
    models: Vec<Model>,
    counts: Counts,
    feeds: Vec<FeedStatus>,
    orders: Vec<AuditEntry>,
    excluded: BTreeSet<ModelId>,
    workers: Vec<SeenWorker>,
    slots: SlotTally,
    due: DueRounds,
    away: bool,
    schema_too_old: bool,
    defect: bool,
}

impl Fake {
    fn board(&self, standings: &Standings) -> Leaderboard {
        let excluded = self.excluded.clone();
        Leaderboard { rescoring: self.rescoring, excluded, ..rank(standings, "crps/1") }
    }
}

type Shared = Arc<Mutex<Fake>>;

struct FakeSource(Shared);

impl FakeSource {
    fn read<T>(&self, value: impl FnOnce(&Fake) -> T) -> Result<T> {
        let fake = self.0.lock().unwrap();
        assert!(!fake.defect, "secret defect");
        match fake.away {
            true => Err(StorageError::Unavailable("postgres://secret@10.0.0.1 refused".into())),
            false => Ok(value(&fake)),
        }
    }
}

#[async_trait]
impl Source for FakeSource {
    async fn latest_leaderboard(&self) -> Result<Option<Leaderboard>> {
        self.read(|fake| fake.standings.as_ref().map(|standings| fake.board(standings)))
    }
    async fn latest_standings(&self) -> Result<Option<Standings>> {
        self.read(|fake| fake.standings.clone())
    }
    async fn models(&self) -> Result<Vec<Model>> {
        self.read(|fake| fake.models.clone())
    }
    async fn counts(&self, active_since: Timestamp) -> Result<Counts> {
        assert_eq!(active_since, now() - Span::hours(24));
        self.read(|fake| fake.counts.clone())
    }
    async fn feed_status(&self) -> Result<Vec<FeedStatus>> {
        self.read(|fake| fake.feeds.clone())
    }
    async fn holes(&self, _: &Asset, _: Timestamp, up_to: Timestamp, interval: Span) -> Result<Vec<Hole>> {
        let before = up_to.floor_to(interval) - Span::hours(1);
        self.read(|_| vec![Hole { after: before - interval.times(3), before }])
    }
    async fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>> {
        self.read(|fake| fake.orders.iter().rev().take(limit).cloned().collect())
    }
    async fn excluded_models(&self) -> Result<BTreeSet<ModelId>> {
        self.read(|fake| fake.excluded.clone())
    }
    async fn pause(&self) -> Result<Option<AuditEntry>> {
        self.read(|fake| fake.orders.iter().find(|order| order.action == "pause").cloned())
    }
    async fn snapshot_mark(&self) -> Result<Option<SnapshotMark>> {
        self.read(|_| None)
    }
    async fn packed_snapshots(&self, instants: &[Timestamp]) -> Result<Vec<PackedSnapshot>> {
        let packed = |standings: &Standings| PackedSnapshot {
            as_of: standings.as_of,
            document: encode_standings(standings),
        };
        self.read(|fake| fake.earlier.iter().filter(|it| instants.contains(&it.as_of)).map(packed).collect())
    }
    async fn scored_questions(&self, _: Timestamp, _: Timestamp, _: usize) -> Result<Vec<ScoredQuestion>> {
        self.read(|_| Vec::new())
    }
    async fn scored_outcomes(&self, _: &[RoundId], _: &[ModelId]) -> Result<Vec<ScoredOutcome>> {
        self.read(|_| Vec::new())
    }
    async fn latest_prices(&self, _: &Asset, _: usize) -> Result<Vec<LedgerEntry>> {
        self.read(|_| Vec::new())
    }
    async fn workers(&self, _: Timestamp) -> Result<Vec<SeenWorker>> {
        self.read(|fake| fake.workers.clone())
    }
    async fn slot_tally(&self, after: Timestamp, up_to: Timestamp) -> Result<SlotTally> {
        assert_eq!((after, up_to), (now() - Span::hours(24), now()));
        self.read(|fake| fake.slots.clone())
    }
    async fn due_rounds(&self, _: Timestamp) -> Result<DueRounds> {
        self.read(|fake| fake.due)
    }
    async fn ping(&self) -> Result<()> {
        self.read(|_| ())
    }
    async fn check_schema(&self) -> Result<()> {
        self.read(|fake| fake.schema_too_old).and_then(|old| {
            if old { Err(StorageError::SchemaTooOld { found: 0, needed: 3 }) } else { Ok(()) }
        })
    }
    fn known_schema(&self) -> i64 {
        11
    }
}

fn identity() -> WorkerIdentity {
    WorkerIdentity::new(WorkerRole::Report, "here".into(), "1.2.3", as_of())
}

fn now() -> Timestamp {
    "2025-05-29T00:00:07Z".parse().unwrap()
}

fn as_of() -> Timestamp {
    "2025-05-29T00:00:00Z".parse().unwrap()
}

fn id(name: &str) -> ModelId {
    ModelId::new(name).unwrap()
}

fn asset(name: &str) -> Asset {
    Asset::new(name).unwrap()
}

fn model(id: &str, name: Option<&str>, cruncher: Option<&str>) -> Model {
    Model {
        id: ModelId::new(id).unwrap(),
        deployment_id: DeploymentId::new("d1").unwrap(),
        name: name.map(str::to_owned),
        cruncher: Cruncher { id: None, name: cruncher.map(str::to_owned) },
        joined_at: as_of(),
        last_connected_at: as_of(),
        is_baseline: false,
    }
}

fn window(score: Option<f64>, raw: Option<f64>, predictions: u64, valid: u64, full: bool) -> WindowScore {
    WindowScore { score, raw, predictions, valid, full }
}

fn standing(name: &str, windows: [WindowScore; 3], parameters: Vec<ParameterStanding>) -> ModelStanding {
    let [recent, steady, anchor] = windows;
    ModelStanding {
        model_id: id(name),
        first_scored_at: Some(as_of() - Span::days(8)),
        windows: PerWindow { recent, steady, anchor },
        parameters,
    }
}

fn parameter(name: &str, horizon: Span, anchor: WindowScore) -> ParameterStanding {
    let recent = window(Some(0.0), Some(9.0), 1, 1, true);
    ParameterStanding {
        parameter: Parameter { asset: asset(name), horizon },
        windows: PerWindow { recent, steady: WindowScore::default(), anchor },
    }
}

/// `zero` scores 0.0 lately and best for long, `good` the other way round; `new` is not full; `dead` never answered.
fn sample() -> Fake {
    let none = WindowScore::default();
    let parameters = vec![
        parameter("BTC", Span::hours(1), window(Some(0.4), Some(2.0), 30, 20, true)),
        parameter("BTC", Span::hours(24), window(None, None, 10, 0, true)),
        parameter("ETH", Span::hours(1), window(Some(0.8), Some(4.0), 10, 10, true)),
    ];
    let full = |score, raw, count| window(Some(score), Some(raw), count, count, true);
    let models = vec![
        standing("dead", [window(None, None, 10, 0, true); 3], vec![]),
        standing("good", [full(0.5, 3.0, 10), full(0.5, 3.0, 30), full(0.5, 3.0, 70)], vec![]),
        standing("new", [window(Some(0.9), Some(1.0), 2, 1, false), none, none], vec![]),
        standing("zero", [full(0.0, 9.0, 10), none, window(Some(0.6), Some(2.5), 50, 30, true)], parameters),
    ];
    let counts = Counts {
        models: 5,
        active_models: 3,
        predictions: StatusCounts { success: 100, failed: 5, timeout: 3, absent: 2 },
        recent_predictions: 40,
        newest_round_at: Some(as_of()),
        ..Counts::default()
    };
    let feed = |name, newest_at: Timestamp| FeedStatus {
        asset: asset(name),
        source: "files".into(),
        count: 9,
        oldest_at: as_of() - Span::days(9),
        newest_at,
    };
    Fake {
        standings: Some(Standings { as_of: as_of(), models }),
        models: vec![
            model("dead", None, None),
            model("good", Some("Good one"), Some("Ann")),
            model("new", Some(HOSTILE), Some(HOSTILE)),
            model("silent/50%", None, None),
            Model { is_baseline: true, ..model("zero", Some(""), None) },
        ],
        counts,
        feeds: vec![feed("BTC", as_of()), feed("ETH", as_of() + Span::seconds(5))],
        ..Fake::default()
    }
}

fn in_force(settings: ReportSettings) -> watch::Receiver<Arc<ReportSettings>> {
    watch::Sender::new(Arc::new(settings)).subscribe()
}

fn settings() -> ReportSettings {
    let mut schedules = Schedules::standard(&[asset("BTC"), asset("ETH")]);
    schedules[1].horizon = Span::minutes(90);
    schedules[1].steps = vec![Span::minutes(90)];
    let schedules = Schedules::new(schedules, Span::minutes(1)).unwrap();
    ReportSettings {
        weights: Weights { assets: [(asset("BTC"), 3.0)].into_iter().collect(), ..Weights::default() },
        ..ReportSettings::new(CrunchId::new("condor").unwrap(), schedules)
    }
}

fn start(fake: Fake) -> (Router, Shared) {
    let (app, shared) = app(fake);
    (router(app), shared)
}

fn ended() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

/// Its streams of events end at once.
fn app(fake: Fake) -> (Arc<App>, Shared) {
    let shared = Arc::new(Mutex::new(fake));
    let clock = Arc::new(SimulatedClock::at(now()));
    let reader = Reader::new(Box::new(FakeSource(shared.clone())), clock.clone());
    (Arc::new(App::new(reader, clock, in_force(settings()), identity(), ended())), shared)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem with this status, and gives its detail.
    fn problem(&self, status: u16) -> String {
        let body = self.json();
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json");
        assert_eq!((&body["type"], &body["status"]), (&json!("about:blank"), &json!(status)));
        assert_eq!(body["title"], json!(self.status.canonical_reason()));
        body["detail"].as_str().unwrap().to_owned()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

async fn get(router: &Router, path: &str) -> Answer {
    send(router, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn get_with(router: &Router, path: &str, name: header::HeaderName, value: &str) -> Answer {
    send(router, Request::get(path).header(name, value).body(Body::empty()).unwrap()).await
}

/// The ranks, ids and scores of a leaderboard.
async fn ranking(router: &Router, path: &str) -> Value {
    let models = get(router, path).await.json()["models"].take();
    models
        .as_array()
        .unwrap()
        .iter()
        .map(|model| json!([model["rank"], model["model_id"], model["score"], model["full"]]))
        .collect()
}

#[tokio::test]
async fn the_leaderboard_has_the_agreed_fields_and_ranks_by_the_recent_window_unless_told() {
    let (router, _) = start(sample());
    let expected = json!({
        "window": "recent", "count": 2, "total": 3, "as_of": "2025-05-29T00:00:00Z", "rule": "crps/1", "rescoring": null,
        "stale": false, "models": [
            {"rank": 1, "model_id": "good", "model_name": "Good one", "cruncher_name": "Ann", "baseline": false,
             "score": 0.5, "raw_score": 3.0, "prediction_count": 10, "full": true},
            {"rank": 2, "model_id": "zero", "model_name": "zero", "cruncher_name": null, "baseline": true,
             "score": 0.0, "raw_score": 9.0, "prediction_count": 10, "full": true},
        ],
    });
    let answer = get(&router, "/leaderboard?limit=2").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, expected));
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
}

#[tokio::test]
async fn the_house_s_own_models_are_marked_wherever_models_are_shown() {
    let (router, _) = start(sample());
    for path in ["/leaderboard?window=anchor", "/api/v1/leaderboard"] {
        let models = get(&router, path).await.json()["models"].take();
        let marked = models.as_array().unwrap().iter().filter(|model| model["baseline"] == true);
        assert_eq!(marked.map(|model| &model["model_id"]).collect::<Vec<_>>(), ["zero"], "{path}");
    }
    for (model, is_marked) in [("zero", true), ("good", false), ("new", false)] {
        assert_eq!(get(&router, &format!("/model/{model}/metrics")).await.json()["baseline"], is_marked);
    }
}

#[tokio::test]
async fn settings_that_change_are_followed_by_the_next_answer() {
    let shared = Arc::new(Mutex::new(sample()));
    let clock = Arc::new(SimulatedClock::at(now()));
    let reader = Reader::new(Box::new(FakeSource(shared)), clock.clone());
    let in_force = watch::Sender::new(Arc::new(settings()));
    let app = App::new(reader, clock, in_force.subscribe(), identity(), CancellationToken::new());
    let router = router(Arc::new(app));
    let shown = async || {
        let metrics = get(&router, "/model/zero/metrics").await.json();
        let status = get(&router, "/api/v1/status").await.json();
        (metrics["by_horizon"]["1h"]["mean_score"].clone(), status["assets"].clone())
    };
    let weighed = |btc: f64, eth: f64| (btc * 0.4 + eth * 0.8) / (btc + eth);
    assert_eq!(shown().await, (json!(weighed(3.0, 1.0)), json!(["BTC", "ETH"])));
    let schedules = Schedules::new(Schedules::standard(&[asset("ETH")]), Span::minutes(1)).unwrap();
    in_force.send_replace(Arc::new(ReportSettings { schedules, weights: Weights::default(), ..settings() }));
    assert_eq!(shown().await, (json!(weighed(1.0, 1.0)), json!(["ETH"])));
}

#[tokio::test]
async fn both_leaderboards_say_that_rounds_are_being_scored_by_another_rule() {
    let rescoring = Some(Rescoring { rounds_left: 4711 });
    let (router, _) = start(Fake { rescoring, ..sample() });
    for path in ["/leaderboard", "/api/v1/leaderboard"] {
        let answer = get(&router, path).await.json();
        assert_eq!(answer["rescoring"], json!({ "rounds_left": 4711 }), "{path}");
    }
}

#[tokio::test]
async fn each_window_has_its_own_ranks_a_zero_is_a_score_and_a_dead_model_has_none() {
    let (router, _) = start(sample());
    assert_eq!(
        ranking(&router, "/leaderboard?window=recent").await,
        json!([[1, "good", 0.5, true], [2, "zero", 0.0, true], [3, "new", 0.9, false]])
    );
    assert_eq!(ranking(&router, "/leaderboard?window=steady").await, json!([[1, "good", 0.5, true]]));
    assert_eq!(
        ranking(&router, "/leaderboard?window=anchor&limit=1000").await,
        json!([[1, "zero", 0.6, true], [2, "good", 0.5, true]])
    );
}

#[tokio::test]
async fn the_full_leaderboard_shows_all_windows_side_by_side_in_the_overall_order() {
    let (router, _) = start(sample());
    let body = get(&router, "/api/v1/leaderboard").await.json();
    let order: Value = body["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| json!([model["rank"], model["model_id"], model["group"]]))
        .collect();
    assert_eq!(
        order,
        json!([
            [1, "zero", "anchor"],
            [2, "good", "anchor"],
            [3, "new", "provisional"],
            [null, "dead", "unranked"]
        ])
    );
    let none =
        json!({"score": null, "raw_score": null, "prediction_count": 0, "success_rate": null, "full": false});
    assert_eq!(
        body["models"][0]["windows"],
        json!({
            "recent": {"score": 0.0, "raw_score": 9.0, "prediction_count": 10, "success_rate": 1.0, "full": true},
            "steady": none,
            "anchor": {"score": 0.6, "raw_score": 2.5, "prediction_count": 50, "success_rate": 0.6, "full": true},
        })
    );
    let recent = get(&router, "/api/v1/leaderboard?window=recent").await.json();
    assert_eq!((&recent["total"], &recent["models"][0]["model_id"]), (&json!(3), &json!("good")));
}

#[tokio::test]
async fn metrics_have_the_agreed_fields_for_every_configured_horizon() {
    let (router, _) = start(sample());
    // BTC counts three times: (3 * 0.4 + 0.8) / 4 and (3 * 2 + 4) / 4; 30 of 40 predictions were valid.
    let expected = json!({
        "model_id": "zero", "model_name": "zero", "cruncher_name": null, "baseline": true,
        "overall_scores": {"recent_24h": 0.0, "steady_72h": null, "anchor_7d": 0.6},
        "overall_raw_scores": {"recent_24h": 9.0, "steady_72h": null, "anchor_7d": 2.5},
        "full": {"recent_24h": true, "steady_72h": false, "anchor_7d": true},
        "by_horizon": {
            "1h": {"count": 40, "mean_score": 0.5, "mean_raw_score": 2.5, "success_rate": 0.75,
                   "recent_24h": 0.0, "steady_72h": null, "anchor_7d": 0.5},
            "90m": {"count": 0, "mean_score": null, "mean_raw_score": null, "success_rate": null,
                    "recent_24h": null, "steady_72h": null, "anchor_7d": null},
            "24h": {"count": 10, "mean_score": null, "mean_raw_score": null, "success_rate": 0.0,
                    "recent_24h": 0.0, "steady_72h": null, "anchor_7d": null},
        },
        "recent_predictions": 10, "as_of": "2025-05-29T00:00:00Z", "stale": false,
    });
    let answer = get(&router, "/model/zero/metrics").await;
    assert_eq!(answer.json(), expected);
    let place = |key: &str| answer.text.find(key).unwrap();
    assert!(place("\"1h\"") < place("\"90m\"") && place("\"90m\"") < place("\"24h\""), "shortest first");
}

#[tokio::test]
async fn a_known_model_without_scores_has_nulls_and_an_unknown_one_is_not_found() {
    let (router, _) = start(sample());
    let silent = get(&router, "/model/silent%2F50%25/metrics").await.json();
    assert_eq!(silent["model_id"], "silent/50%");
    assert_eq!(silent["overall_scores"], json!({"recent_24h": null, "steady_72h": null, "anchor_7d": null}));
    assert_eq!((&silent["recent_predictions"], &silent["by_horizon"]["1h"]["count"]), (&json!(0), &json!(0)));
    let detail = get(&router, "/model/nobody/metrics").await.problem(404);
    assert_eq!(detail, "There is no model with the id `nobody`. /leaderboard lists models with their ids.");
    get(&router, "/model/a%0Ab/metrics").await.problem(404);
    get(&router, "/model/%FF/metrics").await.problem(400);
}

#[tokio::test]
async fn statistics_and_status_have_the_agreed_fields() {
    let (router, _) = start(sample());
    assert_eq!(
        get(&router, "/statistics").await.json(),
        json!({"total_models": 5, "active_models": 3, "total_predictions": 110, "predictions_last_24h": 40,
               "as_of": "2025-05-29T00:00:07Z", "stale": false})
    );
    assert_eq!(
        get(&router, "/api/v1/status").await.json(),
        json!({
            "crunch_id": "condor", "price_label": "simulated market",
            "assets": ["BTC", "ETH"], "horizons": ["1h", "90m", "24h"],
            "now": "2025-05-29T00:00:07Z", "as_of": "2025-05-29T00:00:07Z", "stale": false,
            "total_models": 5, "active_models": 3,
            "rounds": {"asked": 0, "closed": 0, "scored": 0, "void": 0, "interrupted": 0, "missed": 0},
            "predictions": {"success": 100, "failed": 5, "timeout": 3, "absent": 2},
            "predictions_last_24h": 40,
            "freshness": {"newest_price_at": "2025-05-29T00:00:05Z", "newest_round_at": "2025-05-29T00:00:00Z",
                          "leaderboard_as_of": "2025-05-29T00:00:00Z"},
            "pause": null,
        })
    );
}

#[tokio::test]
async fn what_operators_did_is_shown_with_who_when_and_why() {
    let order = |number, action: &str, subject: Option<&str>| AuditEntry {
        number,
        at: now(),
        by: "ann".into(),
        action: action.into(),
        subject: subject.map(Into::into),
        reason: HOSTILE.into(),
    };
    let shown = |number, action: &str, subject: Option<&str>| {
        json!({"number": number, "at": "2025-05-29T00:00:07Z", "by": "ann", "action": action,
               "subject": subject, "reason": HOSTILE})
    };
    let orders = vec![order(1, "exclude_model", Some("m1")), order(2, "pause", None)];
    let (router, _) = start(Fake { orders, excluded: [id("m1")].into(), ..sample() });
    let (exclude, pause) = (shown(1, "exclude_model", Some("m1")), shown(2, "pause", None));
    assert_eq!(
        get(&router, "/api/v1/audit").await.json(),
        json!({"pause": pause, "excluded_models": ["m1"], "stale": false, "entries": [pause, exclude]})
    );
    assert_eq!(get(&router, "/api/v1/audit?limit=1").await.json()["entries"], json!([pause]));
    assert_eq!(get(&router, "/api/v1/status").await.json()["pause"], pause);
    assert_eq!(get(&router, "/api/v1/audit?page=1").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn before_the_first_leaderboard_lists_are_empty() {
    let (router, _) = start(Fake::default());
    let body = get(&router, "/leaderboard").await.json();
    assert_eq!((&body["as_of"], &body["count"], &body["models"]), (&Value::Null, &json!(0), &json!([])));
    assert_eq!(get(&router, "/api/v1/leaderboard").await.json()["models"], json!([]));
}

#[tokio::test]
async fn numbers_that_json_cannot_say_are_null() {
    let mut fake = sample();
    let standings = fake.standings.as_mut().unwrap();
    standings.models[1].windows.recent = window(Some(f64::NAN), Some(f64::INFINITY), 1, 1, true);
    let (router, _) = start(fake);
    let body = get(&router, "/model/good/metrics").await.json();
    assert_eq!(body["overall_scores"]["recent_24h"], Value::Null);
    assert_eq!(body["overall_raw_scores"]["recent_24h"], Value::Null);
}

#[tokio::test]
async fn bad_parameters_are_refused_with_the_choices() {
    let (router, _) = start(sample());
    let detail = async |path: &str| get(&router, path).await.problem(400);
    let prefix = "The query parameters are not understood: ";
    assert_eq!(
        detail("/leaderboard?window=weekly").await,
        format!("{prefix}window: `weekly` is no window: expected one of recent, steady, anchor.")
    );
    for limit in ["0", "1001", "-1", "ten", ""] {
        assert_eq!(
            detail(&format!("/leaderboard?limit={limit}")).await,
            format!("{prefix}limit: expected a whole number from 1 to 1000.")
        );
    }
    assert!(
        detail("/leaderboard?windows=recent")
            .await
            .contains("unknown field `windows`, expected `window` or `limit`")
    );
    assert!(detail("/leaderboard?limit=1&limit=2").await.contains("duplicate field `limit`"));
    for path in
        ["/statistics", "/model/good/metrics", "/api/v1/status", "/api/v1/leaderboard", "/readyz", "/healthz"]
    {
        assert!(detail(&format!("{path}?x=1")).await.contains("unknown field `x`"), "{path}");
    }
    let long = format!("/leaderboard?{}=1", "x".repeat(5000));
    assert!(detail(&long).await.len() < 500);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let (router, _) = start(sample());
    assert!(get(&router, "/reports/checkpoints").await.problem(404).contains("/reports/checkpoints"));
    let post = Request::builder().method(Method::POST).uri("/leaderboard").body(Body::empty()).unwrap();
    let answer = send(&router, post).await;
    assert!(answer.problem(405).contains("POST"));
    assert_eq!(answer.header(header::ALLOW), "GET,HEAD");
}

#[tokio::test]
async fn an_unchanged_answer_is_not_sent_again() {
    let (router, _) = start(sample());
    let tag = get(&router, "/leaderboard").await.header(header::ETAG).to_owned();
    let unchanged = get_with(&router, "/leaderboard", header::IF_NONE_MATCH, &tag).await;
    assert_eq!((unchanged.status, unchanged.text.as_str()), (StatusCode::NOT_MODIFIED, ""));
    assert_eq!(unchanged.header(header::ETAG), tag);
    for other in ["/leaderboard?window=anchor", "/leaderboard?limit=1"] {
        assert_eq!(get_with(&router, other, header::IF_NONE_MATCH, &tag).await.status, StatusCode::OK);
    }
    let mut later = sample();
    later.standings.as_mut().unwrap().as_of = as_of() + Span::minutes(1);
    let (router, _) = start(later);
    assert_eq!(get_with(&router, "/leaderboard", header::IF_NONE_MATCH, &tag).await.status, StatusCode::OK);
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let (router, _) = start(sample());
    let plain = get(&router, "/api/v1/leaderboard").await;
    assert!(plain.headers.get(header::CONTENT_ENCODING).is_none());
    for (accepted, coding) in [("gzip", "gzip"), ("gzip, br", "br")] {
        let request = Request::get("/api/v1/leaderboard").header(header::ACCEPT_ENCODING, accepted);
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_ENCODING], coding);
        assert_eq!(response.headers()[header::ETAG], plain.header(header::ETAG));
        let mut text = String::new();
        let coded = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        match coding {
            "br" => brotli::Decompressor::new(&coded[..], 4096).read_to_string(&mut text).unwrap(),
            _ => flate2::read::GzDecoder::new(&coded[..]).read_to_string(&mut text).unwrap(),
        };
        assert_eq!(text, plain.text);
        assert!(coded.len() < plain.text.len() / 2);
    }
}

#[tokio::test]
async fn readiness_asks_for_database_and_schema_only_and_tells_freshness() {
    let (router, _) = start(sample());
    let answer = get(&router, "/readyz").await;
    let freshness = json!({"newest_price_at": "2025-05-29T00:00:05Z", "newest_round_at": "2025-05-29T00:00:00Z",
                           "leaderboard_as_of": "2025-05-29T00:00:00Z"});
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({"status": "ready", "checks": {"database": "ok", "schema": "ok"}, "freshness": freshness})
    );
    assert_eq!(get(&start(Fake::default()).0, "/readyz").await.status, StatusCode::OK);

    let (router, _) = start(Fake { schema_too_old: true, ..sample() });
    let answer = get(&router, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.json()["checks"]["schema"],
        "the database has schema version 0, this program needs 3: run `condor db migrate`"
    );

    let (router, _) = start(Fake { away: true, ..sample() });
    let answer = get(&router, "/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["checks"], json!({"database": "unavailable", "schema": "unknown"}));
    assert!(!answer.text.contains("secret"));
    assert_eq!(get(&router, "/healthz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_database_from_the_start_clients_are_asked_to_come_back() {
    let (router, _) = start(Fake { away: true, ..sample() });
    for path in
        ["/leaderboard", "/model/good/metrics", "/statistics", "/api/v1/leaderboard", "/api/v1/status"]
    {
        let answer = get(&router, path).await;
        assert!(answer.problem(503).contains("/readyz"), "{path}");
        assert_eq!(answer.header(header::RETRY_AFTER), "5");
        assert!(!answer.text.contains("secret"));
    }
}

#[tokio::test]
async fn a_database_that_goes_away_leaves_the_last_leaderboard_with_its_instant() {
    let (app, shared) = app(sample());
    let router = router(app.clone());
    let before = get(&router, "/leaderboard").await.json();
    shared.lock().unwrap().away = true;
    app.reader.expire(&Topic::ALL.into());
    let mut after = get(&router, "/leaderboard").await.json();
    assert_eq!(after["stale"].take(), json!(true));
    after["stale"] = json!(false);
    assert_eq!(after, before);
    assert_eq!(after["as_of"], "2025-05-29T00:00:00Z");
}

#[tokio::test]
async fn a_defect_is_answered_without_its_text() {
    let (router, _) = start(Fake { defect: true, ..sample() });
    let answer = get(&router, "/leaderboard").await;
    answer.problem(500);
    assert!(!answer.text.contains("secret"));
}

#[tokio::test]
async fn names_come_through_as_they_are_and_never_as_markup() {
    let (router, _) = start(sample());
    let answer = get(&router, "/leaderboard").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(answer.json()["models"][2]["model_name"], HOSTILE);
    assert_eq!(answer.json()["models"][2]["cruncher_name"], HOSTILE);
}

/// How a script would make markup of text.
const MARKUP: [&str; 6] =
    ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"];

#[tokio::test]
async fn the_page_runs_its_own_script_only_and_sets_text_only() {
    let (router, _) = start(sample());
    for document in ["/", "/docs"] {
        runs_its_own_script_only(&router, document).await;
    }
}

async fn runs_its_own_script_only(router: &Router, document: &str) {
    let page = get(router, document).await;
    assert_eq!(page.header(header::CONTENT_TYPE), "text/html; charset=utf-8");
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for inline in [" style=", " onclick=", "<style", "<script>", "javascript:"] {
        assert!(!page.text.contains(inline), "{inline}");
    }
    for path in page.text.split(['"']).filter(|part| part.starts_with('/')) {
        assert_eq!(get(router, path).await.status, StatusCode::OK, "{path}");
        if path.ends_with(".js") && !path.contains("/vendor/") {
            let script = get(router, path).await.text;
            for markup in MARKUP {
                assert!(!script.contains(markup), "{path}: {markup}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_else_may_read_from_a_browser() {
    let (router, _) = start(sample());
    let answer = get_with(&router, "/leaderboard", header::ORIGIN, "https://example.org").await;
    assert!(answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
}

#[test]
fn recorded_prices_are_shown_with_the_day_that_they_are_of_now() {
    let label = |now: &str| PriceOrigin::Recorded(Span::days(7)).label(now.parse().unwrap());
    assert_eq!(label("2026-01-08T23:59:59Z"), "recorded prices of 2026-01-01");
    assert_eq!(label("2026-01-09T00:00:00Z"), "recorded prices of 2026-01-02");
}
