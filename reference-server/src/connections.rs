//! `Connections`: the open sockets and long-poll sessions by user, to close them. They lock themselves.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::time;
use uuid::Uuid;

use crate::{
    auth::Identity,
    socket::{CloseReason, Outbox},
};

/// Connections closed together when the server stops, and the pause between two such batches.
const DRAIN_BATCH: usize = 10_000;
const DRAIN_PAUSE: Duration = Duration::from_secs(2);
/// After this time the rest is closed at once.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections(Mutex<HashMap<Uuid, Vec<Connection>>>);

#[derive(Debug)]
struct Connection {
    token: Option<Uuid>,
    outbox: Arc<Outbox>,
}

impl Connections {
    /// Adds a connection that was opened with the token of `identity`.
    pub(crate) fn add(&self, identity: &Identity, outbox: &Arc<Outbox>) {
        let connection = Connection {
            token: identity.token_id,
            outbox: Arc::clone(outbox),
        };
        let mut users = self.0.lock();
        users.entry(identity.id).or_default().push(connection);
    }

    /// Removes a connection.
    pub(crate) fn remove(&self, user: Uuid, outbox: &Arc<Outbox>) {
        let mut users = self.0.lock();
        let Some(connections) = users.get_mut(&user) else {
            return;
        };
        connections.retain(|connection| !Arc::ptr_eq(&connection.outbox, outbox));
        if connections.is_empty() {
            users.remove(&user);
        }
    }

    /// Closes the connections of a user whose tokens `is_ended` accepts.
    pub(crate) fn end(&self, user: Uuid, is_ended: impl Fn(Option<Uuid>) -> bool) {
        for connection in self.0.lock().get(&user).into_iter().flatten() {
            if is_ended(connection.token) {
                connection.outbox.close(CloseReason::TokenEnded);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Outbox>> {
        let users = self.0.lock();
        let all = users.values().flatten();
        all.map(|connection| Arc::clone(&connection.outbox))
            .collect()
    }

    /// Closes every connection with 1012, in batches, so that the clients do not all reconnect
    /// at once.
    pub(crate) async fn drain(&self) {
        let started = Instant::now();
        let all = self.all();
        for (n, batch) in all.chunks(DRAIN_BATCH).enumerate() {
            if n > 0 && started.elapsed() < DRAIN_MAX {
                time::sleep(DRAIN_PAUSE).await;
            }
            for outbox in batch {
                outbox.close(CloseReason::Restart);
            }
        }
    }
}
