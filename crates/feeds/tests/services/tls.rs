//! TLS to services: whose certificates are trusted. The system's authorities are read once in a process, so each case is a
//! process of its own: this very test program, with one test that is ignored otherwise.

use std::process::Stdio;
use std::sync::Arc;

use feeds::Wanted;
use futures::StreamExt;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::rest::BINANCE;
use crate::server::Server;
use crate::truth::{btc, minute, surroundings, within};

const HTTPS: &str = "FEEDS_TEST_HTTPS";
const WSS: &str = "FEEDS_TEST_WSS";

/// What the other process says: what came of a question, and of a stream.
#[tokio::test]
#[ignore = "is run by another test"]
async fn ask() {
    let (_, surroundings) = surroundings(within(10));
    let feed = BINANCE.feed(&std::env::var(HTTPS).unwrap(), &surroundings);
    let asset = btc();
    match feed.closes(Wanted::new(&asset, minute(0), minute(10))).await {
        Ok(closes) => println!("asked: {} closes", closes.len()),
        Err(error) => println!("asked: {error}"),
    }
    let service = BINANCE.service(&std::env::var(WSS).unwrap(), None);
    let stream = feeds::binance_stream(service, &surroundings).unwrap();
    loop {
        match stream.closes(Wanted::new(&asset, minute(0), minute(10))).await {
            Ok(closes) if closes.is_empty() => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            Ok(closes) => return println!("streamed: {} closes", closes.len()),
            Err(error) => return println!("streamed: {error}"),
        }
    }
}

/// A certificate for this machine, as a file, and a server's end of TLS with it.
fn certificate() -> (tempfile::NamedTempFile, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into());
    (file, TlsAcceptor::from(Arc::new(config.unwrap())))
}

/// A stream that tells one close.
async fn stream(tls: TlsAcceptor) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(bytes) = tls.accept(tcp).await else { continue };
            let mut socket = tokio_tungstenite::accept_async(bytes).await.unwrap();
            let closed = crate::binance_stream::kline("BTCUSDT", 0, "100.5", true);
            futures::SinkExt::send(&mut socket, closed).await.unwrap();
            socket.next().await;
        }
    });
    address
}

async fn said_when_trusting(authorities: &std::path::Path, https: &str, wss: &str) -> String {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tls::ask", "--ignored", "--nocapture"]);
    command.env("SSL_CERT_FILE", authorities).env_remove("SSL_CERT_DIR").env(HTTPS, https).env(WSS, wss);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_certificate_of_the_systems_authorities_is_trusted_and_no_other() {
    let (own, tls) = certificate();
    let (another, _) = certificate();
    let server = Server::start_with_tls(tls.clone(), |question| BINANCE.answer(question, within(10))).await;
    let https = server.address.replace("http://127.0.0.1", "https://localhost");
    let wss = stream(tls).await;
    let said = said_when_trusting(own.path(), &https, &wss).await;
    assert!(said.contains("asked: 10 closes") && said.contains("streamed: 1 closes"), "{said}");
    let said = said_when_trusting(another.path(), &https, &wss).await;
    for way in ["asked: binance, BTC: localhost:", "streamed: binance, BTC: localhost:"] {
        assert!(said.contains(way), "{said}");
    }
    assert_eq!(said.matches("invalid peer certificate").count(), 2, "{said}");
}
