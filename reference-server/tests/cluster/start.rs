//! The start of a node: it waits for NATS and for the other nodes, and says so.

use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Error};

use crate::{
    nodes::{Cluster, Nats, Node},
    postgres::{Postgres, free_port},
    site::{Proxy, Site},
    until,
    viewer::{User, Viewer},
};

const WAITING: &str = "starting: NATS is not reached";
/// Frames that a node sends in a multiple of the time after which a silent one is down.
const UNSENT: f64 = 12.0;

/// Checks that a node lives, and says that it waits for NATS.
async fn waits_for_nats(node: &Node) {
    let said = |status, text: &str| Some((status, text.to_owned()));
    assert_eq!(node.probe("healthz").await, said(200, "ok"));
    assert_eq!(node.probe("readyz").await, said(503, WAITING));
}

async fn is_ready(node: &Node) {
    until("the node is ready", || async {
        let (status, _) = node.probe("readyz").await?;
        (status == 200).then_some(())
    })
    .await;
}

/// Returns how many users of the lobby are online, as a node lists it.
async fn online(node: &Node, user: &User) -> u64 {
    let (_, rooms) = user.call(&node.address, "GET", "/rooms", Value::Null).await;
    rooms["data"][0]["online"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_nats_that_starts_after_it() {
    let (_site, webhook) = Site::start().await;
    let postgres = Postgres::start().await;
    let database = postgres.create().await;
    let port = free_port();
    let nats = format!("nats://hidden:secret@127.0.0.1:{port}");
    let mut node = Node::launch(&database, &nats, &webhook);
    waits_for_nats(&node).await;

    // Nothing else is answered as if it were there, and nothing is left hanging.
    let url = format!("http://{}/api/v1/auth/guest", node.address);
    let refused = crate::http::client().post(url).json(&json!({})).send();
    let refused = refused.await.unwrap();
    assert_eq!(refused.status().as_u16(), 503);
    let answer: Value = refused.json().await.unwrap();
    assert_eq!(answer, json!({ "error": WAITING }));
    let url = format!("ws://{}/chat/socket/websocket?vsn=2.0.0", node.address);
    match connect_async(url).await {
        Err(Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 503),
        other => panic!("{other:?}"),
    }
    assert_eq!(node.metric("headcount_ready").await, 0.0);
    // A limit that is changed before the node can use it stops nothing.
    node.reload();
    waits_for_nats(&node).await;

    let _nats = Nats::start_on(port).await;
    is_ready(&node).await;
    let ada = User::register(&node.address, "ada").await;
    assert_eq!(online(&node, &ada).await, 0);
    assert_eq!(node.metric("headcount_ready").await, 1.0);
    node.terminate().await;

    // One that waits still stops when it is asked to.
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let mut node = Node::launch(&database, &nowhere, &webhook);
    waits_for_nats(&node).await;
    node.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_while_nats_is_lost_knows_all_when_it_is_ready() {
    let (_site, webhook) = Site::start().await;
    let mut cluster = Cluster::start(&webhook).await;
    let first = cluster.nodes[0].address.clone();
    let mut viewers = Vec::new();
    for (i, name) in ["ada", "bob", "carl", "dora"].iter().enumerate() {
        let user = User::register(&first, name).await;
        let (_, rooms) = user.call(&first, "GET", "/rooms", Value::Null).await;
        let room = rooms["data"][0]["id"].as_str().unwrap().to_owned();
        let join = format!("/rooms/{room}/join");
        assert_eq!(user.call(&first, "POST", &join, json!({})).await.0, 200);
        viewers.push(Viewer::enter(&cluster.nodes[i % 3].address, &user, &room).await);
    }
    let users: Vec<User> = viewers.iter().map(|viewer| viewer.user.clone()).collect();
    let all: Vec<&User> = users.iter().collect();
    for viewer in &viewers {
        viewer.sees(&all).await;
    }

    let nats = cluster.nats.url.clone();
    let port = cluster.nats.kill();
    // Each node is alone now, and serves its own users: none may be taken out of service.
    viewers[1].sees(&[all[1]]).await;
    for node in &cluster.nodes {
        assert_eq!(node.probe("readyz").await, Some((200, "ok".to_owned())));
    }
    let node = Node::launch(&cluster.database, &nats, &webhook);
    waits_for_nats(&node).await;

    cluster.nats = Nats::start_on(port).await;
    is_ready(&node).await;
    for viewer in &viewers {
        viewer.sees(&all).await;
    }

    // A node that starts beside others is ready when it knows who is there, and not before.
    let last = Node::start(&cluster.database, &nats, &webhook).await;
    assert_eq!(online(&last, all[0]).await, 4);
}

/// The node took itself for the only one, and was ready without any of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_nats_once_it_has_joined_is_not_ready_before_it_knows_all() {
    let (_site, webhook) = Site::start().await;
    let cluster = Cluster::start(&webhook).await;
    let first = &cluster.nodes[0].address;
    let ada = User::register(first, "ada").await;
    let (_, rooms) = ada.call(first, "GET", "/rooms", Value::Null).await;
    let room = rooms["data"][0]["id"].as_str().unwrap();
    let join = format!("/rooms/{room}/join");
    assert_eq!(ada.call(first, "POST", &join, json!({})).await.0, 200);
    let _viewer = Viewer::enter(first, &ada, room).await;

    let proxy = Proxy::start_cut_before(&cluster.nats.url, "PUB headcount.test.all").await;
    let node = Node::launch(&cluster.database, &proxy.url, &webhook);
    until("the node speaks to the others", || async {
        proxy.is_cut().then_some(())
    })
    .await;
    until("it has long spoken in vain", || async {
        let (status, text) = node.probe("readyz").await?;
        assert_eq!(status, 503, "{text}");
        if text == WAITING {
            return None;
        }
        let unsent = node.metric("headcount_cluster_frames_unsent_total").await;
        (unsent >= UNSENT).then_some(())
    })
    .await;
    proxy.heal();
    is_ready(&node).await;
    assert_eq!(online(&node, &ada).await, 1);
}
