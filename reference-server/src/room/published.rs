//! `PublishedPresence`: full presence as Phoenix clients follow it, one state at the join, then diffs. The room's lock
//! guards it.
//!
//! It has the presence of a room as last published. A diff is the difference between it and the presence at that
//! moment, for the users that changed. Changes that cancel out between two diffs are not sent, unless a state contained
//! one; the diffs after a state always fit it.

use std::collections::{BTreeMap, BTreeSet};

use headcount::id::Dot;

use super::presence::{RoomPresence, Session};

/// The users of a room as its subscribers have been sent them.
#[derive(Debug, Default)]
pub(super) struct PublishedPresence {
    users: BTreeMap<String, Vec<Meta>>,
    /// Users that may differ from their published presence.
    dirty: BTreeSet<String>,
    /// Metas that a state or diff contained and that have left.
    gone: BTreeMap<String, Vec<Meta>>,
}

#[derive(Debug)]
struct Meta {
    dot: Dot,
    phx_ref: String,
    json: String,
    /// True if a diff has announced it. A state may contain it before.
    announced: bool,
}

impl PublishedPresence {
    /// Publishes every user in `topic`, as if announced.
    pub(super) fn of(presence: &RoomPresence, topic: &str) -> Self {
        let mut published = Self::default();
        for key in presence.keys(topic) {
            published.refresh(presence, topic, &key);
        }
        for meta in published.users.values_mut().flatten() {
            meta.announced = true;
        }
        published
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.users.contains_key(key)
    }

    /// Notes that a user may have changed.
    pub(super) fn mark(&mut self, key: &str) {
        if !self.dirty.contains(key) {
            self.dirty.insert(key.to_owned());
        }
    }

    /// Brings one user up to date at once, so that the next state contains it.
    pub(super) fn refresh(&mut self, presence: &RoomPresence, topic: &str, key: &str) {
        let mut old = self.users.remove(key).unwrap_or_default();
        // A user hidden since the last diff and back has not left, but new subscribers did not see it.
        let mut gone = self.gone.remove(key).unwrap_or_default();
        gone.iter_mut().for_each(|meta| meta.announced = false);
        old.append(&mut gone);
        let mut new = Vec::new();
        for session in presence.sessions(topic, key) {
            let known = old.iter().position(|m| m.phx_ref == session.phx_ref);
            new.push(known.map_or_else(|| Meta::new(session), |index| old.swap_remove(index)));
        }
        if !old.is_empty() {
            self.gone.insert(key.to_owned(), old);
        }
        if !new.is_empty() {
            self.users.insert(key.to_owned(), new);
        }
        self.mark(key);
    }

    /// Returns the payload of the next `presence_diff`, or `None` if nothing changed.
    pub(super) fn diff(&mut self, presence: &RoomPresence, topic: &str) -> Option<String> {
        let dirty: Vec<_> = self.dirty.iter().cloned().collect();
        for key in &dirty {
            self.refresh(presence, topic, key);
        }
        self.dirty.clear();
        let mut joins: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for key in &dirty {
            for meta in self.users.get_mut(key).into_iter().flatten() {
                if !std::mem::replace(&mut meta.announced, true) {
                    joins.entry(key).or_default().push(meta.json.clone());
                }
            }
        }
        let gone = std::mem::take(&mut self.gone);
        if joins.is_empty() && gone.is_empty() {
            return None;
        }
        let joins = users(
            joins
                .iter()
                .map(|(k, v)| (*k, v.iter().map(String::as_str))),
        );
        Some(format!(r#"{{"joins":{joins},"leaves":{}}}"#, metas(&gone)))
    }

    /// Returns the payload of the next `presence_diff` while only counts are sent: published users that
    /// left. They are forgotten, and new users are not added.
    pub(super) fn leaves(&mut self, presence: &RoomPresence, topic: &str) -> Option<String> {
        let dirty = std::mem::take(&mut self.dirty);
        for key in dirty
            .iter()
            .filter(|key| self.users.contains_key(*key))
            .collect::<Vec<_>>()
        {
            let current = presence.sessions(topic, key);
            let metas = self
                .users
                .get_mut(key)
                .map(std::mem::take)
                .unwrap_or_default();
            let (stay, gone): (Vec<_>, Vec<_>) = metas
                .into_iter()
                .partition(|m| current.iter().any(|s| s.dot == m.dot));
            if stay.is_empty() {
                self.users.remove(key);
            } else {
                self.users.insert(key.clone(), stay);
            }
            if !gone.is_empty() {
                self.gone.entry(key.clone()).or_default().extend(gone);
            }
        }
        let gone = std::mem::take(&mut self.gone);
        (!gone.is_empty()).then(|| format!(r#"{{"joins":{{}},"leaves":{}}}"#, metas(&gone)))
    }

    /// Returns the payload of a `presence_state`.
    pub(super) fn state(&self) -> String {
        metas(&self.users)
    }
}

impl Meta {
    fn new(session: Session) -> Self {
        Self {
            json: render(&session),
            announced: false,
            dot: session.dot,
            phx_ref: session.phx_ref,
        }
    }
}

fn metas(of: &BTreeMap<String, Vec<Meta>>) -> String {
    users(
        of.iter()
            .map(|(key, metas)| (key.as_str(), metas.iter().map(|meta| meta.json.as_str()))),
    )
}

/// Encodes users as `{"<key>":{"metas":[…]},…}`.
fn users<'a, M: Iterator<Item = &'a str>>(users: impl Iterator<Item = (&'a str, M)>) -> String {
    let mut out = String::from("{");
    for (key, metas) in users {
        if out.len() > 1 {
            out.push(',');
        }
        push_quoted(&mut out, key);
        out.push_str(r#":{"metas":["#);
        for (i, meta) in metas.enumerate() {
            if i > 0 {
                out.push(',');
            }
            out.push_str(meta);
        }
        out.push_str("]}");
    }
    out.push('}');
    out
}

/// Appends a string as JSON: ids as they are, which need no escape.
fn push_quoted(out: &mut String, text: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.bytes().all(is_plain) {
        out.extend(["\"", text, "\""]);
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Encodes a meta: the profile after references and status. Equal sessions give equal text.
fn render(session: &Session) -> String {
    let mut out = format!(r#"{{"phx_ref":"{}""#, session.phx_ref);
    if let Some(prev) = &session.phx_ref_prev {
        out.push_str(&format!(r#","phx_ref_prev":"{prev}""#));
    }
    out.push_str(&format!(r#","status":"{}""#, session.status));
    let rest = session.profile.trim_start_matches('{').trim_start();
    if !rest.starts_with('}') {
        out.push(',');
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use headcount::Status;
    use serde_json::{Value, json};

    use super::*;
    use crate::room::presence::NewSession;

    const TOPIC: &str = "room:1";

    /// Shows a session of that status.
    fn put(presence: &RoomPresence, key: &str, owner: &str, status: Status) {
        let shown = presence.put(&NewSession {
            topic: TOPIC,
            key,
            owner,
            profile: br#"{"username":"x"}"#,
            status,
        });
        shown.expect("a good session");
    }

    /// Marks what changed, and returns the next diff as JSON.
    fn step(published: &mut PublishedPresence, presence: &RoomPresence) -> Option<Value> {
        for topic in presence.take_diff().iter() {
            let entries = topic
                .joins
                .iter()
                .chain(topic.leaves.iter().map(|leave| &leave.entry));
            for changed in entries.chain(topic.updates.iter().map(|u| &u.new)) {
                published.mark(changed.key_str().unwrap());
            }
        }
        published
            .diff(presence, TOPIC)
            .map(|text| serde_json::from_str(&text).unwrap())
    }

    fn count(diff: &Value, side: &str, key: &str) -> usize {
        diff[side][key]["metas"].as_array().map_or(0, Vec::len)
    }

    #[test]
    fn joins_updates_and_leaves() {
        let presence = RoomPresence::new();
        let mut published = PublishedPresence::default();
        put(&presence, "ada", "1", Status::Online);
        let joined = step(&mut published, &presence).unwrap();
        assert_eq!(
            (
                count(&joined, "joins", "ada"),
                count(&joined, "leaves", "ada")
            ),
            (1, 0)
        );
        put(&presence, "ada", "1", Status::Idle);
        let updated = step(&mut published, &presence).unwrap();
        let old = &joined["joins"]["ada"];
        let new = &updated["joins"]["ada"]["metas"][0];
        assert_eq!(&updated["leaves"]["ada"], old);
        assert_eq!(new["phx_ref_prev"], old["metas"][0]["phx_ref"]);
        assert_eq!(
            (&new["status"], &new["username"]),
            (&json!("idle"), &json!("x"))
        );
        presence.untrack(TOPIC, "ada", "1");
        let left = step(&mut published, &presence).unwrap();
        assert_eq!(
            (count(&left, "joins", "ada"), count(&left, "leaves", "ada")),
            (0, 1)
        );
        assert_eq!(published.state(), "{}");
    }

    #[test]
    fn changes_that_cancel_out_are_not_sent_unless_a_state_contained_one() {
        let presence = RoomPresence::new();
        let mut published = PublishedPresence::default();
        put(&presence, "ada", "1", Status::Online);
        presence.untrack(TOPIC, "ada", "1");
        assert_eq!(step(&mut published, &presence), None);
        put(&presence, "ada", "2", Status::Online);
        published.refresh(&presence, TOPIC, "ada");
        assert!(published.state().contains("ada"));
        presence.untrack(TOPIC, "ada", "2");
        let diff = step(&mut published, &presence).unwrap();
        assert_eq!(
            (count(&diff, "joins", "ada"), count(&diff, "leaves", "ada")),
            (0, 1)
        );
    }

    #[test]
    fn one_invisible_session_hides_the_user() {
        let presence = RoomPresence::new();
        let mut published = PublishedPresence::default();
        put(&presence, "ada", "1", Status::Online);
        step(&mut published, &presence).unwrap();
        put(&presence, "ada", "2", Status::Invisible);
        let hidden = step(&mut published, &presence).unwrap();
        assert_eq!(
            (
                count(&hidden, "joins", "ada"),
                count(&hidden, "leaves", "ada")
            ),
            (0, 1)
        );
        presence.untrack(TOPIC, "ada", "2");
        let shown = step(&mut published, &presence).unwrap();
        assert_eq!(
            (
                count(&shown, "joins", "ada"),
                count(&shown, "leaves", "ada")
            ),
            (1, 0)
        );
    }

    /// The diff had the same reference in joins and in leaves: clients showed no users.
    #[test]
    fn a_user_hidden_for_less_than_a_diff_has_not_left() {
        let presence = RoomPresence::new();
        let mut published = PublishedPresence::default();
        put(&presence, "ada", "1", Status::Online);
        put(&presence, "ada", "1", Status::Idle);
        let joined = step(&mut published, &presence).unwrap();
        put(&presence, "ada", "2", Status::Invisible);
        published.refresh(&presence, TOPIC, "ada");
        assert_eq!(published.state(), "{}", "a newcomer does not see her");
        presence.untrack(TOPIC, "ada", "2");
        let shown = step(&mut published, &presence).unwrap();
        assert_eq!(shown, json!({ "joins": joined["joins"], "leaves": {} }));
        let state: Value = serde_json::from_str(&published.state()).unwrap();
        assert_eq!(state, joined["joins"]);
    }

    #[test]
    fn in_counts_mode_only_known_users_leave() {
        let presence = RoomPresence::new();
        let mut published = PublishedPresence::default();
        put(&presence, "ada", "1", Status::Online);
        step(&mut published, &presence).unwrap();
        put(&presence, "bob", "2", Status::Online);
        for key in ["ada", "bob"] {
            published.mark(key);
        }
        assert_eq!(published.leaves(&presence, TOPIC), None);
        presence.untrack(TOPIC, "ada", "1");
        presence.untrack(TOPIC, "bob", "2");
        for key in ["ada", "bob"] {
            published.mark(key);
        }
        let diff: Value =
            serde_json::from_str(&published.leaves(&presence, TOPIC).unwrap()).unwrap();
        assert_eq!(
            (count(&diff, "leaves", "ada"), count(&diff, "leaves", "bob")),
            (1, 0)
        );
    }
}
