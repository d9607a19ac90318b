//! Python submissions behind the model host: a real interpreter, real gRPC.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod environments;
mod faults;
mod finding;
mod host;
mod security;
mod values;

use host::{Host, json};
use protocol::Value;

/// A folder of the repository's examples.
fn example(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../python/examples")
        .join(name)
        .canonicalize()
        .unwrap()
}

async fn plays_the_game(name: &str) {
    let host = Host::of_folder(example(name)).await;
    let mut client = host.ready_client().await;
    let minutes: Vec<String> =
        (0..100).map(|m| format!("[{},{}]", 1_747_699_200 + 60 * m, 100.0 + f64::from(m % 2))).collect();
    let prices = json(&format!("{{\"BTC\":[{}]}}", minutes.join(",")));
    let question = [Value::String("BTC".into()), Value::Int(3600), Value::Int(60)];
    let before = client.succeed("predict", &question).await;
    assert_eq!(client.succeed("tick", &[prices]).await, Value::None);
    let after = client.succeed("predict", &question).await;
    assert_ne!(before, after, "the tick was taken");
    let Value::Json(text) = after else { panic!("{after:?} is not JSON") };
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(), 60);
    let all = [Value::String("BTC".into()), Value::Int(3600), json("[60, 7200]")];
    assert_eq!(client.succeed("predict_all", &all).await, Value::Json(format!("{{\"60\":{text}}}")));
}

#[tokio::test]
async fn a_plain_class_of_the_standard_library_plays_the_game() {
    plays_the_game("plain").await;
}

#[tokio::test]
async fn a_notebook_plays_the_game() {
    plays_the_game("notebook").await;
}
