//! The partitions whose frames the transport is to bring, in mode `interest`.

use headcount::Presence;
use headcount::replica::GroupSubscription;
use parking_lot::Mutex;
use rustler::LocalPid;
use std::collections::BTreeSet;

/// The partitions that are wanted, and those of which the process that moves frames does not know whether they are.
#[derive(Default)]
pub(super) struct Groups(Mutex<State>);

#[derive(Default)]
struct State {
    wanted: BTreeSet<u16>,
    changed: BTreeSet<u16>,
    taker: Option<LocalPid>,
}

impl Groups {
    /// Returns the partitions that are wanted since the last call of this process, or no longer; for another process
    /// than the last one all that are wanted, as its transport is a new one.
    pub(super) fn take(&self, presence: &Presence, taker: LocalPid) -> Vec<(u16, bool)> {
        let state = &mut *self.0.lock();
        while let Some(change) = presence.poll_subscription() {
            let (GroupSubscription::Subscribe(partition)
            | GroupSubscription::Unsubscribe(partition)) = change;
            match change {
                GroupSubscription::Subscribe(_) => state.wanted.insert(partition),
                GroupSubscription::Unsubscribe(_) => state.wanted.remove(&partition),
            };
            state.changed.insert(partition);
        }
        if state.taker != Some(taker) {
            state.taker = Some(taker);
            state.changed.clone_from(&state.wanted);
        }
        let changed = std::mem::take(&mut state.changed).into_iter();
        changed
            .map(|partition| (partition, state.wanted.contains(&partition)))
            .collect()
    }
}
