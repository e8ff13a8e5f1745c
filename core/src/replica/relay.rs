//! `Relay`: frames passed on between neighbours, for networks in which not all nodes reach each
//! other.
//!
//! A frame to all is flooded: each node passes it on once, and remembers the neighbour from which
//! the first copy of a sender's newest frame came. A frame to one replica goes back on that way
//! (reverse path forwarding, Dalal and Metcalfe, 1978), inside a frame that names its receiver.
//! Replicas have names of their own as addresses, as a neighbour's address stands for many.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::handle::Handle;
use super::output::Address;
use super::seen_frames::SeenFrames;
use crate::codec::{DecodeError, Envelope, Kind, Opened, Reader, Shape, Writer};

/// The most neighbours that a frame to one replica passes.
const HOPS_MAX: u8 = 32;
/// The most frames remembered in one generation: 512 KiB.
const SEEN_MAX: usize = 65_536;
/// The bytes that are added to a frame to one replica.
const OVERHEAD: usize = 64;

/// Returns the longest frame of a replica, given the longest that is carried. It has room for an index
/// of all partitions.
pub(super) fn room(frame_max: usize, shape: Shape, is_relayed: bool) -> usize {
    let index = shape.all_partitions() as usize / 8;
    let frame_max = frame_max.clamp((index + (1 << 9)).max(1 << 10), 16 << 20);
    if is_relayed {
        frame_max - OVERHEAD
    } else {
        frame_max
    }
}

/// The way to a replica.
#[derive(Debug, Clone)]
struct Route {
    neighbour: Address,
    /// The address that stands for the replica.
    name: Address,
}

/// The frames that were passed on, and the ways to replicas.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    routes: BTreeMap<Handle, Route>,
    routes_max: usize,
    /// The frames to all that were heard.
    seen: SeenFrames,
}

/// A frame to one replica, by way of others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    hops: u8,
    pub(crate) to: Handle,
    pub(crate) frame: Bytes,
}

impl Relay {
    pub(super) fn new(peers_max: usize, turn: u64) -> Self {
        Self {
            routes: BTreeMap::new(),
            routes_max: 2 * peers_max.max(1),
            seen: SeenFrames::new(SEEN_MAX, turn),
        }
    }

    /// Notes a frame to all. Returns whether it is new.
    pub(super) fn note(&mut self, frame: &[u8], now: u64) -> bool {
        self.seen.note(frame, now)
    }

    /// Notes that the first copy of a frame of `sender` came from a neighbour. Returns the address
    /// that stands for the sender.
    pub(super) fn learn(&mut self, sender: Handle, neighbour: &Address) -> Address {
        if self.routes.len() >= self.routes_max && !self.routes.contains_key(&sender) {
            // The ways to replicas that speak are learned again within a beat.
            self.routes.clear();
        }
        let route = self.routes.entry(sender).or_insert_with(|| Route {
            neighbour: neighbour.clone(),
            name: name_of(sender),
        });
        if route.neighbour != *neighbour {
            route.neighbour = neighbour.clone();
        }
        route.name.clone()
    }

    /// Returns the address that stands for a replica.
    pub(super) fn name(&self, replica: Handle) -> Address {
        let route = self.routes.get(&replica);
        route.map_or_else(|| name_of(replica), |route| route.name.clone())
    }

    /// Wraps a frame to the replica with an address. Returns it with the neighbour to which it
    /// goes; `None` if no way is known.
    pub(super) fn wrap(
        &self,
        envelope: &Envelope,
        name: &str,
        frame: Bytes,
    ) -> Option<(Address, Bytes)> {
        let to = handle_of(name)?;
        let hops = HOPS_MAX;
        self.send_on(envelope, &Relayed { hops, to, frame })
    }

    /// Returns a frame to another replica as it goes on, with the neighbour to which it goes; `None`
    /// if that is the one it came from: each of two nodes may think that the way leads by the other.
    pub(super) fn forward(
        &self,
        envelope: &Envelope,
        from: &Address,
        relayed: &Relayed,
    ) -> Option<(Address, Bytes)> {
        let sent = self.send_on(envelope, relayed);
        sent.filter(|(neighbour, _)| neighbour != from)
    }

    fn send_on(&self, envelope: &Envelope, relayed: &Relayed) -> Option<(Address, Bytes)> {
        let hops = relayed.hops.checked_sub(1)?;
        let route = self.routes.get(&relayed.to)?;
        let mut body = Writer::with_capacity(relayed.frame.len() + OVERHEAD);
        body.u8(hops);
        relayed.to.write(&mut body);
        body.raw(&relayed.frame);
        let frame = envelope.seal(Kind::RELAYED, None, body.as_slice());
        Some((route.neighbour.clone(), frame.into()))
    }
}

impl Relayed {
    /// Reads a frame to one replica from the frame that was opened.
    ///
    /// # Errors
    /// When it is too short.
    pub(crate) fn read(frame: &Bytes, opened: &Opened<'_>) -> Result<Self, DecodeError> {
        let shifted = |error: DecodeError| error.shifted(opened.body_at);
        let mut reader = Reader::new(opened.body);
        let hops = reader.u8().map_err(shifted)?;
        let to = Handle::read(&mut reader).map_err(shifted)?;
        let start = opened.body_at + reader.offset();
        let end = opened.body_at + opened.body.len();
        Ok(Self {
            hops: hops.min(HOPS_MAX),
            to,
            frame: frame.slice(start..end),
        })
    }
}

fn name_of(replica: Handle) -> Address {
    Arc::from(format!("{:016x}", replica.0))
}

fn handle_of(name: &str) -> Option<Handle> {
    u64::from_str_radix(name, 16).ok().map(Handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_to_one_replica_ends_after_so_many_hops() {
        let envelope = Envelope::default();
        let mut relay = Relay::new(4, 10);
        let frame = Bytes::from_static(b"frame");
        let name = relay.name(Handle(7));
        assert_eq!(relay.wrap(&envelope, &name, frame.clone()), None, "no way");
        assert_eq!(relay.learn(Handle(7), &"b".into()), name);
        let (to, mut bytes) = relay.wrap(&envelope, &name, frame.clone()).unwrap();
        assert_eq!(&*to, "b");
        assert!(bytes.len() <= frame.len() + OVERHEAD);
        for hops in (0..HOPS_MAX).rev() {
            let opened = envelope.open(&bytes).unwrap();
            assert_eq!(opened.kind, Kind::RELAYED);
            let relayed = Relayed::read(&bytes, &opened).unwrap();
            assert_eq!(
                (relayed.hops, relayed.to, &relayed.frame),
                (hops, Handle(7), &frame)
            );
            let back = relay.forward(&envelope, &"b".into(), &relayed);
            assert_eq!(back, None, "it goes back to none");
            match relay.forward(&envelope, &"c".into(), &relayed) {
                Some((_, next)) => bytes = next,
                None => assert_eq!(hops, 0),
            }
        }
    }

    #[test]
    fn the_ways_are_bounded() {
        let mut relay = Relay::new(4, 10);
        for number in 0..100 {
            relay.learn(Handle(number), &"b".into());
            assert!(relay.routes.len() <= 8);
        }
    }
}
