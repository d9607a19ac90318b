//! How the machinery is.

use std::time::Duration;

use domain::MissedCause;
use storage::{WorkerFacts, WorkerSign};

use super::*;

fn worker(role: WorkerRole, silent_s: u64, state: &str, facts: WorkerFacts) -> SeenWorker {
    let identity = WorkerIdentity::new(role, "there".into(), "1.0.0", as_of());
    SeenWorker {
        sign: WorkerSign { identity, schema: 10, state: state.into(), facts },
        seen_at: now() - Span::seconds(silent_s as u32),
        silent_for: Duration::from_secs(silent_s),
    }
}

fn busy() -> Fake {
    let waiting = WorkerFacts {
        waiting_writes: Some(7),
        journal_bytes: Some(4096),
        oldest_waiting_at: Some(as_of()),
        ..WorkerFacts::default()
    };
    let behind = WorkerFacts { due_rounds: Some(3), scoring_lag_s: Some(9), ..WorkerFacts::default() };
    Fake {
        workers: vec![
            worker(WorkerRole::Predict, 3, "leading", waiting),
            worker(WorkerRole::Score, 60, "scoring", behind),
        ],
        slots: SlotTally {
            asked: 40,
            interrupted: 1,
            missed: [(MissedCause::Paused, 2), (MissedCause::NoFreshPrice, 5)].into(),
        },
        due: DueRounds { rounds: 3, oldest_resolved_at: Some(now() - Span::seconds(9)) },
        ..sample()
    }
}

#[tokio::test]
async fn the_system_tells_who_lives_what_was_missed_and_how_far_scoring_is_behind() {
    let (router, _) = start(busy());
    let answer = get(&router, "/api/v1/system").await;
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    let system = answer.json();
    let shown: Vec<_> = system["workers"].as_array().unwrap().iter().collect();
    let told = |name: &str| shown.iter().map(|worker| worker[name].clone()).collect::<Value>();
    assert_eq!(told("role"), json!(["predict", "score", "report"]));
    assert_eq!(told("alive"), json!([true, false, true]));
    assert_eq!(told("silent_s"), json!([3, 60, 0]));
    assert_eq!(told("state"), json!(["leading", "scoring", "answering"]));
    assert_eq!(told("schema"), json!([10, 10, 11]));
    assert_eq!(told("version"), json!(["1.0.0", "1.0.0", "1.2.3"]));
    assert_eq!(told("waiting_writes"), json!([7, null, null]));
    assert_eq!(told("scoring_lag_s"), json!([null, 9, null]));
    let slots = json!({
        "since": "2025-05-28T00:00:07Z", "asked": 40, "interrupted": 1, "missed": 7,
        "missed_by_cause": {"paused": 2, "no_fresh_price": 5},
    });
    assert_eq!(system["slots"], slots);
    let scoring = json!({"due_rounds": 3, "oldest_resolved_at": "2025-05-28T23:59:58Z", "lag_s": 9});
    assert_eq!(system["scoring"], scoring);
    let price = json!({"asset": "BTC", "newest_at": "2025-05-29T00:00:00Z", "age_s": 7, "expected": true});
    assert_eq!(system["prices"][0], price);
    assert_eq!(system["changes"], json!({"told_at": null, "told": false}));
    assert_eq!(system["stale"], false);
}

#[tokio::test]
async fn while_the_database_is_away_the_system_is_what_was_read_last_and_says_so() {
    let (router, shared) = start(busy());
    let before = get(&router, "/api/v1/system").await.json();
    shared.lock().unwrap().away = true;
    let is_stale = async || {
        let system = get(&router, "/api/v1/system").await.json();
        assert_eq!(system["slots"], before["slots"]);
        system["stale"] == true
    };
    while !is_stale().await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let system = get(&router, "/api/v1/system").await.json();
    assert_eq!(system["workers"][2]["state"], "answering with what was read last");
}
