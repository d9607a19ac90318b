//! Submissions are guarded as built-in models are.

use std::path::Path;
use std::sync::Arc;

use domain::{Clock, SystemClock};
use node_credentials::{FileChecks, TokenSigner};
use orchestrator::host::NodeSecurity;
use protocol::dynamic_subclass::SetupRequest;
use testkit::credentials::{rsa_key_pem, write_coordinator_keys};
use tonic::metadata::MetadataMap;

use crate::host::{BASE_CLASS, Host};

const SILENT: &str = "
class Silent:
    tick = predict = print
";

#[tokio::test]
async fn a_submission_behind_a_gateway_takes_calls_with_a_token_and_no_others() {
    let files = tempfile::tempdir().unwrap();
    let keys = files.path().join("coordinator-keys");
    let signer = TokenSigner::from_pem(Path::new("coordinator.key"), rsa_key_pem().as_bytes()).unwrap();
    write_coordinator_keys(&keys, &[signer.public_key()]);
    let clock = Arc::new(SystemClock);
    let security = NodeSecurity::gateway(&keys, "7", FileChecks::default(), clock.clone()).unwrap();
    let host = Host::guarded(SILENT, security).await;
    let mut client = host.client().await;
    let setup = || SetupRequest { class_name: BASE_CLASS.to_owned(), ..SetupRequest::default() };

    let refusal = client.0.setup(setup()).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::Unauthenticated);

    let mut headers = http::HeaderMap::new();
    signer.token("7", clock.now()).unwrap().insert_into(&mut headers);
    let mut signed = tonic::Request::new(setup());
    *signed.metadata_mut() = MetadataMap::from_headers(headers);
    let answer = client.0.setup(signed).await.unwrap().into_inner();
    assert_eq!(answer.status.unwrap().code, "SUCCESS");
}
