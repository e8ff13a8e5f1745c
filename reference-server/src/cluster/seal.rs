//! The keys of a cluster, and the seal of its events.

use headcount::codec::{Envelope, Kind, Shape, SharedKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

/// The kind of a sealed event. Presence has kinds and a key of its own.
const KIND: Kind = Kind(0);

/// The purposes for which keys are derived.
const PRESENCE: &str = "headcount-server presence";
const EVENTS: &str = "headcount-server events";

/// Returns the key that seals the frames of presence.
pub(super) fn presence_key(secret: &Secret) -> SharedKey {
    derive(secret, PRESENCE)
}

fn derive(secret: &Secret, purpose: &str) -> SharedKey {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
    mac.update(purpose.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&mac.finalize().into_bytes()[..16]);
    SharedKey::new(key)
}

/// The seal of the events of a cluster with a key; without one they are plain.
#[derive(Debug)]
pub(super) struct EventSeal(Option<Envelope>);

impl EventSeal {
    pub(super) fn new(cluster: &str, secret: Option<&Secret>) -> Self {
        let sealed =
            |secret| Envelope::new(cluster, Some(derive(secret, EVENTS)), Shape::default());
        Self(secret.map(sealed))
    }

    pub(super) fn close(&self, event: Vec<u8>) -> Vec<u8> {
        match &self.0 {
            Some(envelope) => envelope.seal(KIND, None, &event),
            None => event,
        }
    }

    /// Returns the event; `None` if a node with another key sent it, or one without a key to one with a key, or the
    /// reverse.
    pub(super) fn open<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match &self.0 {
            Some(envelope) => {
                let opened = envelope.open(payload).ok()?;
                (opened.kind == KIND).then_some(opened.body)
            }
            None => payload.starts_with(b"{").then_some(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_with_the_same_key_opens_an_event() {
        let secret = |text: &str| text.repeat(32).parse::<Secret>().unwrap();
        let seals = [
            EventSeal::new("chat", Some(&secret("a"))),
            EventSeal::new("chat", Some(&secret("b"))),
            EventSeal::new("other", Some(&secret("a"))),
            EventSeal::new("chat", None),
        ];
        let event = br#"{"version":1}"#;
        for (i, from) in seals.iter().enumerate() {
            let payload = from.close(event.to_vec());
            for (j, to) in seals.iter().enumerate() {
                let opened = to.open(&payload);
                assert_eq!(opened, (i == j).then_some(&event[..]), "{i} to {j}");
            }
        }
    }
}
