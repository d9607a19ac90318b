//! Who may read.

use std::num::NonZeroU32;

use aws_lc_rs::digest::{SHA256, digest};
use http_serve::Peer;

use super::*;

pub(super) fn key(name: &str, role: Role) -> Key {
    let text = format!("the key of {name}");
    Key { name: name.into(), sha256: digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap(), role }
}

pub(super) fn with(change: impl FnOnce(&mut ReportSettings)) -> Router {
    let clock = Arc::new(SimulatedClock::at(now()));
    let reader = Reader::new(Box::new(FakeSource(Arc::new(Mutex::new(sample())))), clock.clone());
    let mut settings = settings();
    change(&mut settings);
    router(Arc::new(App::new(reader, clock, in_force(settings), identity(), ended())))
}

async fn status(router: &Router, path: &str, authorization: Option<&str>) -> StatusCode {
    match authorization {
        Some(value) => get_with(router, path, header::AUTHORIZATION, value).await.status,
        None => get(router, path).await.status,
    }
}

#[tokio::test]
async fn where_reading_needs_a_key_nothing_is_told_without_one() {
    let router = with(|settings| {
        settings.access.needs_key = true;
        settings.access.keys = vec![key("ann", Role::Read), key("bob", Role::Admin)];
    });
    let paths =
        ["/leaderboard", "/statistics", "/model/zero/metrics", "/api/v1/leaderboard", "/api/v1/events"];
    for path in paths {
        let refused = get(&router, path).await;
        assert!(refused.problem(401).contains("Authorization"), "{path}");
        assert_eq!(refused.header(header::WWW_AUTHENTICATE), "Bearer");
        for (shown, expected) in [
            ("Bearer the key of ann", 200),
            ("bearer the key of bob", 200),
            ("Bearer the key of eve", 401),
            ("Bearer ", 401),
            ("Basic the key of ann", 401),
        ] {
            assert_eq!(status(&router, path, Some(shown)).await, expected, "{path} {shown}");
        }
    }
    for path in ["/healthz", "/readyz", "/openapi.json", "/"] {
        assert_eq!(status(&router, path, None).await, 200, "{path}");
    }
}

#[tokio::test]
async fn where_reading_is_public_a_key_that_is_not_known_is_still_refused() {
    let router = with(|settings| settings.access.keys = vec![key("ann", Role::Read)]);
    assert_eq!(status(&router, "/leaderboard", None).await, 200);
    assert_eq!(status(&router, "/leaderboard", Some("Bearer the key of ann")).await, 200);
    assert_eq!(status(&router, "/leaderboard", Some("Bearer guess")).await, 401);
}

#[tokio::test]
async fn pages_of_the_hosts_that_are_named_may_read_and_no_others() {
    let router = with(|settings| settings.access.origins = vec!["https://example.org".into()]);
    let allowed = get_with(&router, "/leaderboard", header::ORIGIN, "https://example.org").await;
    assert_eq!(allowed.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), "https://example.org");
    for other in ["https://example.org.evil", "http://example.org", "null"] {
        let answer = get_with(&router, "/leaderboard", header::ORIGIN, other).await;
        assert!(answer.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none(), "{other}");
    }
    let preflight = |origin: &str| {
        let request = Request::builder().method(Method::OPTIONS).uri("/leaderboard");
        let request = request.header(header::ORIGIN, origin).header("access-control-request-method", "GET");
        request.body(Body::empty()).unwrap()
    };
    let allowed = send(&router, preflight("https://example.org")).await;
    assert_eq!(
        (allowed.status, allowed.header(header::ACCESS_CONTROL_ALLOW_METHODS)),
        (StatusCode::NO_CONTENT, "GET, HEAD")
    );
    assert_eq!(send(&router, preflight("https://evil.example")).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_to_wait_and_this_machine_is_not() {
    let router = with(|settings| settings.requests_per_second = NonZeroU32::new(1));
    let ask = async |address: &str| {
        let request = Request::get("/healthz").extension(Peer(address.parse().unwrap()));
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    for _ in 0..20 {
        assert_eq!(ask("127.0.0.1").await.status, StatusCode::OK);
        assert_eq!(ask("::ffff:127.0.0.1").await.status, StatusCode::OK);
    }
    for _ in 0..4 {
        assert_eq!(ask("10.0.0.1").await.status, StatusCode::OK);
    }
    let refused = ask("10.0.0.1").await;
    assert!(refused.problem(429).contains("1 requests a second"));
    assert_eq!(refused.header(header::RETRY_AFTER), "5");
    assert_eq!(ask("10.0.0.2").await.status, StatusCode::OK);
}
