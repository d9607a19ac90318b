use domain::*;
use std::sync::Arc;
use storage::*;
fn q(i: u32, start: Timestamp) -> Question {
    Question::new(
        &CrunchId::new("c").unwrap(),
        Asset::new("BTC").unwrap(),
        Span::HOUR,
        vec![Span::minutes(1)],
        Method::Predict,
        Target::LogReturn,
        start + Span::minutes(i),
    )
}
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a.db", dir.path().display());
    let store: Arc<dyn Store> = Arc::new(storage_sqlite::SqliteStore::open(&url).await.unwrap());
    store.migrate().await.unwrap();
    let start = Timestamp::from_unix_seconds(1_747_699_200).unwrap();
    let text =
        std::env::var("ANSWER").ok().and_then(|n| n.parse().ok()).map_or("[1]".to_owned(), |n: usize| {
            (0..n).map(|i| format!("{},", i * 7919 % 9973)).collect::<String>()
        });
    let preds: Vec<Prediction> = (0..5)
        .map(|i| Prediction {
            model_id: ModelId::new(&format!("m{i}")).unwrap(),
            deployment_id: None,
            status: PredictionStatus::Success,
            reason: None,
            answer: Some(text.clone()),
            refused: None,
            received_at: Some(start),
            took: None,
        })
        .collect();
    let sw = Stopwatch::start();
    for i in 0..13_000u64 {
        store
            .append_prices(
                &(0..3)
                    .map(|a| LedgerEntry {
                        position: LedgerPosition(i * 3 + a + 1),
                        asset: Asset::new(["BTC", "ETH", "SOL"][a as usize]).unwrap(),
                        point: PricePoint {
                            at: start + Span::minutes(i as u32),
                            price: Price::new(1.5).unwrap(),
                        },
                        source: "x".into(),
                    })
                    .collect::<Vec<_>>(),
            )
            .await
            .unwrap();
    }
    println!("append_prices 13000: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    for i in 0..5200 {
        store.mark_asked(&[q(i, start)], start).await.unwrap();
    }
    println!("mark_asked 5200: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    for i in 0..5200 {
        store.close_round(&q(i, start), start, &preds).await.unwrap();
    }
    println!("close_round 5200: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    for i in 0..5200u32 {
        assert_eq!(store.predictions(q(i, start).id).await.unwrap().len(), 5);
    }
    println!("predictions 5200: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    for i in 0..5200u32 {
        let s = start + Span::minutes(i);
        store.closes(&Asset::new("BTC").unwrap(), s, s + Span::hours(1)).await.unwrap();
    }
    println!("closes of 1h 5200: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    for i in 0..500u32 {
        let s = start + Span::minutes(i);
        store.closes(&Asset::new("BTC").unwrap(), s, s + Span::hours(24)).await.unwrap();
    }
    println!("closes of 24h 500: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    for i in 0..5200u32 {
        let scores = preds
            .iter()
            .map(|p| ScoreRecord {
                model_id: p.model_id.clone(),
                raw: Some(f64::from(i) / 3.0),
                relative: 0.5,
                failure: None,
                steps: vec![StepScore { step: Span::minutes(1), mean: 0.1, increments: 60, left_out: 0 }],
            })
            .collect();
        store
            .store_scores(&RoundScores {
                round_id: q(i, start).id,
                rule: "crps/1".into(),
                scored_at: start,
                best: 0.1,
                q95: 0.2,
                scores,
            })
            .await
            .unwrap();
    }
    println!("store_scores 5200: {:?}", sw.elapsed());
    let st = Standings { as_of: start, models: vec![] };
    let sw = Stopwatch::start();
    for i in 0..5000 {
        let st = Standings { as_of: start + Span::minutes(i), ..st.clone() };
        store.save_leaderboard(&domain::rank(&st, "crps/1"), &st).await.unwrap();
    }
    println!("save_leaderboard 5000: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    let mut after = ChangeNumber(0);
    let mut n = 0;
    loop {
        let c = store.score_changes(after, start, 100).await.unwrap();
        let Some(l) = c.last() else { break };
        after = l.number;
        n += c.len();
    }
    println!("score_changes {n} by 100: {:?}", sw.elapsed());
    let sw = Stopwatch::start();
    store.counts(start).await.unwrap();
    store.feed_status().await.unwrap();
    println!("counts: {:?}", sw.elapsed());
    // normal sizes: 1000 models
    let many: Vec<Prediction> = (0..1000)
        .map(|i| Prediction {
            model_id: ModelId::new(&format!("n{i}")).unwrap(),
            answer: Some((0..4000).map(|k| format!("{}", (k * i) % 7919)).collect::<String>()),
            ..preds[0].clone()
        })
        .collect();
    for i in 0..3 {
        let sw = Stopwatch::start();
        store.close_round(&q(90_000 + i, start), start, &many).await.unwrap();
        println!("close_round of 1000: {:?}", sw.elapsed());
    }
}
