//! Half of the nodes die and come back on other ports.

use std::time::Duration;

use domain::{Clock, SystemClock, Timestamp};
use e2e::Game;
use testkit::{Behaviour, FakeModel, FakeOrchestrator, recovering};
use tokio::time::sleep;

use crate::play::{Play, Record, SLOT, check_flat};
use crate::{first_start, four_densities, models, names};

const DEATHS: usize = 4;
/// Longer than a slot: each death costs a round.
const DOWN_FOR: Duration = Duration::from_secs(3);
const UP_FOR: Duration = Duration::from_secs(5);
/// From an announcement to a model that answers: a connection, Setup and ten minutes of prices.
const BACK_WITHIN: domain::Span = SLOT;
const MOST_GROWTH_MIB: u64 = 32;

/// When the mortals did not run.
struct Down {
    from: Timestamp,
    to: Timestamp,
}

impl Down {
    /// True for rounds that they may have missed for it: those that were open when they died, and those of slots before
    /// they were back.
    fn excuses(&self, slot: Timestamp) -> bool {
        slot + Game::CALL_TIMEOUT > self.from && slot < self.to + BACK_WITHIN
    }

    /// True for rounds that they cannot have answered.
    fn prevents(&self, slot: Timestamp) -> bool {
        slot > self.from && slot + Game::CALL_TIMEOUT < self.to
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_nodes_killed_and_restarted_elsewhere_miss_only_the_rounds_of_that_time() {
    let orchestrator = FakeOrchestrator::start().await;
    let (steady, mortal) = (names("steady", 6), names("mortal", 6));
    let living = models(&steady, Behaviour::answer(four_densities())).await;
    let mut dying = models(&mortal, Behaviour::answer(four_densities())).await;
    orchestrator
        .announce(living.iter().chain(&dying).map(|(name, model)| model.running(name, &first_start(name))));

    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("condor.db").display());
    let mut play = Play::start(&database, &orchestrator, &[]);
    let warm = play.until_closed(2);
    let mut downs = Vec::new();
    for death in 0..DEATHS {
        downs.push(die_and_come_back(death, &mut dying, &orchestrator).await);
        sleep(UP_FOR).await;
    }
    let memory = play.memory();
    let record = play.finish();

    record.check_no_round_is_late(2 * 2 * DEATHS);
    record.check_success_of(&steady);
    mortal.iter().for_each(|name| check_losses(&record, name, &downs));
    assert!(orchestrator.reports().is_empty(), "{:?}", orchestrator.reports());
    check_flat(warm, memory, MOST_GROWTH_MIB);
}

/// By turns without a word and then as a new deployment, and as the orchestrator has it when it recovers the old one.
async fn die_and_come_back(
    death: usize,
    dying: &mut [(String, FakeModel)],
    orchestrator: &FakeOrchestrator,
) -> Down {
    let is_recovered = death % 2 == 1;
    let start = if is_recovered { death - 1 } else { death };
    let deployment = |name: &str| format!("{start}-of-{name}");
    let from = SystemClock.now();
    for (_, model) in dying.iter() {
        model.stop().await;
    }
    if is_recovered {
        orchestrator.announce(dying.iter().map(|(name, _)| recovering(name, &deployment(name))));
    }
    sleep(DOWN_FOR).await;
    for (_, model) in dying.iter_mut() {
        let before = model.address();
        *model = FakeModel::start(Behaviour::answer(four_densities())).await;
        assert_ne!(model.address(), before);
    }
    orchestrator.announce(dying.iter().map(|(name, model)| model.running(name, &deployment(name))));
    Down { from, to: SystemClock.now() }
}

fn check_losses(record: &Record, name: &str, downs: &[Down]) {
    for round in &record.rounds {
        let (status, reason) = round.status(name);
        if status == "SUCCESS" {
            assert!(!downs.iter().any(|down| down.prevents(round.slot)), "{name} was down at {}", round.slot);
        } else {
            assert!(
                downs.iter().any(|down| down.excuses(round.slot)),
                "lost for longer than it was down: {}",
                round.outcome(name)
            );
            assert!(
                ["cannot be reached", "recover", "its deployment went away", "set-up"]
                    .iter()
                    .any(|cause| reason.contains(cause)),
                "{name}: {reason}"
            );
        }
    }
    let lost = record.rounds.iter().filter(|round| !round.is_success(name)).count();
    assert!(lost >= DEATHS, "each death cost a round: {lost}");
    record.check_logged(name, "ABSENT");
    assert!(!record.lines(&["INFO", &format!("model={name}"), "answers again"]).is_empty(), "{name}");
}
