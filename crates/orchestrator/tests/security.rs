//! The model host's end of each security mode, with our own client at the other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::{Clock, SystemClock};
use model_client::{
    CallOutcome, Cluster, ClusterConfig, ClusterEvent, EncodedSetup, FileChecks, ModelNode, Security,
};
use node_credentials::{ClientIdentity, PublicKeyInfo, TokenSigner, server_name};
use orchestrator::builtin::BuiltinSpec;
use orchestrator::host::{NodeSecurity, serve_builtin};
use protocol::cluster::{ModelInfos, ModelState, RunState};
use protocol::commons::Status;
use protocol::dynamic_subclass::SetupRequest;
use protocol::dynamic_subclass::dynamic_subclass_service_client::DynamicSubclassServiceClient;
use testkit::credentials::{
    Authority, Issued, Wallet, delegation_message, rsa_key_pem, write_coordinator, write_coordinator_keys,
    write_node,
};
use testkit::{FakeOrchestrator, soon};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

const PATIENT: Duration = Duration::from_secs(10);
const BASE_CLASS: &str = "crunch_synth.tracker.TrackerBase";

/// Keys take long to make: all tests share these.
struct World {
    authority: Authority,
    coordinator: Issued,
    node: Issued,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let authority = Authority::new();
    World {
        coordinator: authority.issue("coordinator"),
        node: authority.issue("model-node-7.crunchdao.internal"),
        authority,
    }
});

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn owner() -> Wallet {
    Wallet::of_seed(1)
}

/// A host that serves a built-in model until it is dropped.
struct Host {
    address: SocketAddr,
    _stop: DropGuard,
}

async fn host(security: NodeSecurity) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let model = "random-walk".parse::<BuiltinSpec>().unwrap().build();
    tokio::spawn(serve_builtin(listener, model, security, stop.clone()));
    Host { address, _stop: stop.drop_guard() }
}

/// A node's directory that lets these coordinators in.
fn node_files(own: &Issued, coordinators: &[&PublicKeyInfo]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let delegation = owner().sign(&delegation_message(&own.public_key, "7", "hot"));
    write_node(directory.path(), own, &delegation, coordinators);
    directory
}

fn coordinator_files() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write_coordinator(directory.path(), &WORLD.authority, &WORLD.coordinator);
    directory
}

struct Client {
    node: Arc<ModelNode>,
    _cluster: Cluster,
    _orchestrator: FakeOrchestrator,
}

impl Client {
    async fn of(host: &str, port: u16, security: Security) -> Self {
        let orchestrator = FakeOrchestrator::start().await;
        let config = ClusterConfig { security, ..ClusterConfig::new(orchestrator.url(), "condor") };
        let (cluster, mut events) = Cluster::start(config);
        orchestrator.announce([ModelState {
            deployment_id: "d1".into(),
            model_id: "7".into(),
            state: RunState::Running,
            ip: Some(host.to_owned()),
            port: Some(port),
            infos: Some(ModelInfos {
                cruncher_wallet_pubkey: Some(owner().name()),
                cruncher_hotkey: Some("hot".into()),
                ..ModelInfos::default()
            }),
            baseline: false,
        }]);
        loop {
            if let ClusterEvent::Joined(node) = soon("a join", events.recv()).await.unwrap() {
                return Client { node, _cluster: cluster, _orchestrator: orchestrator };
            }
        }
    }

    async fn setup(&self) -> CallOutcome {
        self.node.setup(&EncodedSetup::new(BASE_CLASS), PATIENT).await
    }

    async fn succeeds(&self) {
        let outcome = self.setup().await;
        assert!(matches!(outcome, CallOutcome::Answered { .. }), "{outcome:?}");
    }

    async fn is_refused(&self) -> String {
        match self.setup().await {
            CallOutcome::CredentialsRefused { message } => message,
            other => panic!("expected refused credentials, got {other:?}"),
        }
    }
}

fn mutual_tls(directory: &Path) -> Security {
    Security::mutual_tls(directory, FileChecks::default(), clock()).unwrap()
}

fn served(directory: &Path) -> NodeSecurity {
    NodeSecurity::mutual_tls(directory, FileChecks::default(), clock()).unwrap()
}

#[tokio::test]
async fn a_plain_host_serves_a_plain_client() {
    let host = host(NodeSecurity::plain()).await;
    Client::of("127.0.0.1", host.address.port(), Security::plain()).await.succeeds().await;
}

#[tokio::test]
async fn host_and_client_know_each_other_with_mutual_tls() {
    let files = node_files(&WORLD.node, &[&WORLD.coordinator.public_key]);
    let host = host(served(files.path())).await;
    let ours = coordinator_files();
    let client = Client::of("127.0.0.1", host.address.port(), mutual_tls(ours.path())).await;
    client.succeeds().await;
    client.succeeds().await;
}

#[tokio::test]
async fn a_coordinator_whose_key_is_not_registered_is_turned_away_until_it_is() {
    let stranger = WORLD.authority.issue("coordinator");
    let files = node_files(&WORLD.node, &[&stranger.public_key]);
    let security = served(files.path());
    let host = host(security.clone()).await;
    let ours = coordinator_files();
    let client = Client::of("127.0.0.1", host.address.port(), mutual_tls(ours.path())).await;
    assert!(client.is_refused().await.contains("it refused our certificate"));
    let both = [&stranger.public_key, &WORLD.coordinator.public_key];
    write_coordinator_keys(&files.path().join("coordinator-keys"), &both);
    security.refresh();
    client.succeeds().await;
}

#[tokio::test]
async fn open_connections_outlive_a_new_certificate_of_the_node() {
    let files = node_files(&WORLD.node, &[&WORLD.coordinator.public_key]);
    let security = served(files.path());
    let host = host(security.clone()).await;
    let ours = coordinator_files();
    let old = Client::of("127.0.0.1", host.address.port(), mutual_tls(ours.path())).await;
    old.succeeds().await;
    let renewed = WORLD.authority.issue("model-node-7.crunchdao.internal");
    let delegation = owner().sign(&delegation_message(&renewed.public_key, "7", "hot"));
    write_node(files.path(), &renewed, &delegation, &[&WORLD.coordinator.public_key]);
    security.refresh();
    old.succeeds().await;
    Client::of("127.0.0.1", host.address.port(), mutual_tls(ours.path())).await.succeeds().await;
}

#[tokio::test]
async fn an_expired_delegation_is_refused_and_a_new_one_goes_out_on_the_same_connection() {
    let files = node_files(&WORLD.node, &[&WORLD.coordinator.public_key]);
    let write_delegation = |expires_at: i64| {
        let mut message = delegation_message(&WORLD.node.public_key, "7", "hot");
        message["expires_at"] = expires_at.into();
        write_node(files.path(), &WORLD.node, &owner().sign(&message), &[&WORLD.coordinator.public_key]);
    };
    write_delegation(1_700_000_000);
    let security = served(files.path());
    let host = host(security.clone()).await;
    let ours = coordinator_files();
    let client = Client::of("127.0.0.1", host.address.port(), mutual_tls(ours.path())).await;
    assert!(client.is_refused().await.contains("its wallet delegation expired at 2023-11-14"));
    write_delegation(4_000_000_000);
    security.refresh();
    client.succeeds().await;
    write_delegation(4_000_000_001);
    security.refresh();
    client.succeeds().await;
}

/// The public client sends nothing on its first connection and waits for the server's first byte.
#[tokio::test]
async fn a_host_with_tls_speaks_first() {
    let files = node_files(&WORLD.node, &[&WORLD.coordinator.public_key]);
    let host = host(served(files.path())).await;
    let ours = coordinator_files();
    let identity = ClientIdentity::watch(ours.path(), Duration::ZERO).unwrap();
    let stream = TcpStream::connect(host.address).await.unwrap();
    let connector = TlsConnector::from(identity.current().config.clone());
    let mut stream = connector.connect(server_name("7").unwrap(), stream).await.unwrap();
    let mut first = [0];
    soon("a first byte", stream.read_exact(&mut first)).await.unwrap();
}

#[test]
fn a_host_names_what_is_wrong_with_its_files() {
    let fault = |files: &tempfile::TempDir| {
        NodeSecurity::mutual_tls(files.path(), FileChecks::default(), clock()).err().unwrap().to_string()
    };
    let other = WORLD.authority.issue("model-node-7.crunchdao.internal");
    let files = node_files(&WORLD.node, &[&WORLD.coordinator.public_key]);
    let foreign = owner().sign(&delegation_message(&other.public_key, "7", "hot"));
    write_node(files.path(), &WORLD.node, &foreign, &[&WORLD.coordinator.public_key]);
    assert!(
        fault(&files).contains("delegation.json: its cert_pub is not the key of tls.crt"),
        "{}",
        fault(&files)
    );
    let files = node_files(&WORLD.node, &[]);
    assert!(fault(&files).contains("coordinator-keys: it names no key"), "{}", fault(&files));
    std::fs::remove_file(files.path().join("delegation.json")).unwrap();
    assert!(fault(&files).contains("delegation.json: "), "{}", fault(&files));
}

/// A proxy that ends TLS in front of a host.
async fn gateway(own: &Issued, behind: SocketAddr) -> u16 {
    let chain = CertificateDer::pem_slice_iter(own.certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut outside) = acceptor.accept(stream).await {
                    let mut inside = TcpStream::connect(behind).await.unwrap();
                    let _ = copy_bidirectional(&mut outside, &mut inside).await;
                }
            });
        }
    });
    port
}

/// A node behind a gateway, and the files of both ends.
struct BehindGateway {
    host: Host,
    port: u16,
    files: tempfile::TempDir,
}

impl BehindGateway {
    /// The node takes tokens for this model.
    async fn of_model(model_id: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let pem = rsa_key_pem();
        std::fs::write(files.path().join("coordinator.key"), &pem).unwrap();
        std::fs::write(files.path().join("ca.crt"), WORLD.authority.pem()).unwrap();
        let signer = TokenSigner::from_pem(Path::new("coordinator.key"), pem.as_bytes()).unwrap();
        write_coordinator_keys(&files.path().join("coordinator-keys"), &[signer.public_key()]);
        let keys = files.path().join("coordinator-keys");
        let security = NodeSecurity::gateway(&keys, model_id, FileChecks::default(), clock()).unwrap();
        let host = host(security).await;
        let port = gateway(&WORLD.authority.issue("localhost"), host.address).await;
        BehindGateway { host, port, files }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    async fn client(&self, clock: Arc<dyn Clock>) -> Client {
        let (key, authorities) = (self.file("coordinator.key"), self.file("ca.crt"));
        let security = Security::gateway(&key, Some(&authorities), FileChecks::default(), clock).unwrap();
        Client::of("localhost", self.port, security).await
    }
}

/// A clock that is wrong.
struct Off(chrono::TimeDelta);

impl Clock for Off {
    fn now(&self) -> domain::Timestamp {
        SystemClock.now() + self.0
    }
}

#[tokio::test]
async fn a_node_behind_a_gateway_takes_calls_with_a_good_token() {
    let node = BehindGateway::of_model("7").await;
    let client = node.client(clock()).await;
    client.succeeds().await;
    client.succeeds().await;
}

#[tokio::test]
async fn a_node_behind_a_gateway_refuses_a_bad_token_and_says_why() {
    let node = BehindGateway::of_model("7").await;
    let late = node.client(Arc::new(Off(chrono::TimeDelta::seconds(-40)))).await;
    let message = late.is_refused().await;
    assert!(message.contains("the token is 4") && message.contains("compare the clocks"), "{message}");
    std::fs::write(node.file("coordinator.key"), rsa_key_pem()).unwrap();
    let message = node.client(clock()).await.is_refused().await;
    assert!(message.contains("which is not among this node's coordinator keys"), "{message}");
    let other_model = BehindGateway::of_model("8").await;
    let message = other_model.client(clock()).await.is_refused().await;
    assert!(message.contains("the token is for model 7, this is model 8"), "{message}");
    let without = Client::of("127.0.0.1", node.host.address.port(), Security::plain()).await;
    assert!(without.is_refused().await.contains("x-gateway-auth-message"));
}

#[tokio::test]
async fn a_gateway_whose_certificate_nobody_vouches_for_is_not_trusted() {
    let node = BehindGateway::of_model("7").await;
    let security =
        Security::gateway(&node.file("coordinator.key"), None, FileChecks::default(), clock()).unwrap();
    let client = Client::of("localhost", node.port, security).await;
    assert!(client.is_refused().await.contains("was not issued by an authority that we trust"));
    let by_address = {
        let (key, authorities) = (node.file("coordinator.key"), node.file("ca.crt"));
        let security = Security::gateway(&key, Some(&authorities), FileChecks::default(), clock()).unwrap();
        Client::of("127.0.0.1", node.port, security).await
    };
    assert!(by_address.is_refused().await.contains("its certificate is for another name"));
}

/// Public coordinators send no token with it.
#[tokio::test]
async fn the_health_check_needs_no_token_and_the_model_does() {
    let node = BehindGateway::of_model("7").await;
    let url = format!("http://{}", node.host.address);
    let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let setup = DynamicSubclassServiceClient::new(channel).setup(SetupRequest::default()).await;
    let refusal: Result<Option<Status>, tonic::Code> =
        setup.map(|answer| answer.into_inner().status).map_err(|status| status.code());
    assert_eq!(refusal, Err(tonic::Code::Unauthenticated));
}
