//! `SubscriptionId`: the name of a subscription to a room.

/// Names a subscription for the life of the process; it is also the owner of its presence entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionId(pub(super) u64);

impl SubscriptionId {
    /// Reads the owner of a presence entry.
    pub(super) fn of_owner(owner: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(owner).ok()?;
        text.parse().ok().map(Self)
    }

    /// Returns the owner of the subscription's presence entry.
    pub(super) fn owner(self) -> String {
        self.0.to_string()
    }
}
