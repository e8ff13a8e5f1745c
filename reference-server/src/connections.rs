//! `Connections`: the open sockets and long-poll sessions by user, and the status that each user has chosen. They lock
//! themselves.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use headcount::Status;
use parking_lot::Mutex;
use tokio::time;
use uuid::Uuid;

use crate::{
    auth::Identity,
    inbox,
    metrics::{Sample, Transport},
    socket::{CloseReason, Outbox, Vsn, encode},
};

/// The pause between two batches of connections that are closed when the server stops.
const DRAIN_PAUSE: Duration = Duration::from_secs(2);
/// After this time the rest is closed at once.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// The users that are connected, or were a short while ago.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<HashMap<Uuid, User>>);

#[derive(Debug)]
struct User {
    tenant: Arc<str>,
    name: Arc<str>,
    guest: bool,
    status: Status,
    connections: Vec<Connection>,
    /// When the last connection ended, if none is open.
    left: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    token: OpenToken,
    vsn: Vsn,
    contact: Contact,
    since: Instant,
    outbox: Arc<Outbox>,
}

/// The token with which a connection was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenToken {
    pub(crate) id: Option<Uuid>,
    /// When it was issued, in microseconds since 1970.
    pub(crate) issued_at: i64,
    /// Its end, in seconds since 1970.
    pub(crate) expires_at: u64,
}

/// The way by which a client comes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Contact {
    pub(crate) transport: Transport,
    /// Its address, unless the client is none of the network.
    pub(crate) address: Option<IpAddr>,
}

/// A connected user as operators see it.
#[derive(Debug)]
pub(crate) struct ConnectedUser {
    pub(crate) id: Uuid,
    pub(crate) name: Arc<str>,
    pub(crate) tenant: Arc<str>,
    pub(crate) guest: bool,
    pub(crate) status: Status,
    pub(crate) connections: Vec<OpenConnection>,
}

/// A connection as operators see it.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    pub(crate) contact: Contact,
    /// The time since it was opened.
    pub(crate) seconds: u64,
    /// The frames that wait for the client.
    pub(crate) waiting: usize,
}

/// A user that is not connected any more.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) user: Uuid,
    pub(crate) tenant: Arc<str>,
    pub(crate) guest: bool,
    /// True if it was invisible.
    pub(crate) was_hidden: bool,
}

impl User {
    fn end(&self, user: Uuid, is_ended: impl Fn(&OpenToken) -> bool) {
        let topic = inbox::topic(user);
        for connection in self.connections.iter().filter(|c| is_ended(&c.token)) {
            let frame = encode(connection.vsn, None, None, &topic, "revoked", "{}");
            connection.outbox.push(frame);
            connection.outbox.close(CloseReason::TokenEnded);
        }
    }
}

impl Connection {
    fn overview(&self) -> OpenConnection {
        let (waiting, _) = self.outbox.waiting();
        OpenConnection {
            contact: self.contact,
            seconds: self.since.elapsed().as_secs(),
            waiting,
        }
    }
}

impl Connections {
    /// Adds a connection that was opened with the token of `identity`. Returns whether the user was offline before.
    pub(crate) fn add(
        &self,
        identity: &Identity,
        vsn: Vsn,
        contact: Contact,
        outbox: &Arc<Outbox>,
    ) -> bool {
        let connection = Connection {
            token: OpenToken {
                id: identity.token_id,
                issued_at: identity.issued_at,
                expires_at: identity.expires_at,
            },
            vsn,
            contact,
            since: Instant::now(),
            outbox: Arc::clone(outbox),
        };
        let mut users = self.0.lock();
        let mut is_new = false;
        let user = users.entry(identity.id).or_insert_with(|| {
            is_new = true;
            User {
                tenant: Arc::clone(&identity.tenant),
                name: Arc::clone(&identity.username),
                guest: identity.guest,
                status: identity.status,
                // Most have one, where a first push would make room for four.
                connections: Vec::with_capacity(1),
                left: None,
            }
        });
        user.connections.push(connection);
        user.left = None;
        is_new
    }

    /// Removes a connection.
    pub(crate) fn remove(&self, user: Uuid, outbox: &Arc<Outbox>) {
        let mut users = self.0.lock();
        let Some(user) = users.get_mut(&user) else {
            return;
        };
        let connections = &mut user.connections;
        connections.retain(|connection| !Arc::ptr_eq(&connection.outbox, outbox));
        if connections.is_empty() {
            user.left = Some(Instant::now());
        }
    }

    /// Forgets the users whose last connection ended at least `grace` before `now`, and returns them.
    pub(crate) fn take_gone(&self, now: Instant, grace: Duration) -> Vec<Gone> {
        let mut users = self.0.lock();
        let is_gone = |_: &Uuid, user: &mut User| {
            let left = user.left;
            left.is_some_and(|left| now.saturating_duration_since(left) >= grace)
        };
        let gone = users.extract_if(is_gone).map(|(id, user)| Gone {
            user: id,
            tenant: user.tenant,
            guest: user.guest,
            was_hidden: user.status == Status::Invisible,
        });
        gone.collect()
    }

    /// Returns the status of a user as others see it: offline if it is invisible or not connected.
    pub(crate) fn status_of(&self, user: Uuid) -> Status {
        match self.chosen_status(user) {
            None | Some(Status::Invisible) => Status::Offline,
            Some(status) => status,
        }
    }

    /// Returns the status that a connected user has chosen.
    pub(crate) fn chosen_status(&self, user: Uuid) -> Option<Status> {
        self.0.lock().get(&user).map(|user| user.status)
    }

    /// Returns the statuses that the connected users have chosen, but for guests. O(users).
    pub(crate) fn chosen_statuses(&self) -> HashMap<Uuid, Status> {
        let users = self.0.lock();
        let registered = users.iter().filter(|(_, user)| !user.guest);
        registered.map(|(id, user)| (*id, user.status)).collect()
    }

    /// Notes the status that a connected user has chosen.
    pub(crate) fn set_status(&self, user: Uuid, status: Status) {
        if let Some(user) = self.0.lock().get_mut(&user) {
            user.status = status;
        }
    }

    /// Closes the connections of a user whose tokens `is_ended` accepts, after a last event on the user's channel.
    pub(crate) fn end(&self, user: Uuid, is_ended: impl Fn(&OpenToken) -> bool) {
        if let Some(known) = self.0.lock().get(&user) {
            known.end(user, &is_ended);
        }
    }

    /// Does the same for all users. O(connections).
    pub(crate) fn end_all(&self, is_ended: impl Fn(Uuid, &OpenToken) -> bool) {
        for (user, known) in &*self.0.lock() {
            known.end(*user, |token| is_ended(*user, token));
        }
    }

    /// Counts the users, and what waits in their queues.
    pub(crate) fn sample(&self, sample: &mut Sample) {
        let users = self.0.lock();
        sample.users = users.len();
        for connection in users.values().flat_map(|user| &user.connections) {
            let (frames, bytes) = connection.outbox.waiting();
            sample.queue_frames += frames;
            sample.queue_bytes += bytes;
            sample.queue_frames_max = sample.queue_frames_max.max(frames);
            match connection.contact.transport {
                Transport::WebSocket => sample.websockets += 1,
                Transport::LongPoll => sample.long_polls += 1,
            }
            sample.congested += usize::from(connection.outbox.is_congested());
        }
    }

    /// Returns the connected users of a name or an id, at most `limit`. O(users).
    pub(crate) fn find(&self, asked: &str, limit: usize) -> Vec<ConnectedUser> {
        let id = asked.parse::<Uuid>().ok();
        let users = self.0.lock();
        let found = users
            .iter()
            .filter(|(user, known)| id == Some(**user) || *known.name == *asked);
        let found = found.take(limit).map(|(id, user)| ConnectedUser {
            id: *id,
            name: Arc::clone(&user.name),
            tenant: Arc::clone(&user.tenant),
            guest: user.guest,
            status: user.status,
            connections: user.connections.iter().map(Connection::overview).collect(),
        });
        found.collect()
    }

    /// Returns the tokens of a user's open connections, with their ends in seconds since 1970.
    pub(crate) fn tokens(&self, user: Uuid) -> Vec<(Uuid, u64)> {
        let users = self.0.lock();
        let connections = users.get(&user).into_iter().flat_map(|u| &u.connections);
        let tokens = connections.filter_map(|c| Some((c.token.id?, c.token.expires_at)));
        tokens.collect()
    }

    fn all(&self) -> Vec<Arc<Outbox>> {
        let users = self.0.lock();
        let all = users.values().flat_map(|user| &user.connections);
        all.map(|connection| Arc::clone(&connection.outbox))
            .collect()
    }

    /// Closes every connection, in batches, so that the clients do not all reconnect at once.
    pub(crate) async fn drain(&self, batch: usize, reason: CloseReason) {
        let started = Instant::now();
        let all = self.all();
        for (n, batch) in all.chunks(batch).enumerate() {
            if n > 0 && started.elapsed() < DRAIN_MAX {
                time::sleep(DRAIN_PAUSE).await;
            }
            for outbox in batch {
                outbox.close(reason);
            }
        }
    }
}
