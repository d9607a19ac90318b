//! Nodes whose credentials are bad, in a game with mutual TLS, with the usual limits.

use domain::{Clock, SystemClock};
use node_credentials::SignedDelegation;
use protocol::cluster::ModelState;
use testkit::credentials::{Authority, Issued, Wallet, delegation_message, node_tls, write_coordinator};
use testkit::{Behaviour, FakeModel, FakeOrchestrator, FakeTls};

use crate::four_densities;
use crate::names;
use crate::play::{Play, Record, Round, SLOT, check_flat};

const HOTKEY: &str = "hot";
/// So many that the bad ones are less than a quarter: more would be taken for a fault of ours.
const GOOD: usize = 18;
const MOST_GROWTH_MIB: u64 = 32;

/// A fault, and how the outcomes and the log tell it.
struct Fault {
    model: &'static str,
    words: &'static str,
    /// Credentials that are refused once are so for good.
    is_reported: bool,
}

const FAULTS: [Fault; 6] = [
    Fault {
        model: "wrong-key",
        words: "its wallet delegation is for another certificate",
        is_reported: true,
    },
    Fault { model: "wrong-wallet", words: "it presents the wallet", is_reported: true },
    Fault { model: "expired-word", words: "its wallet delegation expired at 2020-09-13", is_reported: true },
    Fault {
        model: "other-authority",
        words: "was not issued by an authority that we trust",
        is_reported: true,
    },
    Fault { model: "expired-certificate", words: "its certificate has expired", is_reported: true },
    Fault { model: "plain", words: "cannot be reached", is_reported: false },
];

/// Who issues certificates, and the wallet behind all models.
struct World {
    authority: Authority,
    wallet: Wallet,
}

impl World {
    fn certificate(&self, model: &str) -> Issued {
        self.authority.issue(&node_name(model))
    }

    fn delegation(&self, certificate: &Issued, model: &str) -> SignedDelegation {
        self.wallet.sign(&delegation_message(&certificate.public_key, model, HOTKEY))
    }

    fn tls(&self, certificate: &Issued, delegation: &SignedDelegation) -> FakeTls {
        let config = node_tls(&self.authority, certificate);
        FakeTls { config, metadata: delegation.to_headers().unwrap() }
    }

    fn good(&self, model: &str) -> FakeTls {
        let certificate = self.certificate(model);
        self.tls(&certificate, &self.delegation(&certificate, model))
    }

    /// `None`: no TLS at all.
    fn bad(&self, model: &str) -> Option<FakeTls> {
        let own = self.certificate(model);
        let word = delegation_message(&own.public_key, model, HOTKEY);
        Some(match model {
            "wrong-key" => self.tls(&own, &self.delegation(&self.certificate(model), model)),
            "wrong-wallet" => self.tls(&own, &Wallet::of_seed(2).sign(&word)),
            "expired-word" => {
                let mut word = word;
                word["expires_at"] = 1_600_000_000.into();
                self.tls(&own, &self.wallet.sign(&word))
            }
            "other-authority" => {
                let stranger = Authority::new().issue(&node_name(model));
                self.tls(&stranger, &self.delegation(&stranger, model))
            }
            "expired-certificate" => {
                let old = self.authority.issue_until(&node_name(model), 2024);
                self.tls(&old, &self.delegation(&old, model))
            }
            _ => return None,
        })
    }

    fn running(&self, node: &FakeModel, model: &str, deployment: &str) -> ModelState {
        let mut state = node.running(model, deployment);
        let infos = state.infos.as_mut().unwrap();
        infos.cruncher_wallet_pubkey = Some(self.wallet.name());
        infos.cruncher_hotkey = Some(HOTKEY.to_owned());
        state
    }
}

fn node_name(model: &str) -> String {
    format!("model-node-{model}.crunchdao.internal")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_cost_their_own_model_its_rounds_until_they_are_mended() {
    let world = World { authority: Authority::new(), wallet: Wallet::of_seed(1) };
    let folder = tempfile::tempdir().unwrap();
    write_coordinator(folder.path(), &world.authority, &world.authority.issue("coordinator"));
    let orchestrator = FakeOrchestrator::start().await;
    let good = names("good", GOOD);
    let mut nodes = Vec::new();
    for name in &good {
        let node = FakeModel::start(Behaviour::answer(four_densities())).await;
        node.speak_tls(world.good(name));
        nodes.push((name.as_str(), node));
    }
    for Fault { model, .. } in FAULTS {
        let node = FakeModel::start(Behaviour::answer(four_densities())).await;
        if let Some(tls) = world.bad(model) {
            node.speak_tls(tls);
        }
        nodes.push((model, node));
    }
    orchestrator.announce(nodes.iter().map(|(model, node)| world.running(node, model, "bad")));

    let database = format!("sqlite://{}", folder.path().join("condor.db").display());
    let settings = [
        ("ORCHESTRATOR__SECURITY__KIND", "mutual_tls"),
        ("ORCHESTRATOR__SECURITY__DIRECTORY", folder.path().to_str().unwrap()),
    ];
    let mut play = Play::start(&database, &orchestrator, &settings);
    let warm = play.until_closed(2);
    let reported = FAULTS.iter().filter(|fault| fault.is_reported).count();
    orchestrator.reported(reported).await;
    play.until_closed(7);
    let mended: Vec<&(&str, FakeModel)> = nodes.iter().skip(GOOD).collect();
    for (model, node) in &mended {
        node.speak_tls(world.good(model));
    }
    let mended_at = SystemClock.now();
    orchestrator.announce(mended.iter().map(|(model, node)| world.running(node, model, "mended")));
    let memory = play.until_closed(12);
    let record = play.finish();

    record.check_no_round_is_late(2 * 12);
    record.check_success_of(&good);
    let before = |round: &&Round| round.slot < mended_at;
    // A connection, Setup and ten minutes of prices: done within a slot.
    let after = |round: &&Round| round.slot >= mended_at + SLOT;
    for fault in &FAULTS {
        record.rounds.iter().filter(before).for_each(|round| check_refused(round, fault));
        let back: Vec<&Round> = record.rounds.iter().filter(after).collect();
        assert!(back.len() >= 4, "{} rounds after {mended_at}", back.len());
        assert!(back.iter().all(|round| round.is_success(fault.model)), "{} is back", fault.model);
        check_told(&record, &orchestrator, fault);
    }
    check_flat(warm, memory, MOST_GROWTH_MIB);
}

fn check_refused(round: &Round, fault: &Fault) {
    let (status, reason) = round.status(fault.model);
    let is_told = status == "ABSENT" && reason.contains(fault.words);
    assert!(is_told, "{}", round.outcome(fault.model));
}

fn check_told(record: &Record, orchestrator: &FakeOrchestrator, fault: &Fault) {
    record.check_logged(fault.model, fault.words);
    let reports = orchestrator.reports();
    let report = reports.iter().find(|report| report.model_id == fault.model);
    assert_eq!(report.is_some(), fault.is_reported, "{}: {report:?}", fault.model);
    if let Some(report) = report {
        assert_eq!(report.failure_code, "CONNECTION_FAILED", "{report:?}");
        assert!(report.failure_reason.as_deref().unwrap_or_default().contains(fault.words), "{report:?}");
    }
}
