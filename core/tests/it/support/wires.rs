//! Tests that hold on every wire.

use headcount::replica::{self, Signal};
use headcount::testing::{Wire, Wire1, Wire2, wire2};
use headcount::{Presence, PresenceConfig, ReplicaId};

/// Makes tests of functions with a wire as their parameter: one of each on each wire.
macro_rules! on_both_wires {
    ($($name:ident,)*) => {
        mod wire1 {
            $(#[test]
            fn $name() {
                super::$name::<headcount::testing::Wire1>();
            })*
        }

        mod wire2 {
            $(#[test]
            fn $name() {
                super::$name::<headcount::testing::Wire2>();
            })*
        }
    };
}

/// Makes tests of async functions as [`on_both_wires`] does, on a clock that stands still.
macro_rules! on_both_wires_paused {
    ($($name:ident,)*) => {
        mod wire1_paused {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name::<headcount::testing::Wire1>().await;
            })*
        }

        mod wire2_paused {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name::<headcount::testing::Wire2>().await;
            })*
        }
    };
}

pub(crate) use {on_both_wires, on_both_wires_paused};

/// A wire, and how tests read its events.
pub(crate) trait TestWire: Wire {
    const DIFFS_DROPPED: Self::Event;

    /// Returns the replica that fell silent.
    fn down(event: &Self::Event) -> Option<&ReplicaId>;

    /// Returns the replica whose entries were refused, and the reason.
    fn refusal(event: &Self::Event) -> Option<(&ReplicaId, String)>;

    /// Returns the sign that was received.
    fn signal(event: &Self::Event) -> Option<&Signal>;
}

impl TestWire for Wire1 {
    const DIFFS_DROPPED: replica::Event = replica::Event::DiffsDropped;

    fn down(event: &replica::Event) -> Option<&ReplicaId> {
        match event {
            replica::Event::ReplicaDown(id) => Some(id),
            _ => None,
        }
    }

    fn refusal(event: &replica::Event) -> Option<(&ReplicaId, String)> {
        match event {
            replica::Event::Refused { origin, error, .. } => Some((origin, error.to_string())),
            _ => None,
        }
    }

    fn signal(event: &replica::Event) -> Option<&Signal> {
        match event {
            replica::Event::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }
}

impl TestWire for Wire2 {
    const DIFFS_DROPPED: wire2::Event = wire2::Event::DiffsDropped;

    fn down(event: &wire2::Event) -> Option<&ReplicaId> {
        match event {
            wire2::Event::ReplicaDown(id) => Some(id),
            _ => None,
        }
    }

    fn refusal(event: &wire2::Event) -> Option<(&ReplicaId, String)> {
        match event {
            wire2::Event::Refused { id, error, .. } => Some((id, error.to_string())),
            _ => None,
        }
    }

    fn signal(event: &wire2::Event) -> Option<&Signal> {
        match event {
            wire2::Event::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }
}

/// Makes a presence of the first life of a name.
pub(crate) fn presence<W: Wire>(name: &str, config: PresenceConfig) -> Presence<W> {
    W::presence(ReplicaId::new(name, 1, 0).unwrap(), config)
}
