//! The worker's life on the machine's clock.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    Clock, LedgerEntry, LedgerPosition, Price, PricePoint, Question, RoundState, Span, SystemClock,
    Timestamp, TimestampExt,
};
use model_client::{Cluster, ClusterConfig};
use predict_worker::{PredictSettings, PredictWorker, run};
use protocol::Value;
use storage::{Action, OperatorRepository, Order, PriceRepository, RoundRepository, Store};
use storage_sqlite::SqliteStore;
use tempfile::TempDir;
use testkit::{Behaviour, FakeModel, FakeOrchestrator, Reply, soon};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::prices::{Prices, Trouble};
use crate::world::{cluster_config, four_densities, open, settings, text, witness, witnessed};

const SECOND: Span = Span::seconds(1);

/// A worker that lives: a price every second, BTC asked every other second.
struct Life {
    settings: PredictSettings,
    store: Arc<SqliteStore>,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _cluster: Cluster,
    _orchestrator: FakeOrchestrator,
    _folder: TempDir,
}

impl Life {
    async fn begin(model: &FakeModel, prices: impl Into<Arc<Prices>>, settings: PredictSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(&folder).await);
        store.migrate().await.unwrap();
        Life::go_on(model, prices, settings, store, folder).await
    }

    async fn go_on(
        model: &FakeModel,
        prices: impl Into<Arc<Prices>>,
        settings: PredictSettings,
        store: Arc<SqliteStore>,
        folder: TempDir,
    ) -> Self {
        let orchestrator = FakeOrchestrator::start().await;
        orchestrator.announce([model.running("m", "d1")]);
        let config: ClusterConfig = cluster_config(&orchestrator);
        let (cluster, events) = Cluster::start(config);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let worker =
            PredictWorker::start(settings.clone(), store.clone(), None, clock, prices.into(), events)
                .await
                .unwrap();
        soon("the model is set up", worker.wait_until_started()).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(worker, stop.clone()));
        Life {
            settings,
            store,
            stop,
            running,
            _cluster: cluster,
            _orchestrator: orchestrator,
            _folder: folder,
        }
    }

    /// Asks it to stop and waits until it has.
    async fn end(&mut self) {
        self.stop.cancel();
        soon("the worker stops", &mut self.running).await.unwrap();
    }

    /// The states of the rounds asked between two instants, with their predictions.
    async fn rounds(&self, from: Timestamp, to: Timestamp) -> Vec<(Question, RoundState)> {
        let rounds = self.store.export_rounds(from, to, None, 1000).await.unwrap();
        let mut found = Vec::new();
        for round in rounds {
            let record = self.store.round(round.round_id).await.unwrap().unwrap();
            found.push((record.question, record.state));
        }
        assert!(found.iter().all(|(question, _)| {
            self.settings
                .schedules
                .questions_at(&self.settings.crunch_id, question.performed_at)
                .contains(question)
        }));
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_closes_and_stores_the_round_in_flight() {
    let answer = Reply::Value(Value::Json(four_densities()));
    let slow = Reply::After(Duration::from_millis(500), Box::new(answer));
    let model = FakeModel::start(Behaviour::new(move |_, _| slow.clone()).only_on("predict")).await;
    let began = SystemClock.now();
    let mut life = Life::begin(&model, Prices::every(SECOND), settings(SECOND)).await;
    let in_flight = async {
        while !model.methods().contains(&"predict".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a question", in_flight).await;
    life.end().await;
    let rounds = life.rounds(began, SystemClock.now()).await;
    assert_eq!(rounds.len(), 1);
    assert_eq!(rounds[0].1, RoundState::Closed);
    let predictions = life.store.predictions(rounds[0].0.id).await.unwrap();
    assert_eq!(text(&predictions[0]), four_densities());
}

#[tokio::test(flavor = "multi_thread")]
async fn slot_after_slot_is_asked_with_the_close_of_its_instant_though_that_comes_late() {
    let model = FakeModel::start(witness(Duration::ZERO)).await;
    let prices = Prices::every(SECOND);
    prices.trouble("BTC", Trouble::Late(Duration::from_millis(300)));
    let began = SystemClock.now();
    let mut life = Life::begin(&model, prices, settings(SECOND)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    life.end().await;
    let rounds = life.rounds(began, SystemClock.now()).await;
    assert!((2..=3).contains(&rounds.len()), "{rounds:?}");
    for (question, state) in rounds {
        assert_eq!(state, RoundState::Closed);
        let predictions = life.store.predictions(question.id).await.unwrap();
        assert_eq!(witnessed(&predictions[0]), question.performed_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_whose_source_hangs_keeps_no_other_from_its_late_close() {
    let model = FakeModel::start(witness(Duration::ZERO)).await;
    let prices = Prices::every(SECOND);
    prices.trouble("BTC", Trouble::Late(Duration::from_millis(300)));
    let mut settings = settings(SECOND);
    settings.only_assets = None;
    settings.call_timeout = Span::seconds(2);
    let prices = Arc::new(prices);
    let began = SystemClock.now();
    let mut life = Life::begin(&model, prices.clone(), settings).await;
    prices.trouble("ETH", Trouble::Hangs);
    tokio::time::sleep(Duration::from_secs(6)).await;
    life.end().await;
    let rounds = life.rounds(began + Span::seconds(2), SystemClock.now()).await;
    assert!(rounds.len() >= 4, "{rounds:?}");
    for (question, state) in rounds {
        let expected = if question.asset.as_str() == "BTC" { RoundState::Closed } else { RoundState::Missed };
        assert_eq!(state, expected, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_the_time_when_no_worker_ran_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder).await);
    store.migrate().await.unwrap();
    let settings = settings(SECOND);
    let questions_at = |at| settings.schedules.questions_at(&settings.crunch_id, at);
    let last = SystemClock.now().floor_to(Span::seconds(2)) - Span::seconds(10);
    store.record_missed(&questions_at(last)[..1], "a test", last).await.unwrap();
    let model = FakeModel::start(witness(Duration::ZERO)).await;
    let mut life = Life::go_on(&model, Prices::every(SECOND), settings.clone(), store, folder).await;
    life.end().await;
    for seconds in [2, 4, 6, 8] {
        let id = questions_at(last + Span::seconds(seconds))[0].id;
        let round = life.store.round(id).await.unwrap().expect("a round on record");
        assert_eq!(round.state, RoundState::Missed);
        assert_eq!(round.reason.as_deref(), Some("the predict worker was not running"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_a_time_when_a_worker_ran_by_other_schedules_are_missed_for_that_reason() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder).await);
    store.migrate().await.unwrap();
    let settings = settings(SECOND);
    let questions_at = |at| settings.schedules.questions_at(&settings.crunch_id, at);
    let last = SystemClock.now().floor_to(Span::seconds(2)) - Span::seconds(10);
    store.record_missed(&questions_at(last)[..1], "a test", last).await.unwrap();
    // The last close that the worker took before it ended.
    let close = LedgerEntry {
        position: LedgerPosition(1),
        asset: "BTC".parse().unwrap(),
        point: PricePoint { at: last + Span::seconds(6), price: Price::new(100.0).unwrap() },
        source: "a test".to_owned(),
    };
    store.append_prices(&[close], Timestamp::UNIX_EPOCH).await.unwrap();
    let model = FakeModel::start(witness(Duration::ZERO)).await;
    let mut life = Life::go_on(&model, Prices::every(SECOND), settings.clone(), store, folder).await;
    life.end().await;
    let unscheduled = "not scheduled: the schedules in force then did not have this slot";
    let not_running = "the predict worker was not running";
    for (seconds, reason) in [(2, unscheduled), (4, unscheduled), (6, not_running), (8, not_running)] {
        let id = questions_at(last + Span::seconds(seconds))[0].id;
        let round = life.store.round(id).await.unwrap().expect("a round on record");
        assert_eq!((round.state, round.reason.as_deref()), (RoundState::Missed, Some(reason)), "{seconds} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_runs_notices_that_an_operator_has_paused_and_resumed() {
    let model = FakeModel::start(Behaviour::answer(four_densities())).await;
    let mut life = Life::begin(&model, Prices::every(SECOND), settings(SECOND)).await;
    for (action, expected) in [(Action::Pause, RoundState::Missed), (Action::Resume, RoundState::Closed)] {
        let at = SystemClock.now();
        let order = Order { at, by: "ann".to_owned(), action, reason: "a test".to_owned() };
        life.store.carry_out(&order).await.unwrap().unwrap();
        let noticed = async {
            while !life.rounds(at, Timestamp::MAX_UTC).await.iter().any(|(_, state)| *state == expected) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the order is noticed", noticed).await;
    }
    life.end().await;
}
