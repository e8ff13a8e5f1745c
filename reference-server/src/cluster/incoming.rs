//! Events of the other nodes, and the gaps between them.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Subscriber;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Cluster, Event,
    bus::Ends,
    event::{EVENT_BYTES_MAX, Envelope, VERSION},
};
use crate::{
    app::App,
    db::{Message, StorageError},
    room::{TypingNote, session_status},
};

/// A node is forgotten when nothing came of it for this long.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// The time for which news of rooms are gathered that are not open here.
const NEWS_PAUSE: Duration = Duration::from_millis(250);
/// Users who are told of a room and are read at once.
const TOLD_PAGE: u32 = 1_000;
/// The pause between two lines of the log about refused events.
const STRANGERS_PAUSE: Duration = Duration::from_secs(60);
/// Nodes whose numbers are kept.
const PEERS_MAX: usize = 10_000;

/// Sends and takes events until `shutdown`, and the rest of the queue then; or until the client of NATS ends. It can
/// begin again after a fault. Returns at once on a server without a cluster.
pub(crate) async fn run(app: Arc<App>, shutdown: CancellationToken) {
    let Some(cluster) = &app.cluster else {
        return;
    };
    let mut ends = cluster.ends.lock().await;
    let Ends { outgoing, incoming } = &mut *ends;
    tokio::select! {
        () = cluster.publish(outgoing, &shutdown) => {}
        () = take_all(&app, cluster, incoming) => {}
        () = app.repair_when_missed(cluster) => {}
    }
}

/// Takes events until the client of NATS ends.
async fn take_all(app: &Arc<App>, cluster: &Cluster, incoming: &mut Subscriber) {
    let mut peers = Peers::default();
    let mut strangers = Strangers::default();
    while let Some(message) = incoming.next().await {
        if message.payload.len() > EVENT_BYTES_MAX {
            continue;
        }
        let Some(event) = cluster.seal.open(&message.payload) else {
            cluster.metrics.refused.increment(1);
            strangers.note(Instant::now());
            continue;
        };
        let Ok(envelope) = serde_json::from_slice::<Envelope>(event) else {
            // Also an event of a newer kind comes to this.
            tracing::warn!("an event of the cluster cannot be read");
            cluster.metrics.gaps.increment(1);
            cluster.missed.notify_one();
            continue;
        };
        if envelope.node == cluster.node() {
            continue;
        }
        if peers.misses(&envelope, Instant::now()) || envelope.version != VERSION {
            cluster.metrics.gaps.increment(1);
            cluster.missed.notify_one();
        }
        if let Some(event) = envelope.event.filter(|_| envelope.version == VERSION) {
            cluster.metrics.received.increment(1);
            app.take_event(event);
        }
    }
}

/// The events that were not sealed with the key of the cluster, of which the log is told now and then.
#[derive(Debug, Default)]
struct Strangers {
    untold: u64,
    told_at: Option<Instant>,
}

impl Strangers {
    fn note(&mut self, now: Instant) {
        self.untold += 1;
        let is_due = |at| now.duration_since(at) >= STRANGERS_PAUSE;
        if self.told_at.is_none_or(is_due) {
            self.told_at = Some(now);
            let count = mem::take(&mut self.untold);
            tracing::warn!(
                count,
                "events were refused: a node has another --cluster-key"
            );
        }
    }
}

/// The numbers of the newest events of the other nodes.
#[derive(Debug, Default)]
struct Peers(HashMap<Uuid, Heard>);

#[derive(Debug)]
struct Heard {
    number: u64,
    at: Instant,
}

impl Peers {
    /// Notes an event or a beat. Returns whether events before it were missed.
    fn misses(&mut self, envelope: &Envelope, now: Instant) -> bool {
        let heard = self.0.get(&envelope.node).map(|heard| heard.number);
        let before = heard.unwrap_or_default();
        let is_event = u64::from(envelope.event.is_some());
        if heard.is_none() && self.0.len() >= PEERS_MAX {
            self.0
                .retain(|_, heard| now.duration_since(heard.at) < SILENCE_MAX);
        }
        let number = before.max(envelope.number);
        self.0.insert(envelope.node, Heard { number, at: now });
        envelope.number > before + is_event
    }
}

impl App {
    /// Takes what another node has stored or passes on.
    fn take_event(self: &Arc<Self>, event: Event) {
        match event {
            Event::Message(message) => self.take_message(message.into()),
            Event::Typing {
                room,
                user,
                username,
                guest,
                has_begun,
            } => {
                let note = TypingNote {
                    user,
                    username: username.into(),
                    guest,
                };
                if let Some(open) = self.hub.find(room) {
                    open.take_typing(&note, has_begun);
                }
            }
            Event::ToUser {
                user,
                event,
                payload,
            } => self.inboxes.send(user, &event, &payload),
            Event::ToTenant {
                tenant,
                event,
                payload,
            } => self.inboxes.send_all(&tenant, &event, &payload),
            Event::Status { user, status } => {
                if let Some(status) = session_status(&status) {
                    self.show_status_here(user, status);
                }
            }
            Event::TokenRevoked {
                user,
                token,
                expires_at,
            } => self.revoke_token_here(user, token, expires_at),
            Event::MessageChanged { .. }
            | Event::ToAdmitted { .. }
            | Event::MemberAdded { .. }
            | Event::MemberRemoved { .. }
            | Event::RoomLimited { .. }
            | Event::RolesChanged { .. }
            | Event::RolesOfUserChanged { .. }
            | Event::RoomDeleted { .. }
            | Event::UserEnded { .. } => {
                let app = Arc::clone(self);
                self.tasks
                    .spawn(async move { app.take_slowly(event).await });
            }
        }
    }

    /// Takes an event that may have to wait: for a room that is being loaded, or for the database.
    async fn take_slowly(self: Arc<Self>, event: Event) {
        let hub = &self.hub;
        match event {
            Event::MessageChanged { room, message } => {
                let changed = self.show_changed(room, message).await;
                self.log_missed(changed);
            }
            Event::ToAdmitted { room, payload } => {
                let told = self.tell_admitted_here(room, &payload).await;
                self.log_missed(told);
            }
            Event::MemberAdded {
                room,
                user,
                username,
            } => {
                let shown = hub.show_member(&self.db, room, user, &username).await;
                self.log_missed(shown);
                self.log_missed(self.note_member_shown(room).await);
            }
            Event::MemberRemoved { room, user } => {
                hub.hide_member(room, user).await;
                self.log_missed(self.note_member_shown(room).await);
            }
            Event::RoomLimited { tenant, room } => {
                let hidden = self.hide_room_here(&tenant, room).await;
                self.log_missed(hidden);
            }
            Event::RolesChanged { server } => {
                let shown = hub.show_roles(&self.db, server).await;
                self.log_missed(shown);
            }
            Event::RolesOfUserChanged { server, user } => {
                let shown = hub.show_roles_of(&self.db, server, user).await;
                self.log_missed(shown);
            }
            Event::RoomDeleted { room } => hub.close(room).await,
            Event::UserEnded {
                user,
                is_registered,
            } => {
                let ended = self.end_connections_here(user, is_registered).await;
                self.log_missed(ended);
            }
            _ => {}
        }
    }

    /// Shows a room to the clients here of the users who are told of its limit, or of the end of that.
    pub(super) async fn tell_admitted_here(
        &self,
        room: Uuid,
        payload: &str,
    ) -> Result<(), StorageError> {
        self.for_each_admitted(room, |user| {
            self.inboxes.send(user, "room_created", payload);
        })
        .await
    }

    /// Ends the channels of guests here in a limited room. Takes it from the clients here of those whom it does not
    /// admit; a private room they do not see.
    pub(super) async fn hide_room_here(
        &self,
        tenant: &str,
        room: Uuid,
    ) -> Result<(), StorageError> {
        self.hub.evict_guests(room).await;
        let Some(stored) = self.db.room(tenant, room).await? else {
            return Ok(());
        };
        if stored.private || !stored.limited {
            return Ok(());
        }
        let mut admitted = HashSet::new();
        if let Some(server) = stored.server_id {
            let server = self.db.server(tenant, server).await?;
            admitted.extend(server.and_then(|server| server.owner_id));
        }
        self.for_each_admitted(room, |user| {
            admitted.insert(user);
        })
        .await?;
        let payload = json!({ "id": room }).to_string();
        self.inboxes
            .send_except(tenant, &admitted, "room_removed", &payload);
        Ok(())
    }

    /// Reads the users who are told of a room's limit, while a client here listens.
    async fn for_each_admitted(
        &self,
        room: Uuid,
        mut tell: impl FnMut(Uuid),
    ) -> Result<(), StorageError> {
        let mut after = Uuid::nil();
        while !self.inboxes.is_empty() {
            let page = self.db.told_of_limit(room, after, TOLD_PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = *last;
            page.into_iter().for_each(&mut tell);
        }
        Ok(())
    }

    /// Sends a message of another node to the clients here. One that comes too early waits for those before it.
    fn take_message(self: &Arc<Self>, message: Message) {
        let open = self.hub.find(message.room_id);
        if let Some(open) = &open
            && let Ok(_turn) = open.posting.try_lock()
            && open.takes_next(&message)
        {
            return open.publish(&message);
        }
        if !self.hub.is_in_use(message.room_id) {
            // The room is loaded with the message when a client opens it.
            return self.note_closed_room_news(&message);
        }
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            let delivered = app.deliver_late(&message, open.is_some()).await;
            app.log_missed(delivered);
        });
    }

    /// Shows a changed message as it is stored now: of two changes at once, all nodes end with the later one.
    async fn show_changed(&self, room: Uuid, message: Uuid) -> Result<(), StorageError> {
        if let Some(open) = self.hub.find_loaded(room).await {
            let _turn = open.posting.lock().await;
            if let Some(message) = self.db.message(message).await? {
                open.publish_change(&message);
            }
        }
        Ok(())
    }

    /// Sends a message as it is stored now: meanwhile it may have been changed, which is shown already.
    async fn deliver_late(
        self: &Arc<Self>,
        message: &Message,
        was_open: bool,
    ) -> Result<(), StorageError> {
        let Some(open) = self.hub.find_loaded(message.room_id).await else {
            self.note_closed_room_news(message);
            return Ok(());
        };
        let _turn = open.posting.lock().await;
        if !was_open {
            // It was loaded with the message; its members hear of that.
            open.note_news();
        }
        match self.db.message(message.id).await? {
            Some(stored) => open.deliver(&self.db, &stored).await,
            None => Ok(()),
        }
    }

    /// Tells the members who listen here of a message in a room that is not open here, soon.
    fn note_closed_room_news(self: &Arc<Self>, message: &Message) {
        let Some(cluster) = &self.cluster else {
            return;
        };
        if self.inboxes.is_empty() || !cluster.news.note(message) {
            return;
        }
        let app = Arc::clone(self);
        self.tasks.spawn(async move {
            sleep(NEWS_PAUSE).await;
            let told = app.tell_closed_room_news().await;
            app.log_missed(told);
        });
    }

    /// Tells what was noted. O(listening users) for each room.
    async fn tell_closed_room_news(&self) -> Result<(), StorageError> {
        let Some(cluster) = &self.cluster else {
            return Ok(());
        };
        let news = cluster.news.take();
        let listening = self.inboxes.users();
        for (room, last_seq) in news {
            let members = self.db.members_among(room, &listening).await?;
            let payload = json!({ "room_id": room, "last_seq": last_seq }).to_string();
            for member in members {
                self.inboxes.send(member, "unread", &payload);
            }
        }
        Ok(())
    }

    /// Logs that the database was needed to follow another node and did not answer; it is asked again.
    pub(crate) fn log_missed(&self, result: Result<(), StorageError>) {
        if let Err(error) = result {
            tracing::error!(%error, "a change of another node could not be followed yet");
            if let Some(cluster) = &self.cluster {
                cluster.missed.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_noticed_at_the_next_event_or_beat() {
        let mut peers = Peers::default();
        let now = Instant::now();
        let mut misses = |node: u128, number, is_event: bool| {
            let event = is_event.then_some(Event::RoomDeleted { room: Uuid::nil() });
            let envelope = Envelope {
                version: VERSION,
                node: Uuid::from_u128(node),
                number,
                event,
            };
            peers.misses(&envelope, now)
        };
        assert!(!misses(1, 0, false), "a beat of a node that sent nothing");
        assert!(!misses(1, 1, true));
        assert!(!misses(1, 2, true));
        assert!(!misses(1, 2, false));
        assert!(misses(1, 3, false), "the third was missed");
        assert!(!misses(1, 4, true));
        assert!(misses(1, 6, true), "the fifth was missed");
        assert!(!misses(1, 5, true), "a late one says nothing new");
        assert!(misses(2, 9, false), "a node that was not heard before");
    }
}
