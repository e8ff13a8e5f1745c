//! Presence in rooms: states, diffs, counts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::client::{Server, Socket};

/// A client's view: the metas that the Phoenix client derives from states and diffs, by key and reference.
#[derive(Debug, Default, PartialEq, Eq)]
struct View(BTreeMap<String, Vec<String>>);

impl View {
    fn refs(user: &Value) -> Vec<String> {
        let metas = user["metas"].as_array().unwrap();
        metas
            .iter()
            .map(|m| m["phx_ref"].as_str().unwrap().to_owned())
            .collect()
    }

    fn apply(&mut self, frame: &Value) {
        match frame[3].as_str().unwrap() {
            "presence_state" => {
                let users = frame[4].as_object().unwrap();
                self.0 = users
                    .iter()
                    .map(|(k, v)| (k.clone(), Self::refs(v)))
                    .collect();
            }
            "presence_diff" => {
                for (key, user) in frame[4]["joins"].as_object().unwrap() {
                    let refs = self.0.entry(key.clone()).or_default();
                    refs.extend(Self::refs(user));
                    refs.sort();
                    refs.dedup();
                }
                for (key, user) in frame[4]["leaves"].as_object().unwrap() {
                    let gone = Self::refs(user);
                    if let Some(refs) = self.0.get_mut(key) {
                        refs.retain(|r| !gone.contains(r));
                    }
                    self.0.retain(|_, refs| !refs.is_empty());
                }
            }
            _ => {}
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

async fn lobby(server: &Server) -> String {
    server.room(&server.guest().await, "lobby").await
}

impl View {
    /// Applies states and diffs until the view is as expected.
    async fn until(&mut self, socket: &mut Socket, right: impl Fn(&Self) -> bool) {
        while !right(self) {
            self.apply(&socket.next().await);
        }
    }
}

#[tokio::test]
async fn two_clients_see_each_other_join_and_leave() {
    let server = Server::start().await;
    let room = lobby(&server).await;
    let (a_user, mut a) = server.enter(&room).await;
    let mut a_view = View::default();
    a_view
        .until(&mut a, |view| view.keys() == [&a_user.id])
        .await;

    let (b_user, mut b) = server.enter(&room).await;
    let mut b_view = View::default();
    let mut both = [a_user.id.as_str(), b_user.id.as_str()];
    both.sort_unstable();
    b_view.until(&mut b, |view| view.keys() == both).await;
    a_view.until(&mut a, |view| view.keys() == both).await;
    assert_eq!(a_view, b_view);

    b.drop_abruptly();
    a_view
        .until(&mut a, |view| view.keys() == [&a_user.id])
        .await;
}

#[tokio::test]
async fn a_user_with_two_sockets_is_one_key_with_two_metas() {
    let server = Server::start().await;
    let room = lobby(&server).await;
    let topic = format!("room:{room}");
    let (user, mut first) = server.enter(&room).await;
    let mut second = server.connect(&user).await;
    second.join(&topic, "1").await;
    let mut view = View::default();
    let metas = |n: usize| {
        let id = user.id.clone();
        move |view: &View| view.keys() == [&id] && view.0[&id].len() == n
    };
    view.until(&mut first, metas(2)).await;
    second.drop_abruptly();
    view.until(&mut first, metas(1)).await;
}

#[tokio::test]
async fn a_status_change_is_one_diff_with_join_and_leave() {
    let server = Server::start().await;
    let room = lobby(&server).await;
    let topic = format!("room:{room}");
    let (user, mut socket) = server.enter(&room).await;
    let state = socket.expect("presence_state").await;
    let old = &state[4][&user.id]["metas"][0];
    assert_eq!(
        (&old["status"], &old["username"]),
        (&json!("online"), &json!(user.username))
    );
    socket.expect("presence_diff").await;
    // The time at which the user came must not follow the status.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let reply = socket
        .push(&topic, "2", "set_status", json!({ "status": "dnd" }))
        .await;
    assert_eq!(reply["status"], "ok");
    let diff = socket.expect("presence_diff").await;
    let new = &diff[4]["joins"][&user.id]["metas"][0];
    assert_eq!(
        (&new["status"], &new["phx_ref_prev"]),
        (&json!("dnd"), &old["phx_ref"])
    );
    assert_eq!(&diff[4]["leaves"][&user.id]["metas"][0], old);
    assert_eq!(new["online_at"], old["online_at"]);
    let reply = socket
        .push(&topic, "3", "set_status", json!({ "status": "dancing" }))
        .await;
    assert_eq!(reply["response"]["reason"], "invalid status");
}

#[tokio::test]
async fn invisible_users_are_shown_nowhere() {
    let server = Server::start().await;
    let room = lobby(&server).await;
    let topic = format!("room:{room}");
    let (_, mut watcher) = server.enter(&room).await;
    let mut view = View::default();
    view.until(&mut watcher, |view| view.keys().len() == 1)
        .await;
    let ghost = server.guest().await;
    let mut socket = server.connect(&ghost).await;
    socket
        .send(json!(["1", "1", topic, "phx_join", { "status": "invisible" }]))
        .await;
    let state = socket.expect("presence_state").await;
    assert_eq!(state[4].get(&ghost.id), None);
    socket.send(json!(["1", "2", topic, "typing", {}])).await;
    let frames = watcher.drain().await;
    assert!(
        frames.iter().all(|f| !f.to_string().contains(&ghost.id)),
        "{frames:?}"
    );
    let late = server.enter(&room).await.1.expect("presence_state").await;
    assert_eq!(late[4].get(&ghost.id), None);
}

#[tokio::test]
async fn a_crowd_is_counted_and_no_longer_listed() {
    let server = Server::start_with(|config| config.presence_full_max = 3).await;
    let room = lobby(&server).await;
    let (_, mut first) = server.enter(&room).await;
    let mut view = View::default();
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(server.enter(&room).await);
    }
    view.until(&mut first, |view| view.keys().len() == 3).await;
    others.push(server.enter(&room).await);
    assert_eq!(first.expect("presence_mode").await[4]["mode"], "counts");
    assert_eq!(
        first.expect("presence_count").await[4],
        json!({ "online": 4, "total": 4 })
    );

    let user = server.guest().await;
    let mut late = server.connect(&user).await;
    let reply = late.join(&format!("room:{room}"), "1").await;
    assert_eq!(reply["presence"], "counts");
    let frames = late.drain().await;
    assert!(
        frames
            .iter()
            .all(|f| f[3] != "presence_state" && f[3] != "presence_diff")
    );

    // A user that the first client knows by name leaves: it is sent that leave only.
    let (gone, socket) = others.swap_remove(0);
    assert!(view.keys().contains(&gone.id.as_str()));
    socket.drop_abruptly();
    let diff = first.expect("presence_diff").await;
    assert_eq!(diff[4]["joins"], json!({}));
    view.apply(&diff);
    assert!(!view.keys().contains(&gone.id.as_str()));
}

#[tokio::test]
async fn one_user_in_very_many_sockets_is_a_crowd_too() {
    let server = Server::start_with(|config| config.presence_full_max = 2).await;
    let room = lobby(&server).await;
    let (user, mut first) = server.enter(&room).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut socket = server.connect(&user).await;
        socket.join(&format!("room:{room}"), "1").await;
        others.push(socket);
    }
    assert_eq!(first.expect("presence_mode").await[4]["mode"], "counts");
    assert_eq!(first.expect("presence_count").await[4]["online"], 1);
}
