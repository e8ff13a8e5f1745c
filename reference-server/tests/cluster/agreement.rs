//! The agreement of all nodes of a cluster in the end, compared node by node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    nodes::Cluster,
    until,
    viewer::{User, Viewer},
};

/// Sessions by user, and the rows of the member list.
type Shown = (BTreeMap<String, BTreeSet<String>>, Vec<String>);

/// The truth about a room, as a test knows it.
pub(crate) struct Expected<'a> {
    pub(crate) room: &'a str,
    /// The members and their names, in the order of the names, with whether each is online, in one session.
    pub(crate) members: Vec<(&'a User, String, bool)>,
    /// The messages by number.
    pub(crate) messages: Vec<(i64, String)>,
}

impl Expected<'_> {
    /// Waits until all nodes show this room alike and as expected, with a viewer that enters at each.
    pub(crate) async fn is_shown_by_all(&self, cluster: &Cluster) {
        let mut shown = Vec::new();
        let address = &cluster.nodes[0].address;
        let watcher = User::register(address, "zz-watcher").await;
        let join = format!("/rooms/{}/join", self.room);
        let joined = watcher.call(address, "POST", &join, json!({})).await;
        assert_eq!(joined.0, 200, "{}", joined.1);
        let mut viewers = Vec::new();
        for node in &cluster.nodes {
            viewers.push(Viewer::enter(&node.address, &watcher, self.room).await);
        }
        for viewer in &mut viewers {
            shown.push(self.shown(viewer, cluster.nodes.len()).await);
        }
        for node in &cluster.nodes {
            assert_eq!(self.stored(&node.address, &watcher).await, self.messages);
        }
        let (first, others) = shown.split_first().unwrap();
        assert!(others.iter().all(|other| other == first), "{shown:?}");
    }

    /// Waits until a viewer shows who is there, and nobody else. Returns it.
    async fn shown(&self, viewer: &mut Viewer, watchers: usize) -> Shown {
        let mut sessions: BTreeMap<String, usize> = BTreeMap::new();
        let online = self.members.iter().filter(|(_, _, is_online)| *is_online);
        sessions.extend(online.map(|(user, _, _)| (user.id.clone(), 1)));
        sessions.insert(viewer.user.id.clone(), watchers);
        until("exactly the sessions that there are", || async {
            let view = viewer.view.lock();
            let counted = view
                .presence
                .iter()
                .map(|(id, refs)| (id.clone(), refs.len()));
            (counted.collect::<BTreeMap<_, _>>() == sessions).then_some(())
        })
        .await;
        let rows = self.rows();
        viewer.shows_rows(&rows).await;
        (viewer.view.lock().presence.clone(), rows)
    }

    /// Returns the rows of the member list, in its order.
    fn rows(&self) -> Vec<String> {
        let of = |wanted: bool, status: &str| {
            let members = self
                .members
                .iter()
                .filter(|(_, _, is_online)| *is_online == wanted);
            let rows = members.map(|(_, name, _)| format!("{name} {status}"));
            rows.collect::<Vec<_>>()
        };
        let mut rows = of(true, "online");
        rows.push("zz-watcher online".into());
        rows.extend(of(false, "offline"));
        rows
    }

    /// Returns all messages, as a node reads them page by page.
    async fn stored(&self, address: &str, user: &User) -> Vec<(i64, String)> {
        let mut messages: Vec<(i64, String)> = Vec::new();
        loop {
            let after = messages.last().map_or(0, |(seq, _)| *seq);
            let path = format!("/rooms/{}/messages?limit=100&after_seq={after}", self.room);
            let (status, page) = user.call(address, "GET", &path, Value::Null).await;
            assert_eq!(status, 200, "{page}");
            let page = page["data"].as_array().unwrap();
            if page.is_empty() {
                return messages;
            }
            messages.extend(page.iter().map(|message| {
                let content = message["content"].as_str().unwrap().to_owned();
                (message["seq"].as_i64().unwrap(), content)
            }));
        }
    }
}
