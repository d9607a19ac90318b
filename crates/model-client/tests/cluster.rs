//! Following an orchestrator over a real WebSocket.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{BRIEF, Client, PATIENT, config, json, predict, tick, timeout};
use model_client::{Cluster, ClusterConfig, ClusterEvent};
use testkit::{Behaviour, FakeModel, FakeOrchestrator, soon, stopped};
use tokio::net::TcpListener;

#[tokio::test]
async fn the_models_that_run_are_told_before_the_initialisation() {
    let orchestrator = FakeOrchestrator::start().await;
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    orchestrator.announce([model.running("1", "d1"), model.running("2", "d2")]);
    let (cluster, events) = Cluster::start(config(&orchestrator));
    let mut client = Client { orchestrator, cluster, events };
    assert_eq!(client.told().await, "+1 d1");
    assert_eq!(client.told().await, "+2 d2");
    assert_eq!(client.told().await, "initialised");
    assert_eq!(client.orchestrator.paths(), ["/condor"]);
}

#[tokio::test]
async fn joins_names_replacements_and_stops_are_told_as_they_come() {
    let mut client = Client::start().await;
    let old = FakeModel::start(Behaviour::answer("[1]")).await;
    let new = FakeModel::start(Behaviour::answer("[2]")).await;
    client.orchestrator.announce([old.running("1", "d1")]);
    let first = client.joined().await;
    assert_eq!(first.infos().model_name.as_deref(), Some("model-1"));
    let mut renamed = old.running("1", "d1");
    renamed.infos.as_mut().unwrap().model_name = Some("light".into());
    client.orchestrator.announce([renamed]);
    assert_eq!(client.told().await, "~1 light");
    assert_eq!(first.infos().model_name.as_deref(), Some("light"));
    client.orchestrator.announce([new.running("1", "d2")]);
    let second = client.joined().await;
    assert_eq!(json(&second.call(&predict(), PATIENT).await), "[2]");
    assert_eq!(client.told().await, "-1 d1 (replaced by deployment d2)");
    client.orchestrator.announce([stopped("1", "d1"), stopped("1", "d2")]);
    assert_eq!(client.told().await, "-1 d2 (stopped)");
}

#[tokio::test]
async fn a_deployment_that_moves_leaves_its_old_address_only() {
    let mut client = Client::start().await;
    let (here, there) =
        (FakeModel::start(Behaviour::answer("[1]")).await, FakeModel::start(Behaviour::answer("[2]")).await);
    client.orchestrator.announce([here.running("1", "d1")]);
    client.joined().await;
    client.orchestrator.announce([there.running("1", "d1")]);
    let moved = client.joined().await;
    let ClusterEvent::Left { address, .. } = client.event().await else { panic!("no leave") };
    assert_eq!(address, here.address().to_string());
    let mut renamed = there.running("1", "d1");
    renamed.infos = Some(Default::default());
    client.orchestrator.announce([renamed]);
    let ClusterEvent::Renamed(node) = client.event().await else { panic!("no new name") };
    assert!(Arc::ptr_eq(&node, &moved));
}

#[tokio::test]
async fn nodes_go_on_over_a_cut_of_the_websocket_and_lost_updates_are_made_up_for() {
    let mut client = Client::start().await;
    let stays = FakeModel::start(Behaviour::never_answer()).await;
    let other = FakeModel::start(Behaviour::answer("[]")).await;
    client.orchestrator.announce([stays.running("stays", "d1"), other.running("goes", "d2")]);
    let node = client.joined().await;
    client.joined().await;
    timeout(node.call(&predict(), BRIEF).await);
    client.orchestrator.announce_silently([other.running("new", "d3"), stays.running("stays", "d1")]);
    client.orchestrator.drop_connections();
    assert_eq!(client.told().await, "disconnected");
    assert_eq!(client.told().await, "-goes d2 (no longer in the orchestrator's list)");
    assert_eq!(client.told().await, "+new d3");
    assert_eq!(client.told().await, "initialised");
    assert!(node.is_busy(), "the call from before the cut is still open");
    stays.behave(Behaviour::answer("[]"));
    stays.release();
    assert!(node.call(&tick(), PATIENT).await.acknowledges());
    assert_eq!((stays.connections(), stays.refused()), (1, 0));
}

#[tokio::test]
async fn models_stay_usable_while_the_orchestrator_is_away() {
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let (mut client, nodes) = Client::holding(&[&model]).await;
    client.orchestrator.stop().await;
    assert_eq!(client.told().await, "disconnected");
    assert_eq!(json(&nodes[0].call(&predict(), PATIENT).await), "[]");
    client.orchestrator.restart().await;
    assert_eq!(client.told().await, "initialised", "one loss is told once, however many attempts it took");
    assert_eq!(json(&nodes[0].call(&predict(), PATIENT).await), "[]");
    assert_eq!(model.connections(), 1);
}

#[tokio::test]
async fn an_orchestrator_that_starts_later_is_found() {
    let orchestrator = FakeOrchestrator::start().await;
    orchestrator.stop().await;
    let (cluster, events) = Cluster::start(config(&orchestrator));
    let mut client = Client { orchestrator, cluster, events };
    assert_eq!(client.told().await, "disconnected");
    client.orchestrator.restart().await;
    assert_eq!(client.told().await, "initialised");
}

#[tokio::test]
async fn broken_and_unknown_messages_never_end_the_session() {
    let mut client = Client::start().await;
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    for text in ["", "{", "null", r#"{"event":"party"}"#, r#"{"event":"update","data":[1,{"model_id":"x"}]}"#]
    {
        client.orchestrator.send_raw(text);
    }
    client.orchestrator.announce([model.running("1", "d1")]);
    assert_eq!(client.told().await, "+1 d1");
    assert_eq!(client.orchestrator.paths().len(), 1);
}

#[tokio::test]
async fn an_init_far_above_a_frame_of_a_megabyte_is_taken() {
    let orchestrator = FakeOrchestrator::start().await;
    let model = FakeModel::start(Behaviour::answer("[]")).await;
    let count = 20_000;
    orchestrator.announce_silently((0..count).map(|n| model.running(&n.to_string(), "d")));
    let (cluster, events) = Cluster::start(config(&orchestrator));
    let mut client = Client { orchestrator, cluster, events };
    for _ in 0..count {
        client.joined().await;
    }
    assert_eq!(client.told().await, "initialised");
}

#[tokio::test]
async fn an_orchestrator_that_falls_silent_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let impatient =
        ClusterConfig { ping_every: Duration::from_millis(20), ..ClusterConfig::new(url, "condor") };
    let (_cluster, mut events) = Cluster::start(impatient);
    // It shakes hands, and then does not even answer pings.
    let (stream, _) = soon("a connection", listener.accept()).await.unwrap();
    let _silent = tokio_tungstenite::accept_async(stream).await.unwrap();
    let event = soon("an event", events.recv()).await;
    let Some(ClusterEvent::Disconnected { reason }) = event else { panic!("{event:?}") };
    assert_eq!(reason, "silent for 40ms");
}

#[tokio::test]
async fn dropping_the_cluster_ends_its_events_and_connections() {
    let model = FakeModel::start(Behaviour::never_answer()).await;
    let (mut client, nodes) = Client::holding(&[&model]).await;
    timeout(nodes[0].call(&predict(), BRIEF).await);
    drop(client.cluster);
    assert!(soon("the end of the events", client.events.recv()).await.is_none());
    let free = async {
        while nodes[0].is_busy() {
            tokio::task::yield_now().await;
        }
    };
    soon("the open call is given up", free).await;
}
