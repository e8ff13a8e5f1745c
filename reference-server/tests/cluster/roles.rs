//! Roles that are given on one node, in the member lists of others.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::{
    api::{call, id_of},
    nodes::{Cluster, Node},
    site::{Proxy, Site},
    viewer::{User, Viewer},
};

/// Waits until the member list of a viewer has these rows.
async fn shows(viewer: &mut Viewer, expected: &[&str]) {
    let mut rows = Vec::new();
    for _ in 0..300 {
        rows = viewer.all_rows().await;
        if rows == expected {
            return;
        }
        // Windows may be asked for ten times a second.
        sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(rows, expected);
}

/// Starts three nodes, of which the last reaches the others by a proxy.
async fn start() -> (Site, Cluster, Proxy) {
    let (site, webhook) = Site::start().await;
    let mut cluster = Cluster::start(&webhook).await;
    let proxy = Proxy::start(&cluster.nats.url).await;
    cluster.nodes[2] = Node::start(&cluster.database, &proxy.url, &webhook).await;
    (site, cluster, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_given_on_one_node_moves_its_member_on_another() {
    let (_site, cluster, proxy) = start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    let ada = User::register(&first.address, "ada").await;
    let bob = User::register(&first.address, "bob").await;
    let guild = call(&ada, first, "POST", "/servers", json!({ "name": "Guild" })).await;
    let at = |rest: &str| format!("/servers/{}/{rest}", id_of(&guild));
    let hall = json!({ "name": "hall" });
    let hall = call(&ada, first, "POST", &at("rooms"), hall).await;
    let join = format!("/rooms/{}/join", id_of(&hall));
    call(&bob, second, "POST", &join, json!({})).await;
    let mut at_second = Viewer::enter(&second.address, &bob, id_of(&hall)).await;
    let mut at_third = Viewer::enter(&third.address, &ada, id_of(&hall)).await;
    for viewer in [&mut at_second, &mut at_third] {
        shows(
            viewer,
            &["staff (1)", "ada online", "online (1)", "bob online"],
        )
        .await;
    }

    let crew = json!({ "name": "Crew", "hoisted": true });
    let crew = call(&ada, first, "POST", &at("roles"), crew).await;
    let holding = at(&format!("members/{}/roles/{}", bob.id, id_of(&crew)));
    call(&ada, first, "PUT", &holding, json!({})).await;
    for viewer in [&mut at_second, &mut at_third] {
        shows(
            viewer,
            &["Crew (1)", "bob online", "online (1)", "ada online"],
        )
        .await;
    }

    // A node that is cut off reads what it missed.
    proxy.cut();
    call(&ada, first, "DELETE", &holding, json!({})).await;
    let renamed = at(&format!("roles/{}", id_of(&crew)));
    call(&ada, first, "PATCH", &renamed, json!({ "name": "Mates" })).await;
    let holding = holding.replace(&bob.id, &ada.id);
    call(&ada, first, "PUT", &holding, json!({})).await;
    proxy.heal();
    for viewer in [&mut at_second, &mut at_third] {
        shows(
            viewer,
            &["Mates (1)", "ada online", "online (1)", "bob online"],
        )
        .await;
    }
}

/// One who has the role is in the list wherever it is connected, whether it was ever in the room or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_limited_room_lists_whom_it_admits_with_their_statuses_on_other_nodes() {
    let (_site, cluster, proxy) = start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    let ada = User::register(&first.address, "ada").await;
    let bob = User::register(&first.address, "bob").await;
    let guild = call(&ada, first, "POST", "/servers", json!({ "name": "Guild" })).await;
    let at = |rest: &str| format!("/servers/{}/{rest}", id_of(&guild));
    let crew = json!({ "name": "Crew" });
    let crew = call(&ada, first, "POST", &at("roles"), crew).await;
    let mut rooms = Vec::new();
    for name in ["hall", "yard"] {
        rooms.push(call(&ada, first, "POST", &at("rooms"), json!({ "name": name })).await);
    }
    let limit = format!("/rooms/{}/roles", id_of(&rooms[0]));
    let only_crew = json!({ "role_ids": [crew["id"]] });
    call(&ada, first, "PUT", &limit, only_crew.clone()).await;
    let mut at_third = Viewer::enter(&third.address, &ada, id_of(&rooms[0])).await;
    let alone = ["staff (1)", "ada online"];
    shows(&mut at_third, &alone).await;
    let holding = at(&format!("members/{}/roles/{}", bob.id, id_of(&crew)));
    call(&ada, first, "PUT", &holding, json!({})).await;
    shows(
        &mut at_third,
        &[&alone[..], &["offline (1)", "bob offline"]].concat(),
    )
    .await;

    let join = format!("/rooms/{}/join", id_of(&rooms[1]));
    call(&bob, second, "POST", &join, json!({})).await;
    let _at_second = Viewer::enter(&second.address, &bob, id_of(&rooms[1])).await;
    let with_bob = [&alone[..], &["online (1)", "bob online"]].concat();
    shows(&mut at_third, &with_bob).await;
    let hidden = json!({ "status": "invisible" });
    call(&bob, second, "PUT", "/auth/status", hidden).await;
    shows(
        &mut at_third,
        &[&alone[..], &["offline (1)", "bob offline"]].concat(),
    )
    .await;
    call(
        &bob,
        second,
        "PUT",
        "/auth/status",
        json!({ "status": "online" }),
    )
    .await;
    shows(&mut at_third, &with_bob).await;

    // A node that is cut off reads which roles and limits it missed.
    proxy.cut();
    call(&ada, first, "DELETE", &holding, json!({})).await;
    proxy.heal();
    shows(&mut at_third, &alone).await;
    proxy.cut();
    call(&ada, first, "PUT", &limit, json!({ "role_ids": [] })).await;
    call(&ada, first, "PUT", &holding, json!({})).await;
    proxy.heal();
    shows(&mut at_third, &alone).await;
    call(&ada, first, "PUT", &limit, only_crew).await;
    shows(&mut at_third, &with_bob).await;
}
