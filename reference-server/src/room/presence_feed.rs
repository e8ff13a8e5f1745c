//! `PresenceFeed`: the presence that the subscribers of a room are sent: states and diffs while the room is
//! small, counts above that. The room's lock guards it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use headcount::TopicDiff;
use serde_json::json;

use super::{
    RoomPresence,
    members::RoomMembers,
    published::PublishedPresence,
    subscribers::{Subscriber, Subscribers},
};
use crate::{metrics::Dropped, socket::Broadcast};

/// Counts are sent at most this often.
pub(super) const COUNT_PERIOD: Duration = Duration::from_secs(1);
/// Sessions per member that full presence allows for.
const SESSIONS_PER_MEMBER: usize = 4;
/// A room goes back to full presence after being this long below four fifths of the bound.
pub(super) const CALM: Duration = Duration::from_secs(10);

/// A way to send a room's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As states and diffs that name the users.
    Full,
    /// As numbers.
    Counts,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Counts => "counts",
        }
    }
}

/// The presence of a room as its subscribers were sent it, and the mode of the next change.
pub(super) struct PresenceFeed {
    topic: Arc<str>,
    /// Members online up to which presence is sent in full.
    full_max: usize,
    published: PublishedPresence,
    mode: Mode,
    /// Since when the room has been small enough for full presence again.
    calm_since: Option<Instant>,
    /// When counts were last sent.
    counts_sent: Instant,
}

impl PresenceFeed {
    pub(super) fn new(topic: Arc<str>, full_max: usize, now: Instant) -> Self {
        Self {
            topic,
            full_max,
            published: PublishedPresence::default(),
            mode: Mode::Full,
            calm_since: None,
            counts_sent: now,
        }
    }

    /// Returns the mode as the join reply names it.
    pub(super) fn mode(&self) -> &'static str {
        self.mode.as_str()
    }

    /// Brings one user up to date at once, so that the next state contains it.
    pub(super) fn refresh(&mut self, presence: &RoomPresence, key: &str) {
        if self.mode == Mode::Full {
            self.published.refresh(presence, &self.topic, key);
        }
    }

    /// Sends a new subscriber the counts of the room, if counts are sent.
    pub(super) fn send_counts_to(&self, subscriber: &mut Subscriber, members: &RoomMembers) {
        if self.mode == Mode::Counts {
            let counts = members.occupancy();
            subscriber.push(&self.topic, "presence_count", &counts.payload());
            subscriber.sent_counts = Some(counts);
        }
    }

    /// Sends a new subscriber its one state, if presence is sent in full.
    pub(super) fn send_state_to(&self, subscriber: &mut Subscriber) {
        if self.mode == Mode::Full {
            let state = self.published.state();
            subscriber.push(&self.topic, "presence_state", &state);
            subscriber.has_state = true;
        }
    }

    /// Sends what happened to presence in this room, after `members` has taken it in.
    pub(super) fn send_diff(
        &mut self,
        presence: &RoomPresence,
        members: &RoomMembers,
        subscribers: &mut Subscribers,
        diffs: &[&TopicDiff],
    ) {
        let is_full = self.mode == Mode::Full;
        let is_crowded = self.is_crowded(presence, members);
        if is_full && subscribers.is_empty() && is_crowded {
            // No subscriber has been sent any names: there is no diff to make.
            self.set_mode(subscribers, Mode::Counts);
            return;
        }
        let changed = diffs.iter().flat_map(|diff| {
            let entries = diff
                .joins
                .iter()
                .chain(diff.leaves.iter().map(|leave| &leave.entry));
            entries.chain(diff.updates.iter().map(|u| &u.new))
        });
        for entry in changed {
            if let Some(key) = entry.key_str()
                && (is_full || self.published.contains(key))
            {
                self.published.mark(key);
            }
        }
        let payload = match self.mode {
            Mode::Full => self.published.diff(presence, &self.topic),
            Mode::Counts => self.published.leaves(presence, &self.topic),
        };
        if let Some(payload) = payload {
            let diff = Broadcast::new(&self.topic, "presence_diff", payload);
            for subscriber in subscribers.iter_mut().filter(|s| s.has_state) {
                if subscriber.leaves_out(Dropped::Presence) {
                    // It gets a new state when it has caught up.
                    subscriber.has_state = false;
                    subscriber.is_behind = true;
                } else {
                    subscriber.push_broadcast(&diff);
                }
            }
        }
        if is_full && is_crowded {
            self.set_mode(subscribers, Mode::Counts);
        }
    }

    /// Sends counts, and the states that were left out before. Runs every quarter of a second.
    pub(super) fn tick(
        &mut self,
        presence: &RoomPresence,
        members: &RoomMembers,
        subscribers: &mut Subscribers,
        now: Instant,
    ) {
        if self.mode == Mode::Counts {
            let is_due = now.saturating_duration_since(self.counts_sent) >= COUNT_PERIOD;
            if is_due && self.send_counts(members, subscribers) {
                self.counts_sent = now;
            }
            self.leave_counts_when_calm(presence, members, subscribers, now);
        }
        self.send_missing_states(subscribers);
    }

    /// Returns whether there are too many to name: members, or sessions if some have very many.
    fn is_crowded(&self, presence: &RoomPresence, members: &RoomMembers) -> bool {
        members.occupancy().online > self.full_max
            || presence.sessions_len(&self.topic) > SESSIONS_PER_MEMBER * self.full_max
    }

    fn set_mode(&mut self, subscribers: &mut Subscribers, mode: Mode) {
        self.mode = mode;
        self.calm_since = None;
        for subscriber in subscribers.iter_mut() {
            subscriber.sent_counts = None;
        }
        let payload = json!({ "mode": mode.as_str() }).to_string();
        let event = Broadcast::new(&self.topic, "presence_mode", payload);
        subscribers.broadcast(&event, |_| true);
    }

    fn leave_counts_when_calm(
        &mut self,
        presence: &RoomPresence,
        members: &RoomMembers,
        subscribers: &mut Subscribers,
        now: Instant,
    ) {
        let is_calm = members.occupancy().online < self.full_max / 5 * 4
            && !self.is_crowded(presence, members);
        if !is_calm {
            self.calm_since = None;
        } else if now.saturating_duration_since(*self.calm_since.get_or_insert(now)) >= CALM {
            self.set_mode(subscribers, Mode::Full);
            self.published = PublishedPresence::of(presence, &self.topic);
            for subscriber in subscribers.iter_mut() {
                subscriber.has_state = false;
            }
        }
    }

    /// Sends the counts to all subscribers that know others and are not behind. Returns whether
    /// there was one.
    fn send_counts(&self, members: &RoomMembers, subscribers: &mut Subscribers) -> bool {
        let counts = members.occupancy();
        let mut payload = None;
        for subscriber in subscribers.iter_mut() {
            if subscriber.sent_counts != Some(counts) && !subscriber.is_congested() {
                let payload = payload.get_or_insert_with(|| counts.payload());
                subscriber.push(&self.topic, "presence_count", payload);
                subscriber.sent_counts = Some(counts);
            }
        }
        payload.is_some()
    }

    /// Sends a state to subscribers that were too slow for diffs and have caught up. While only counts
    /// are sent, those that never had a state need none.
    fn send_missing_states(&self, subscribers: &mut Subscribers) {
        let mut state = None;
        for subscriber in subscribers.iter_mut() {
            let needs_state = match self.mode {
                Mode::Full => !subscriber.has_state,
                Mode::Counts => subscriber.is_behind,
            };
            if needs_state && !subscriber.is_congested() {
                let state = state.get_or_insert_with(|| self.published.state());
                subscriber.push(&self.topic, "presence_state", state);
                subscriber.has_state = true;
                subscriber.is_behind = false;
            }
        }
    }
}
