//! Rankings by asset and horizon, of an instant before, and compared with those of a day before.

use super::*;

/// `a` is good at BTC over an hour, `b` at ETH over an hour; `c` answers ETH over a day alone.
fn of_two_assets(as_of: Timestamp, scores: [f64; 5]) -> Standings {
    let [a_btc, a_eth, b_btc, b_eth, c_eth] = scores;
    let scored = |score| window(Some(score), Some(1.0 - score), 4, 3, true);
    let of = |asset_name: &str, horizon, score| ParameterStanding {
        parameter: Parameter { asset: asset(asset_name), horizon },
        windows: PerWindow { recent: scored(score), steady: WindowScore::default(), anchor: scored(score) },
    };
    let hour = |btc, eth| vec![of("BTC", Span::HOUR, btc), of("ETH", Span::HOUR, eth)];
    let models = vec![
        standing("a", [scored((a_btc + a_eth) / 2.0); 3], hour(a_btc, a_eth)),
        standing("b", [scored((b_btc + b_eth) / 2.0); 3], hour(b_btc, b_eth)),
        standing("c", [scored(c_eth); 3], vec![of("ETH", Span::hours(24), c_eth)]),
    ];
    Standings { as_of, models }
}

fn fake() -> Fake {
    let standings = Some(of_two_assets(as_of(), [0.9, 0.1, 0.2, 0.6, 0.4]));
    let models = ["a", "b", "c"].map(|id| model(id, None, None)).to_vec();
    Fake { standings, models, ..Fake::default() }
}

/// What is ranked, of each model: its rank, the one before, its id and its anchor score.
fn rows(answer: &Value) -> Value {
    let models = answer["models"].as_array().unwrap().iter();
    let row =
        |it: &Value| json!([it["rank"], it["rank_before"], it["model_id"], it["windows"]["anchor"]["score"]]);
    models.map(row).collect()
}

#[tokio::test]
async fn the_ranking_by_asset_and_horizon_is_that_of_the_scores_in_them_alone() {
    let (router, _) = start(fake());
    for (query, expected) in [
        ("asset=BTC", json!([[1, null, "a", 0.9], [2, null, "b", 0.2]])),
        ("asset=ETH", json!([[1, null, "b", 0.6], [2, null, "c", 0.4], [3, null, "a", 0.1]])),
        // BTC counts three times.
        (
            "horizon=1h",
            json!([[1, null, "a", (3.0 * 0.9 + 0.1) / 4.0], [2, null, "b", (3.0 * 0.2 + 0.6) / 4.0]]),
        ),
        ("asset=ETH&horizon=24h", json!([[1, null, "c", 0.4]])),
        ("asset=ETH&window=recent&limit=1", json!([[1, null, "b", 0.6]])),
        ("asset=ETH&window=steady", json!([])),
        ("asset=XAU", json!([])),
    ] {
        let answer = get(&router, &format!("/api/v1/leaderboard?{query}")).await.json();
        assert_eq!(rows(&answer), expected, "{query}");
        assert_eq!((&answer["as_of"], &answer["rule"]), (&json!("2025-05-29T00:00:00Z"), &json!("crps/1")));
    }
    let eth = get(&router, "/api/v1/leaderboard?asset=ETH&horizon=3600s&limit=1").await.json();
    assert_eq!((&eth["asset"], &eth["horizon"], &eth["total"]), (&json!("ETH"), &json!("1h"), &json!(2)));
    let windows = &eth["models"][0]["windows"];
    assert_eq!(
        (&windows["recent"]["prediction_count"], &windows["recent"]["success_rate"]),
        (&json!(4), &json!(0.75))
    );
}

#[tokio::test]
async fn who_is_excluded_has_no_place_in_any_ranking() {
    let (router, _) = start(Fake { excluded: [id("b")].into(), ..fake() });
    let answer = get(&router, "/api/v1/leaderboard?asset=ETH").await.json();
    assert_eq!(rows(&answer), json!([[1, null, "c", 0.4], [2, null, "a", 0.1]]));
}

#[tokio::test]
async fn each_rank_comes_with_the_one_of_a_day_before() {
    let then = as_of() - Span::days(1);
    let mut earlier = of_two_assets(then, [0.1, 0.8, 0.3, 0.9, 0.0]);
    earlier.models.truncate(2);
    let (router, _) = start(Fake { earlier: Some(earlier), ..fake() });
    let ranks = async |query: &str| {
        let answer = get(&router, &format!("/api/v1/leaderboard{query}")).await.json();
        assert_eq!(answer["before_as_of"], "2025-05-28T00:00:00Z", "{query}");
        rows(&answer)
    };
    assert_eq!(ranks("").await, json!([[1, 2, "a", 0.5], [2, 1, "b", 0.4], [3, null, "c", 0.4]]));
    assert_eq!(ranks("?window=recent").await[0], json!([1, 2, "a", 0.5]));
    assert_eq!(ranks("?asset=BTC").await, json!([[1, 2, "a", 0.9], [2, 1, "b", 0.2]]));
    assert_eq!(ranks("?horizon=24h").await, json!([[1, null, "c", 0.4]]));
}

#[tokio::test]
async fn a_leaderboard_that_is_not_a_day_older_is_no_comparison() {
    let earlier = of_two_assets(as_of() - Span::hours(23), [0.5; 5]);
    let (router, _) = start(Fake { earlier: Some(earlier), ..fake() });
    let answer = get(&router, "/api/v1/leaderboard").await.json();
    assert_eq!((&answer["before_as_of"], &answer["models"][0]["rank_before"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_leaderboard_can_be_seen_as_it_was() {
    let earlier = of_two_assets(as_of() - Span::hours(2), [0.1, 0.8, 0.3, 0.9, 0.0]);
    let (router, _) = start(Fake { earlier: Some(earlier), ..fake() });
    for (query, as_of, first) in [
        ("at=2025-05-29T00:00:00Z", json!("2025-05-29T00:00:00Z"), json!("a")),
        ("at=2099-01-01T00:00:00Z", json!("2025-05-29T00:00:00Z"), json!("a")),
        ("at=2025-05-28T23:59:59.999999Z", json!("2025-05-28T22:00:00Z"), json!("b")),
        ("at=2025-05-28T22:10:00Z&asset=BTC", json!("2025-05-28T22:00:00Z"), json!("b")),
        ("at=2025-05-28T23:10:00Z&asset=BTC", Value::Null, Value::Null),
        ("at=2025-05-28T21:59:59Z", Value::Null, Value::Null),
        ("at=1969-01-01T00:00:00Z", Value::Null, Value::Null),
    ] {
        let answer = get(&router, &format!("/api/v1/leaderboard?{query}")).await.json();
        assert_eq!((&answer["as_of"], &answer["models"][0]["model_id"]), (&as_of, &first), "{query}");
    }
}

#[tokio::test]
async fn a_leaderboard_can_be_had_as_a_table() {
    let (router, _) = start(fake());
    let answer = get(&router, "/api/v1/leaderboard?asset=BTC&limit=1&format=csv").await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "text/csv; charset=utf-8; header=present");
    let expected = "as_of,rank,rank_before,group,model_id,baseline,first_scored_at,\
        recent_score,recent_raw_score,recent_prediction_count,recent_success_rate,recent_full,\
        steady_score,steady_raw_score,steady_prediction_count,steady_success_rate,steady_full,\
        anchor_score,anchor_raw_score,anchor_prediction_count,anchor_success_rate,anchor_full\r\n\
        2025-05-29T00:00:00Z,1,,anchor,a,false,2025-05-21T00:00:00Z,\
        0.9,0.09999999999999998,4,0.75,true,,,0,,true,0.9,0.09999999999999998,4,0.75,true\r\n";
    assert_eq!(answer.text, expected);
}

#[tokio::test]
async fn the_comparison_stays_when_the_database_goes_away() {
    let earlier = Some(of_two_assets(as_of() - Span::days(1), [0.5; 5]));
    let (app, shared) = app(Fake { earlier, ..fake() });
    let router = router(app.clone());
    for path in ["/api/v1/leaderboard", "/api/v1/leaderboard?asset=BTC"] {
        let before = get(&router, path).await.json();
        shared.lock().unwrap().away = true;
        app.reader.expire(&Topic::ALL.into());
        let after = get(&router, path).await.json();
        assert_eq!((&after["stale"], &after["models"]), (&json!(true), &before["models"]), "{path}");
        shared.lock().unwrap().away = false;
        app.reader.expire(&Topic::ALL.into());
    }
}
