//! `Refusals`: what a NATS server has refused over a connection.

use async_nats::{Event, ServerError};
use tokio::sync::watch;

/// The frames and subscriptions that a server has refused. The server says so some time after it was
/// asked, and only to the client.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(watch::Sender<Refused>);

#[derive(Debug, Clone, Default)]
struct Refused {
    count: u64,
    newest: Option<ServerError>,
}

impl Refusals {
    /// Notes the refusal that an event of the client is, if it is one.
    pub(super) fn note(&self, event: &Event) {
        let Event::ServerError(error) = event else {
            return;
        };
        let text = error.to_string().to_ascii_lowercase();
        if text.contains("permissions violation") {
            self.0.send_modify(|refused| {
                refused.count += 1;
                refused.newest = Some(error.clone());
            });
        }
    }

    /// Returns how often something was refused.
    pub(super) fn count(&self) -> u64 {
        self.0.borrow().count
    }

    /// Waits until something has been refused.
    pub(super) async fn any(&self) -> Option<ServerError> {
        let mut refused = self.0.subscribe();
        let refused = refused.wait_for(|refused| refused.newest.is_some()).await;
        refused.ok()?.newest.clone()
    }
}
