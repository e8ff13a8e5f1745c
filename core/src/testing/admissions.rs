//! `Admissions`: the replicas that a node knows. One that was forgotten comes back with a higher
//! heartbeat only, and one that said Goodbye does not come back.

use hashbrown::HashMap;

use crate::id::ReplicaId;

/// A replica that a node knows, or knew.
#[derive(Debug, Clone)]
struct Known {
    heartbeat: u64,
    /// The time, by the node's clock, of the last look at which it was known.
    seen_ms: u64,
    has_left: bool,
}

/// All replicas that a node knows or knew.
#[derive(Debug, Clone, Default)]
pub(super) struct Admissions {
    known: HashMap<ReplicaId, Known>,
    looked_ms: u64,
}

impl Admissions {
    /// Notes that a replica said Goodbye.
    pub(super) fn note_left(&mut self, id: ReplicaId, own_ms: u64) {
        let known = self.known.entry(id).or_insert(Known {
            heartbeat: 0,
            seen_ms: own_ms,
            has_left: true,
        });
        known.has_left = true;
        known.seen_ms = own_ms;
    }

    /// Looks at the replicas that are known now, with their heartbeats. A marker guards for
    /// `guard_ms`.
    ///
    /// # Errors
    /// A replica came back that must not.
    pub(super) fn check<'a>(
        &mut self,
        replicas: impl Iterator<Item = (&'a ReplicaId, u64)>,
        own_ms: u64,
        guard_ms: u64,
    ) -> Result<(), String> {
        let looked_ms = std::mem::replace(&mut self.looked_ms, own_ms);
        for (id, heartbeat) in replicas {
            let known = self.known.get(id);
            if let Some(known) = known.filter(|known| own_ms < known.seen_ms + guard_ms) {
                let is_back = known.seen_ms < looked_ms || known.has_left;
                if is_back && (known.has_left || heartbeat <= known.heartbeat) {
                    return Err(format!("readmits {id} at {heartbeat}: {known:?}"));
                }
            }
            let known = Known {
                heartbeat,
                seen_ms: own_ms,
                has_left: false,
            };
            self.known.insert(id.clone(), known);
        }
        Ok(())
    }
}
