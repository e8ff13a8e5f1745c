//! Frames for others, in a partial mesh.

use bytes::Bytes;

use super::{OUT_MAX, Replica};
use crate::codec::{Kind, OpenError};
use crate::fault::{Fault, is_broken};
use crate::replica::message::{self, Frame};
use crate::replica::output::{Address, Destination, Transmit};
use crate::replica::relay::Relayed;

impl Replica {
    /// Decodes a frame from a neighbour, and passes it on if it is for others. Returns it with the
    /// address of its sender, unless it is for others only.
    pub(super) fn receive(
        &mut self,
        from: &Address,
        frame: &Bytes,
    ) -> Result<Option<(Address, Frame)>, OpenError> {
        let Some(relay) = &mut self.relay else {
            let decoded = message::decode(&self.seal, frame)?;
            return Ok(Some((from.clone(), decoded)));
        };
        let opened = self.seal.open(frame)?;
        if opened.kind == Kind::RELAYED {
            let relayed = Relayed::read(frame, &opened).map_err(OpenError::Malformed)?;
            if relayed.to != self.own.handle() {
                let forwarded = relay.forward(&self.seal, from, &relayed);
                self.out_to(forwarded.filter(|_| !is_broken(Fault::PassOnToNone)));
                return Ok(None);
            }
            let decoded = message::decode(&self.seal, &relayed.frame)?;
            let name = relay.name(decoded.sender.handle());
            return Ok(Some((name, decoded)));
        }
        let decoded = message::decode(&self.seal, frame)?;
        let sender = decoded.sender.handle();
        // The own frames come back.
        let is_new = relay.note(frame, self.now) || is_broken(Fault::PassOnAgain);
        if sender == self.own.handle() || !is_new {
            return Ok(None);
        }
        let name = relay.learn(sender, from);
        if self.out.len() < OUT_MAX {
            let to = Destination::All;
            let frame = frame.clone();
            self.out.push_back(Transmit { to, frame });
        }
        Ok(Some((name, decoded)))
    }

    /// Sends a frame to the neighbour that it goes to, if a way is known.
    pub(super) fn out_to(&mut self, forwarded: Option<(Address, Bytes)>) {
        if let Some((neighbour, frame)) = forwarded
            && self.out.len() < OUT_MAX
        {
            let to = Destination::Peer(neighbour);
            self.out.push_back(Transmit { to, frame });
        }
    }
}
