//! What monitoring sees.

use super::access::{key, with};
use super::*;

/// The value of a sample; `None` for one that is not there.
async fn sample_of(router: &Router, sample: &str) -> Option<f64> {
    let answer = get(router, "/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header(header::CONTENT_TYPE), monitoring::CONTENT_TYPE);
    let line = answer.text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn requests_are_counted_by_route_and_class_and_never_by_what_a_client_writes() {
    let (router, _) = start(sample());
    for _ in 0..2 {
        get(&router, "/api/v1/models/zero").await;
    }
    get(&router, "/api/v1/models/nobody").await;
    get(&router, "/made/up?secret=1").await;
    let requests = |route: &str, class: &str| {
        format!("condor_report_requests_total{{route=\"{route}\",status=\"{class}\"}}")
    };
    let model = "/api/v1/models/{model_id}";
    assert_eq!(sample_of(&router, &requests(model, "2xx")).await, Some(2.0));
    assert_eq!(sample_of(&router, &requests(model, "4xx")).await, Some(1.0));
    assert_eq!(sample_of(&router, &requests("none", "4xx")).await, Some(1.0));
    let took = format!("condor_report_request_seconds_count{{route=\"{model}\"}}");
    assert_eq!(sample_of(&router, &took).await, Some(3.0));
    let text = get(&router, "/metrics").await.text;
    assert!(!text.contains("zero") && !text.contains("made") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn answers_that_were_kept_are_told_from_those_that_were_rendered() {
    let (router, _) = start(sample());
    for _ in 0..3 {
        get(&router, "/leaderboard").await;
    }
    assert_eq!(sample_of(&router, "condor_report_rendered_answers_total").await, Some(1.0));
    assert_eq!(sample_of(&router, "condor_report_kept_answers_total").await, Some(2.0));
    assert_eq!(sample_of(&router, "condor_report_ready").await, Some(1.0));
}

#[tokio::test]
async fn metrics_take_a_key_when_they_are_set_to_and_are_shared_with_no_other_page() {
    let origin = "https://example.org";
    let router = with(|settings| {
        settings.access.metrics_need_key = true;
        settings.access.keys = vec![key("ann", Role::Read)];
        settings.access.origins = vec![origin.into()];
    });
    assert!(get(&router, "/metrics").await.problem(401).contains("Authorization"));
    let shown = get_with(&router, "/metrics", header::AUTHORIZATION, "Bearer the key of ann").await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(get(&router, "/leaderboard").await.status, StatusCode::OK, "reading takes none");
    for path in ["/leaderboard", "/metrics"] {
        let answer = get_with(&router, path, header::ORIGIN, origin).await;
        let is_shared = answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(is_shared, path == "/leaderboard", "{path}");
    }
}

#[tokio::test]
async fn operators_have_them_without_key_on_their_own_listener_and_nothing_else() {
    let clock = Arc::new(SimulatedClock::at(now()));
    let reader = Reader::new(Box::new(FakeSource(Arc::new(Mutex::new(sample())))), clock.clone());
    let mut settings = settings();
    settings.access.needs_key = true;
    settings.access.metrics_need_key = true;
    let app = App::new(reader, clock, in_force(settings), identity(), ended());
    let router = crate::router::for_operators(Arc::new(app));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(get(&router, path).await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(get(&router, "/leaderboard").await.status, StatusCode::NOT_FOUND);
}
