//! The nodes of a cluster: presence over core's `Node`, everything else as events over NATS.
//!
//! The database is the truth. An event says what another node has stored, so that the clients here see it at once; a
//! node that missed events reads from the database what it lacks.

mod bus;
mod event;
mod incoming;
mod news;
mod outgoing;
mod resync;
mod seal;
mod url;

pub(crate) use bus::Cluster;
pub(crate) use event::Event;
pub(crate) use incoming::run;
pub use url::NatsUrl;
