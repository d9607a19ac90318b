//! The orchestrator's WebSocket is cut again and again while models are asked.

use std::time::Duration;

use domain::{Clock, SystemClock};
use testkit::{Behaviour, FakeModel, FakeOrchestrator};
use tokio::time::{MissedTickBehavior, interval};

use crate::play::{Play, SLOT, check_flat};
use crate::{first_start, four_densities, models, names};

const CUTS: usize = 30;
/// A little less than a slot, so that the cuts fall into each part of it.
const CUT_EVERY: Duration = Duration::from_millis(1990);
/// A model has two questions and two ticks in a slot of two seconds.
const THINKING_TIME: Duration = Duration::from_millis(200);
/// After the first questions; what connections cost and the allocator keeps. Answers in flight are less than 100 KB.
const MOST_GROWTH_MIB: u64 = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_is_cut_every_two_seconds_for_a_minute_costs_no_model_a_round() {
    let orchestrator = FakeOrchestrator::start().await;
    let behaviour = Behaviour::answer_late(THINKING_TIME, four_densities());
    let names = names("steady", 50);
    let models = models(&names, behaviour.clone()).await;
    let late_name = "newcomer".to_owned();
    let latecomer = FakeModel::start(behaviour).await;
    let running: Vec<_> =
        models.iter().map(|(name, model)| model.running(name, &first_start(name))).collect();
    orchestrator.announce(running.clone());

    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("condor.db").display());
    let mut play = Play::start(&database, &orchestrator, &[]);
    let warm = play.until_closed(2);
    let mut cuts = interval(CUT_EVERY);
    cuts.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut announced_at = None;
    for cut in 0..CUTS {
        cuts.tick().await;
        if cut == CUTS / 2 {
            // Its update is lost: only the next list has it.
            let newcomer = latecomer.running(&late_name, &first_start(&late_name));
            orchestrator.announce_silently(running.iter().cloned().chain([newcomer]));
            announced_at = Some(SystemClock.now());
        }
        orchestrator.drop_connections();
    }
    cuts.tick().await;
    let memory = play.memory();
    let record = play.finish();

    record.check_no_round_is_late(2 * CUTS);
    record.check_success_of(&names);
    // A pause of at most half a second, a connection, its history: done within a slot.
    let is_in = announced_at.unwrap() + SLOT;
    let with_newcomer: Vec<_> = record.rounds.iter().filter(|round| round.slot >= is_in).collect();
    assert!(with_newcomer.len() >= CUTS / 2, "{} rounds", with_newcomer.len());
    assert!(with_newcomer.iter().all(|round| round.is_success(&late_name)));
    let told = record.lines(&["WARN", "the orchestrator cannot be heard", "the connection broke"]).len();
    assert!(told >= CUTS - 1, "the log tells of {told} cuts");
    assert!(orchestrator.paths().len() >= CUTS, "it came back after each cut");
    assert!(orchestrator.reports().is_empty(), "{:?}", orchestrator.reports());
    check_flat(warm, memory, MOST_GROWTH_MIB);
}
