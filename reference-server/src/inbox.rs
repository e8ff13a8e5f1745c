//! `Inboxes`: the clients that are told what happens to their user outside of the rooms that are open, on the topic
//! `user:<id>`. They lock themselves.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use uuid::Uuid;

use crate::{
    auth::Identity,
    socket::{Outbox, Vsn, encode},
};

/// The listening clients, by user.
#[derive(Debug, Default)]
pub(crate) struct Inboxes(Mutex<HashMap<Uuid, Vec<Listener>>>);

#[derive(Debug)]
struct Listener {
    tenant: Arc<str>,
    vsn: Vsn,
    outbox: Arc<Outbox>,
}

impl Inboxes {
    /// Adds a client of a user.
    pub(crate) fn join(&self, user: &Identity, vsn: Vsn, outbox: &Arc<Outbox>) {
        let listener = Listener {
            tenant: Arc::clone(&user.tenant),
            vsn,
            outbox: Arc::clone(outbox),
        };
        self.0.lock().entry(user.id).or_default().push(listener);
    }

    /// Removes a client.
    pub(crate) fn leave(&self, user: Uuid, outbox: &Arc<Outbox>) {
        let mut users = self.0.lock();
        let Some(listeners) = users.get_mut(&user) else {
            return;
        };
        listeners.retain(|listener| !Arc::ptr_eq(&listener.outbox, outbox));
        if listeners.is_empty() {
            users.remove(&user);
        }
    }

    /// Returns whether no client listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Returns the users of the clients. O(users).
    pub(crate) fn users(&self) -> Vec<Uuid> {
        self.0.lock().keys().copied().collect()
    }

    /// Sends an event to the clients of one user.
    pub(crate) fn send(&self, user: Uuid, event: &str, payload: &str) {
        if let Some(listeners) = self.0.lock().get(&user) {
            send(user, listeners.iter(), event, payload);
        }
    }

    /// Sends an event to the clients of the users that `applies` accepts. O(listening users).
    pub(crate) fn send_where(&self, applies: impl Fn(Uuid) -> bool, event: &str, payload: &str) {
        for (user, listeners) in &*self.0.lock() {
            if applies(*user) {
                send(*user, listeners.iter(), event, payload);
            }
        }
    }

    /// Sends an event to all clients of a tenant. O(clients).
    pub(crate) fn send_all(&self, tenant: &str, event: &str, payload: &str) {
        self.send_except(tenant, &HashSet::new(), event, payload);
    }

    /// Sends an event to the clients of a tenant, but for those of some users. O(clients).
    pub(crate) fn send_except(
        &self,
        tenant: &str,
        except: &HashSet<Uuid>,
        event: &str,
        payload: &str,
    ) {
        let users = self.0.lock();
        for (user, listeners) in users.iter().filter(|(user, _)| !except.contains(user)) {
            let of_tenant = listeners.iter().filter(|l| &*l.tenant == tenant);
            send(*user, of_tenant, event, payload);
        }
    }
}

fn send<'a>(user: Uuid, listeners: impl Iterator<Item = &'a Listener>, event: &str, payload: &str) {
    let topic = topic(user);
    for listener in listeners {
        let frame = encode(listener.vsn, None, None, &topic, event, payload);
        listener.outbox.push(frame);
    }
}

/// Returns the topic of a user's own channel.
pub(crate) fn topic(user: Uuid) -> String {
    format!("user:{user}")
}
