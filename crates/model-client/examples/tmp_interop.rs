use std::time::Duration;
use model_client::*;
use testkit::*;
#[tokio::main]
async fn main() {
    let o = FakeOrchestrator::start().await;
    let (_c, mut ev) = Cluster::start(ClusterConfig::new(o.url(), "condor"));
    for (i, p) in [7811u16, 7812].into_iter().enumerate() {
        o.send_raw(format!(r#"{{"event":"update","data":[{{"model_id":"{i}","deployment_id":"d","state":"RUNNING","ip":"localhost","port":{p}}}]}}"#));
    }
    let mut nodes = vec![];
    while nodes.len() < 2 { if let Some(ClusterEvent::Joined(n)) = ev.recv().await { nodes.push(n) } }
    let p = Duration::from_secs(5);
    let show = |what: &str, o: CallOutcome| { let t = format!("{o:?}"); println!("{what}: {}", &t[..t.len().min(300)]); };
    let c = |m| EncodedCall::new(m, &[]);
    show("setup", nodes[0].setup(&EncodedSetup::new("X"), p).await);
    show("plain", nodes[0].call(&c("plain"), p).await);
    show("sleep", nodes[0].call(&c("sleep"), Duration::from_millis(200)).await);
    show("busy", nodes[0].call(&c("plain"), Duration::from_millis(200)).await);
    show("after", nodes[0].call(&c("plain"), p).await);
    show("raise", nodes[0].call(&c("raise"), p).await);
    show("huge", nodes[0].call(&c("huge"), p).await);
    show("after huge", nodes[0].call(&c("plain"), p).await);
    show("3MB in", nodes[0].call(&EncodedCall::with_json("tick", vec![b' '; 3_000_000].into()), p).await);
    show("5MB in", nodes[0].call(&EncodedCall::with_json("tick", vec![b' '; 5_000_000].into()), p).await);
    show("3MB out", nodes[0].call(&c("over"), p).await);
    show("3MB out, their limit 2MB", nodes[1].call(&c("over"), p).await);
    let s = std::time::Duration::ZERO; let _ = s;
    for _ in 0..200 { assert!(nodes[0].call(&c("plain"), p).await.acknowledges()); }
    show("last", nodes[0].call(&c("plain"), p).await);
}
