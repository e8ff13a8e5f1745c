//! Frames from neighbours, and those for others in a partial mesh.

use bytes::Bytes;

use super::Replica;
use crate::codec::{Envelope, Kind, OpenError};
use crate::fault::{Fault, is_broken};
use crate::replica::message::{self, Frame};
use crate::replica::output::{Address, Destination, Transmit};
use crate::replica::relay::Relayed;

/// Opens frames. It needs nothing of the replica, so the caller may open one while the replica
/// takes another.
#[derive(Debug, Clone)]
pub(crate) struct FrameReader {
    seal: Envelope,
    is_relaying: bool,
}

/// A frame that was opened.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message from a neighbour, or to all.
    Frame(Frame),
    /// A frame to one replica, by way of others.
    Relayed(Relayed),
}

impl FrameReader {
    /// Opens a frame and checks it whole, but for one by way of others. O(length).
    ///
    /// # Errors
    /// When the frame is not of this cluster, or malformed.
    pub(crate) fn open(&self, frame: &Bytes) -> Result<Received, OpenError> {
        if !self.is_relaying || Kind::of(frame) != Kind::RELAYED {
            return message::decode(&self.seal, frame).map(Received::Frame);
        }
        let relayed = Relayed::read(frame, &self.seal.open(frame)?);
        relayed.map(Received::Relayed).map_err(OpenError::Malformed)
    }
}

impl Replica {
    /// Returns what opens the frames for this replica.
    pub(crate) fn frame_reader(&self) -> FrameReader {
        FrameReader {
            seal: self.seal.clone(),
            is_relaying: self.relay.is_some(),
        }
    }

    /// Passes a frame from a neighbour on if it is for others. Returns its message with the address
    /// of its sender, unless it is for others only.
    pub(super) fn receive(
        &mut self,
        from: &Address,
        frame: &Bytes,
        received: Received,
    ) -> Result<Option<(Address, Frame)>, OpenError> {
        let Some(relay) = &mut self.relay else {
            return Ok(match received {
                Received::Frame(decoded) => Some((from.clone(), decoded)),
                Received::Relayed(_) => None,
            });
        };
        let decoded = match received {
            Received::Frame(decoded) => decoded,
            Received::Relayed(relayed) if relayed.to != self.own.handle() => {
                let forwarded = relay.forward(&self.seal, from, &relayed);
                self.out_to(forwarded.filter(|_| !is_broken(Fault::PassOnToNone)));
                return Ok(None);
            }
            Received::Relayed(relayed) => {
                let decoded = message::decode(&self.seal, &relayed.frame)?;
                let name = relay.name(decoded.sender.handle());
                return Ok(Some((name, decoded)));
            }
        };
        let sender = decoded.sender.handle();
        // The own frames come back.
        let is_new = relay.note(frame, self.now) || is_broken(Fault::PassOnAgain);
        if sender == self.own.handle() || !is_new {
            return Ok(None);
        }
        let name = relay.learn(sender, from);
        let to = Destination::All;
        let frame = frame.clone();
        self.out.push(Transmit { to, frame });
        Ok(Some((name, decoded)))
    }

    /// Sends a frame to the neighbour that it goes to, if a way is known.
    pub(super) fn out_to(&mut self, forwarded: Option<(Address, Bytes)>) {
        if let Some((neighbour, frame)) = forwarded {
            let to = Destination::Peer(neighbour);
            self.out.push(Transmit { to, frame });
        }
    }
}
