//! Every node is stopped and replaced in turn, while clients post and come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    agreement::Expected,
    nodes::{Cluster, Node},
    site::Site,
    until,
    viewer::{User, Viewer},
};

/// The clients, and the messages that are acknowledged between two steps.
const CLIENTS: usize = 6;
const MESSAGES: usize = 24;

/// The state that the clients share.
#[derive(Default)]
struct Load {
    /// The addresses of the nodes, of which some may not be there.
    nodes: Mutex<Vec<String>>,
    room: String,
    turn: AtomicUsize,
    acknowledged: AtomicUsize,
    returns: AtomicUsize,
    is_over: AtomicBool,
}

impl Load {
    /// Enters the room at the first node that takes the client, beginning with another one each time.
    async fn enter(&self, user: &User) -> Viewer {
        until("a node takes the client", || async {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let address = {
                let nodes = self.nodes.lock();
                nodes[turn % nodes.len()].clone()
            };
            Viewer::try_enter(&address, user, &self.room).await
        })
        .await
    }

    /// Posts one message after the other until the end, each again until it is acknowledged, as clients do under one
    /// `client_id`. Returns the connection, and what was acknowledged.
    async fn post(self: Arc<Self>, user: User, name: String) -> (Viewer, Vec<(i64, String)>) {
        let mut stored = Vec::new();
        let mut viewer = self.enter(&user).await;
        while !self.is_over.load(Ordering::Relaxed) {
            let content = format!("{name} says {}", stored.len());
            let draft = json!({ "content": content, "client_id": stored.len().to_string() });
            let message = loop {
                match viewer.try_push("new_message", draft.clone()).await {
                    Some(reply) if reply["status"] == "ok" => break reply["response"].clone(),
                    // The rate of messages, or a node that stops.
                    Some(_) => sleep(Duration::from_millis(200)).await,
                    None => {
                        self.returns.fetch_add(1, Ordering::Relaxed);
                        viewer = self.enter(&user).await;
                    }
                }
            };
            assert_eq!(message["content"], content.as_str());
            stored.push((message["seq"].as_i64().unwrap(), content));
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        // Of a connection that ended since there is nothing to compare.
        if viewer.view.lock().is_closed {
            viewer = self.enter(&user).await;
        }
        (viewer, stored)
    }

    /// Waits until more messages were acknowledged.
    async fn goes_on(&self) {
        let enough = self.acknowledged.load(Ordering::Relaxed) + MESSAGES;
        until("more messages are acknowledged", || async {
            (self.acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_nothing_and_leaves_no_ghost() {
    let (_site, webhook) = Site::start().await;
    let mut cluster = Cluster::start(&webhook).await;
    let first = cluster.nodes[0].address.clone();
    let names: Vec<String> = (0..CLIENTS).map(|i| format!("client-{i}-é")).collect();
    let mut users = Vec::new();
    let mut room = String::new();
    for name in &names {
        let user = User::register(&first, name).await;
        let (_, rooms) = user.call(&first, "GET", "/rooms", Value::Null).await;
        room = rooms["data"][0]["id"].as_str().unwrap().to_owned();
        let join = format!("/rooms/{room}/join");
        assert_eq!(user.call(&first, "POST", &join, json!({})).await.0, 200);
        users.push(user);
    }
    let addresses = cluster.nodes.iter().map(|node| node.address.clone());
    let load = Arc::new(Load {
        nodes: Mutex::new(addresses.collect()),
        room: room.clone(),
        ..Load::default()
    });
    let clients = users
        .iter()
        .zip(&names)
        .map(|(user, name)| tokio::spawn(Arc::clone(&load).post(user.clone(), name.clone())));
    let clients: Vec<_> = clients.collect();
    for i in 0..cluster.nodes.len() {
        load.goes_on().await;
        cluster.nodes[i].terminate().await;
        load.goes_on().await;
        let node = Node::start(&cluster.database, &cluster.nats.url, &webhook).await;
        load.nodes.lock()[i] = node.address.clone();
        cluster.nodes[i] = node;
    }
    load.goes_on().await;
    load.is_over.store(true, Ordering::Relaxed);
    let mut viewers = Vec::new();
    let mut messages = Vec::new();
    for client in clients {
        let (viewer, stored) = client.await.unwrap();
        viewers.push(viewer);
        messages.extend(stored);
    }
    // Each node had two of the six clients at the least at some time.
    assert!(load.returns.load(Ordering::Relaxed) >= cluster.nodes.len());
    messages.sort();

    // Half of the clients go; the nodes show the others, without any of the sessions of the nodes that stopped.
    let mut kept = Vec::new();
    for (i, viewer) in viewers.into_iter().enumerate() {
        match i % 2 {
            0 => kept.push(viewer),
            _ => viewer.leave().await,
        }
    }
    let members = users.iter().zip(names).enumerate();
    let expected = Expected {
        room: &room,
        members: members
            .map(|(i, (user, name))| (user, name, i % 2 == 0))
            .collect(),
        messages,
    };
    expected.is_shown_by_all(&cluster).await;
}
