//! NATS servers that let nobody in without credentials, or are spoken to by TLS only; clusters with a key.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    nodes::{Nats, Node},
    postgres::{Postgres, SECRET, free_port},
    until,
    viewer::{User, Viewer},
};

/// The keys of core's tests.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/nats");
const REFUSED: &str = "authorization violation";

/// Makes a root certificate `ca.pem`, and a certificate `server.pem` of this machine that it signed.
fn make_certificates(dir: &Path) {
    let make = |name: &str, more: &[&str]| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=tests"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args([
                "-keyout",
                &format!("{name}.key"),
                "-out",
                &format!("{name}.pem"),
            ])
            .args(more)
            .current_dir(dir)
            .output()
            .expect("openssl is installed: .ci/setup does it");
        assert!(made.status.success(), "{made:?}");
    };
    make("ca", &[]);
    let signed = ["-CA", "ca.pem", "-CAkey", "ca.key"];
    let leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
    let name = ["-addext", "subjectAltName=IP:127.0.0.1"];
    make("server", &[signed.as_slice(), &leaf, &name].concat());
}

async fn is_ready(node: &Node) {
    until("the node is ready", || async {
        (node.probe("readyz").await?.0 == 200).then_some(())
    })
    .await;
}

/// Checks that what is posted at one node is shown at the other.
async fn chat(one: &Node, other: &Node) {
    let mut viewers = Vec::new();
    for (name, node) in [("zoë", one), ("李雷", other)] {
        let user = User::register(&one.address, name).await;
        let (_, rooms) = user.call(&one.address, "GET", "/rooms", Value::Null).await;
        let room = rooms["data"][0]["id"].as_str().unwrap();
        let join = format!("/rooms/{room}/join");
        assert_eq!(
            user.call(&one.address, "POST", &join, json!({})).await.0,
            200
        );
        viewers.push(Viewer::enter(&node.address, &user, room).await);
    }
    let users: Vec<&User> = viewers.iter().map(|viewer| &viewer.user).collect();
    for viewer in &viewers {
        viewer.sees(&users).await;
    }
    let text = "grüße, once";
    let message = viewers[0].post(text).await;
    viewers[1]
        .shows(message["seq"].as_i64().unwrap(), text)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_credentials_chat_by_tls_and_those_without_say_why_not() {
    let dir = tempfile::tempdir().unwrap();
    make_certificates(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let ca = file("ca.pem");
    let certificate = file("server.pem");
    let key = file("server.key");
    let port = free_port();
    let server = format!("{DATA}/server.conf");
    let tls = ["--tls", "--tlscert", &certificate, "--tlskey", &key];
    let nats = Nats::start_with(port, &[["-c", &server].as_slice(), &tls].concat()).await;
    let postgres = Postgres::start().await;
    let database = postgres.create().await;

    let credentials = format!("{DATA}/user.creds");
    let credentials = ["--nats-credentials", &credentials];
    let root = ["--nats-tls-ca", &ca];
    let launch = |more: &[&str]| Node::launch_with(&database, &nats.url, more);
    let full = [credentials, root].concat();
    let nodes = [launch(&full), launch(&full)];
    for node in &nodes {
        is_ready(node).await;
    }
    chat(&nodes[0], &nodes[1]).await;

    let nameless = launch(&root);
    nameless.says(REFUSED).await;
    let trusts_another = launch(&[credentials, ["--nats-tls-ca", &certificate]].concat());
    trusts_another.says("waiting for NATS").await;
    trusts_another.says("certificate").await;
    for node in [&nameless, &trusts_another] {
        assert_eq!(node.probe("readyz").await.unwrap().0, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_a_password_chat_and_one_with_another_says_that_it_is_refused() {
    let port = free_port();
    let users = format!("{DATA}/users.conf");
    let _nats = Nats::start_with(port, &["-c", &users]).await;
    let postgres = Postgres::start().await;
    let database = postgres.create().await;
    let launch = |password: &str| {
        let nats = format!("nats://ann:{password}@127.0.0.1:{port}");
        Node::launch_with(&database, &nats, &[])
    };
    let nodes = [launch("secret"), launch("secret")];
    for node in &nodes {
        is_ready(node).await;
    }
    chat(&nodes[0], &nodes[1]).await;

    let refused = launch("wr0ng");
    refused.says(REFUSED).await;
    assert_eq!(refused.probe("readyz").await.unwrap().0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_the_key_of_the_cluster_chat_and_hear_no_others() {
    let nats = Nats::start().await;
    let postgres = Postgres::start().await;
    let database = postgres.create().await;
    let launch = |key: &[&str]| Node::launch_with(&database, &nats.url, key);
    let other = "k".repeat(32);
    let nodes = [
        launch(&["--cluster-key", SECRET]),
        launch(&["--cluster-key", SECRET]),
    ];
    let strangers = [launch(&[]), launch(&["--cluster-key", &other])];
    for node in nodes.iter().chain(&strangers) {
        is_ready(node).await;
    }
    chat(&nodes[0], &nodes[1]).await;

    let with_key = nodes.iter().map(|node| (node, 1.0));
    let others = strangers.iter().map(|node| (node, 0.0));
    for (node, up) in with_key.chain(others) {
        node.says("frames cannot be read").await;
        node.says("a node has another --cluster-key").await;
        let others = node.metric("headcount_cluster_nodes{state=\"up\"}").await;
        assert_eq!(others, up, "{}", node.address);
        let refused = node.metric("headcount_cluster_events_total{outcome=\"refused\"}");
        assert!(refused.await > 0.0);
    }
    for reason in ["bad_checksum", "mac_mismatch"] {
        let refused = format!("headcount_cluster_frames_refused_total{{reason=\"{reason}\"}}");
        assert!(nodes[0].metric(&refused).await > 0.0, "{reason}");
    }
}
