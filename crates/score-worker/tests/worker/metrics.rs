//! What an operator's monitoring sees.

use domain::{Span, Timestamp};
use monitoring::Registry;
use score_worker::Metrics;

use crate::game::{Game, answer, hour, question};

#[tokio::test]
async fn what_was_scored_voided_and_put_off_is_counted_and_so_is_what_is_left() {
    let game = Game::new().await;
    let [scored, void, waiting] =
        [("BTC", 10), ("BTC", 11), ("ETH", 11)].map(|(asset, at)| question(asset, Span::HOUR, hour(at)));
    game.prices("BTC", hour(10), hour(12), &[]).await;
    for question in [&scored, &waiting] {
        game.close(question, &[answer("a", Span::HOUR, 0.01), answer("b", Span::HOUR, 0.5)]).await;
    }
    game.close(&void, &[]).await;
    let metrics = Metrics::default();
    let mut worker = game.worker().counted_by(metrics.clone());
    game.run_with(&mut worker, hour(13)).await;
    metrics.due(&game.store.due_rounds(hour(13)).await.unwrap(), hour(13));
    metrics.look(&worker.status());
    let mut registry = Registry::of_process("", Timestamp::default());
    metrics.register(&mut registry);
    let text = registry.text();
    for line in [
        "condor_score_rounds_total{verdict=\"scored\"} 1",
        "condor_score_rounds_total{verdict=\"void\"} 1",
        "condor_score_rounds_total{verdict=\"waiting\"} 1",
        "condor_score_rounds_total{verdict=\"scored_again\"} 0",
        "condor_score_predictions_total 2",
        "condor_score_due_rounds 1.0",
        "condor_score_lag_seconds 3600.0",
        "condor_score_ranks 1.0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
}
