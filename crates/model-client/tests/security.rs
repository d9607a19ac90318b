//! Who is trusted and who is not, over real TLS.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::{BRIEF, Client, PATIENT, json, predict, timeout};
use domain::{Clock, SystemClock};
use http::HeaderMap;
use model_client::{CallOutcome, ClusterEvent, FileChecks, ModelNode, Security};
use node_credentials::SignedDelegation;
use protocol::cluster::ModelState;
use testkit::credentials::{Authority, Issued, Wallet, delegation_message, node_tls, write_coordinator};
use testkit::{Behaviour, FakeModel, FakeTls, Reply, soon};
use tokio::net::TcpListener;

/// Keys take long to make: all tests share these.
struct World {
    authority: Authority,
    coordinator: Issued,
    node: Issued,
    other_node: Issued,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let authority = Authority::new();
    World {
        coordinator: authority.issue("coordinator"),
        node: authority.issue("model-node-7.crunchdao.internal"),
        other_node: authority.issue("model-node-8.crunchdao.internal"),
        authority,
    }
});

fn owner() -> Wallet {
    Wallet::of_seed(1)
}

fn delegation() -> SignedDelegation {
    owner().sign(&delegation_message(&WORLD.node.public_key, "7", "hot"))
}

fn metadata(delegation: &SignedDelegation) -> HeaderMap {
    delegation.to_headers().unwrap()
}

/// The node that all is well with.
fn good() -> FakeTls {
    FakeTls { config: node_tls(&WORLD.authority, &WORLD.node), metadata: metadata(&delegation()) }
}

async fn node_with(tls: FakeTls) -> FakeModel {
    let model = FakeModel::start(Behaviour::answer("[1]")).await;
    model.speak_tls(tls);
    model
}

async fn client_with(security: Security) -> Client {
    Client::start_with(|config| config.security = security).await
}

async fn announced(client: &mut Client, state: ModelState) -> Arc<ModelNode> {
    client.orchestrator.announce([state]);
    client.joined().await
}

fn state(model: &FakeModel) -> ModelState {
    let mut state = model.running("7", "d1");
    let infos = state.infos.as_mut().unwrap();
    infos.cruncher_wallet_pubkey = Some(owner().name());
    infos.cruncher_hotkey = Some("hot".into());
    state
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn mutual_tls_in(directory: &Path) -> Security {
    Security::mutual_tls(directory, FileChecks::default(), clock()).unwrap()
}

fn mutual_tls() -> (tempfile::TempDir, Security) {
    let directory = tempfile::tempdir().unwrap();
    write_coordinator(directory.path(), &WORLD.authority, &WORLD.coordinator);
    let security = mutual_tls_in(directory.path());
    (directory, security)
}

async fn outcome_of(model: &FakeModel, security: Security) -> CallOutcome {
    let mut client = client_with(security).await;
    let node = announced(&mut client, state(model)).await;
    node.call(&predict(), PATIENT).await
}

fn refusal(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::CredentialsRefused { message } => message,
        other => panic!("expected refused credentials, got {other:?}"),
    }
}

/// Why a node that shows this is not accepted.
async fn refused(tls: FakeTls) -> String {
    let (_files, security) = mutual_tls();
    refusal(outcome_of(&node_with(tls).await, security).await)
}

/// Why a node with the right certificate and this delegation is not accepted.
async fn refused_with(delegation: SignedDelegation) -> String {
    refused(FakeTls { metadata: metadata(&delegation), ..good() }).await
}

#[tokio::test]
async fn a_node_with_the_right_certificate_and_the_wallets_word_for_it_is_asked() {
    let model = node_with(good()).await;
    let (_files, security) = mutual_tls();
    let mut client = client_with(security).await;
    let node = announced(&mut client, state(&model)).await;
    for _ in 0..3 {
        assert_eq!(json(&node.call(&predict(), PATIENT).await), "[1]");
    }
    assert_eq!(model.connections(), 1);
}

#[tokio::test]
async fn a_delegation_that_is_not_the_right_one_is_refused_with_its_fault() {
    let message = delegation_message(&WORLD.node.public_key, "7", "hot");
    let changed = |field: &str, value: serde_json::Value| {
        let mut message = message.clone();
        message[field] = value;
        owner().sign(&message)
    };
    let wrong_wallet = refused_with(Wallet::of_seed(2).sign(&message)).await;
    assert!(wrong_wallet.contains("it presents the wallet"), "{wrong_wallet}");
    let forged = SignedDelegation { wallet: owner().name(), ..Wallet::of_seed(2).sign(&message) };
    let forged = refused_with(forged).await;
    assert!(forged.contains("the signature of its wallet delegation does not hold"), "{forged}");
    let other_key = owner().sign(&delegation_message(&WORLD.other_node.public_key, "7", "hot"));
    assert!(refused_with(other_key).await.contains("for another certificate"));
    assert!(refused_with(changed("model_id", "8".into())).await.contains("for the model 8, this is model 7"));
    assert!(refused_with(changed("hotkey", "cold".into())).await.contains("names the hotkey cold"));
    assert!(
        refused_with(changed("expires_at", 1_600_000_000.into())).await.contains("expired at 2020-09-13")
    );
    assert!(
        refused(FakeTls { metadata: HeaderMap::new(), ..good() }).await.contains("x-server-auth-message")
    );
}

#[tokio::test]
async fn nothing_of_an_answer_without_delegation_is_used_whatever_it_says() {
    let (_files, security) = mutual_tls();
    let model = node_with(FakeTls { metadata: HeaderMap::new(), ..good() }).await;
    let mut client = client_with(security).await;
    let node = announced(&mut client, state(&model)).await;
    let statuses =
        [tonic::Status::failed_precondition("set me up"), tonic::Status::invalid_argument("your fault")];
    for status in statuses {
        model.behave(Behaviour::new(move |_, _| Reply::Grpc(status.clone())));
        assert!(refusal(node.call(&predict(), PATIENT).await).contains("x-server-auth-message"));
    }
    model.behave(Behaviour::huge(100_000_000));
    refusal(node.call(&predict(), PATIENT).await);
}

#[tokio::test]
async fn a_bare_status_of_a_nodes_grpc_layer_is_no_answer_and_no_refusal() {
    let (_files, security) = mutual_tls();
    let model = node_with(FakeTls { metadata: HeaderMap::new(), ..good() }).await;
    let mut client = client_with(security).await;
    let node = announced(&mut client, state(&model)).await;
    let busy = tonic::Status::resource_exhausted("Concurrent RPC limit exceeded!");
    model.behave(Behaviour::new(move |_, _| Reply::Grpc(busy.clone())));
    let outcome = node.call(&predict(), Duration::from_millis(200)).await;
    assert!(matches!(&outcome, CallOutcome::Busy { message } if message.contains("busy")), "{outcome:?}");
    let unauthenticated = tonic::Status::unauthenticated("hash not registered");
    model.behave(Behaviour::new(move |_, _| Reply::Grpc(unauthenticated.clone())));
    let message = refusal(node.call(&predict(), PATIENT).await);
    assert_eq!(message, "the node refused our credentials: hash not registered");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_right_one_is_refused_with_its_fault() {
    let of = |authority: &Authority, own: &Issued| FakeTls { config: node_tls(authority, own), ..good() };
    let stranger = Authority::new();
    let issued_by_stranger = stranger.issue("model-node-7.crunchdao.internal");
    let message = refused(of(&WORLD.authority, &issued_by_stranger)).await;
    assert!(message.contains("was not issued by an authority that we trust"), "{message}");
    let message = refused(of(&WORLD.authority, &WORLD.other_node)).await;
    assert!(message.contains("its certificate is for another name"), "{message}");
    let expired = WORLD.authority.issue_until("model-node-7.crunchdao.internal", 2024);
    let message = refused(of(&WORLD.authority, &expired)).await;
    assert!(message.contains("its certificate has expired"), "{message}");
    // a node that does not know our authority: refused after the handshake, as TLS 1.3 has it
    let message = refused(of(&stranger, &WORLD.node)).await;
    assert!(message.contains("it refused our certificate"), "{message}");
}

#[tokio::test]
async fn a_model_without_an_announced_wallet_is_trusted_by_nobody() {
    let model = node_with(good()).await;
    let (_files, security) = mutual_tls();
    let mut client = client_with(security).await;
    let mut state = state(&model);
    state.infos = None;
    let node = announced(&mut client, state).await;
    assert!(refusal(node.call(&predict(), PATIENT).await).contains("announced no wallet"));
}

#[tokio::test]
async fn bad_credentials_of_one_model_touch_no_other_and_are_mended_by_the_next_connection() {
    let (bad, fine) = (node_with(good()).await, node_with(good()).await);
    bad.speak_tls(FakeTls { metadata: HeaderMap::new(), ..good() });
    let (_files, security) = mutual_tls();
    let mut client = client_with(security).await;
    let bad_node = announced(&mut client, state(&bad)).await;
    let other_state = ModelState { model_id: "8".into(), ..state(&fine) };
    let message = delegation_message(&WORLD.other_node.public_key, "8", "hot");
    fine.speak_tls(FakeTls {
        config: node_tls(&WORLD.authority, &WORLD.other_node),
        metadata: metadata(&owner().sign(&message)),
    });
    let fine_node = announced(&mut client, other_state).await;
    let call = predict();
    let (refused, answered) = tokio::join!(bad_node.call(&call, PATIENT), fine_node.call(&call, PATIENT));
    refusal(refused);
    assert_eq!(json(&answered), "[1]");
    bad.speak_tls(good());
    assert_eq!(json(&bad_node.call(&predict(), PATIENT).await), "[1]");
}

#[tokio::test]
async fn a_model_with_refused_credentials_is_reported_at_once_with_the_cause() {
    let model = node_with(FakeTls { metadata: HeaderMap::new(), ..good() }).await;
    let (_files, security) = mutual_tls();
    let mut client = client_with(security).await;
    let node = announced(&mut client, state(&model)).await;
    let cause = refusal(node.call(&predict(), PATIENT).await);
    let reason = format!("refused credentials: {cause}");
    assert_eq!(client.told().await, format!("-7 d1 (reported as CONNECTION_FAILED: {reason})"));
    client.orchestrator.reported(1).await;
    let report = client.orchestrator.reports().remove(0);
    assert_eq!((report.failure_code.as_str(), report.failure_reason), ("CONNECTION_FAILED", Some(reason)));
}

#[tokio::test]
async fn the_health_of_a_node_with_tls_is_asked_over_tls() {
    let model = node_with(good()).await;
    model.behave(Behaviour::never_answer());
    let (_files, security) = mutual_tls();
    let mut client = Client::start_with(|config| {
        config.security = security;
        config.health.max_consecutive_timeouts = 1;
    })
    .await;
    let node = announced(&mut client, state(&model)).await;
    timeout(node.call(&predict(), BRIEF).await);
    model.health_checked(1).await;
    assert_eq!(model.connections(), 2);
}

#[tokio::test]
async fn an_owner_who_changes_while_connected_is_checked_anew() {
    let model = node_with(good()).await;
    let (_files, security) = mutual_tls();
    let mut client = client_with(security).await;
    let node = announced(&mut client, state(&model)).await;
    assert_eq!(json(&node.call(&predict(), PATIENT).await), "[1]");
    let mut sold = state(&model);
    sold.infos.as_mut().unwrap().cruncher_wallet_pubkey = Some(Wallet::of_seed(9).name());
    client.orchestrator.announce([sold]);
    while !matches!(soon("a renaming", client.events.recv()).await, Some(ClusterEvent::Renamed(_))) {}
    assert!(refusal(node.call(&predict(), PATIENT).await).contains("it presents the wallet"));
}

#[tokio::test]
async fn tls_against_plain_and_plain_against_tls_say_what_they_are() {
    let (_files, security) = mutual_tls();
    let plain = FakeModel::start(Behaviour::answer("[1]")).await;
    let outcome = outcome_of(&plain, security).await;
    let CallOutcome::Unreachable { message } = outcome else { panic!("{outcome:?}") };
    assert!(
        message.contains("does not speak TLS") || message.contains("as nodes without TLS do"),
        "{message}"
    );
    let outcome = outcome_of(&node_with(good()).await, Security::plain()).await;
    let CallOutcome::Unreachable { message } = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("speaks TLS and was called without"), "{message}");
}

#[tokio::test]
async fn a_node_that_does_not_offer_http2_is_told_so() {
    let mut config = rustls::ServerConfig::clone(&good().config);
    config.alpn_protocols.clear();
    let (_files, security) = mutual_tls();
    let model = node_with(FakeTls { config: Arc::new(config), ..good() }).await;
    let outcome = outcome_of(&model, security).await;
    let CallOutcome::Unreachable { message } = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("it does not offer HTTP/2 (ALPN h2)"), "{message}");
}

#[tokio::test]
async fn a_plain_node_that_is_gone_is_not_taken_for_one_with_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let model = FakeModel::start(Behaviour::answer("[1]")).await;
    let mut client = client_with(Security::plain()).await;
    let node = announced(&mut client, ModelState { port: Some(address.port()), ..state(&model) }).await;
    let outcome = node.call(&predict(), PATIENT).await;
    let is_gone = matches!(outcome, CallOutcome::Unreachable { .. } | CallOutcome::Broken { .. });
    assert!(is_gone && !outcome.cause().contains("TLS"), "{outcome:?}");
}

#[tokio::test]
async fn a_changed_certificate_of_ours_is_shown_without_a_restart() {
    let stranger = Authority::new();
    let model = node_with(FakeTls { config: node_tls(&stranger, &WORLD.node), ..good() }).await;
    let directory = tempfile::tempdir().unwrap();
    write_coordinator(directory.path(), &WORLD.authority, &WORLD.coordinator);
    let often = FileChecks { every: Duration::from_millis(10), ..FileChecks::default() };
    let mut client = client_with(Security::mutual_tls(directory.path(), often, clock()).unwrap()).await;
    let node = announced(&mut client, state(&model)).await;
    assert!(refusal(node.call(&predict(), PATIENT).await).contains("it refused our certificate"));
    write_coordinator(directory.path(), &WORLD.authority, &stranger.issue("coordinator"));
    let accepted = async {
        while !matches!(node.call(&predict(), PATIENT).await, CallOutcome::Answered { .. }) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the new certificate is shown", accepted).await;
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_fault() {
    let directory = tempfile::tempdir().unwrap();
    let fault = || {
        let loaded = Security::mutual_tls(directory.path(), FileChecks::default(), clock());
        loaded.err().unwrap().to_string()
    };
    assert!(fault().contains("ca.crt: "), "{}", fault());
    write_coordinator(directory.path(), &WORLD.authority, &WORLD.coordinator);
    std::fs::write(directory.path().join("tls.key"), &WORLD.node.key).unwrap();
    assert!(fault().ends_with("tls.key: it is not the key of tls.crt"), "{}", fault());
    std::fs::write(directory.path().join("tls.crt"), "no certificate").unwrap();
    assert!(fault().contains("tls.crt: there is no certificate in it"), "{}", fault());
}
