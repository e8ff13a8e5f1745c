//! Three nodes on one NATS server and one PostgreSQL database: users of different nodes chat, while nodes are
//! killed and the connections between them stop.
//!
//! Nothing here says how long a thing may take: every step waits for what it expects.

mod agreement;
mod api;
mod guarded;
#[path = "../it/support/http.rs"]
mod http;
mod missed_members;
mod nodes;
#[path = "../it/support/postgres.rs"]
mod postgres;
mod roles;
mod rolling;
mod site;
mod start;
mod storage;
mod troubles;
mod viewer;

use std::{future::Future, time::Duration};

use tokio::time::sleep;

/// The time after which a condition is taken never to come, far above what any machine needs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `holds` returns something.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut holds: impl FnMut() -> F) -> T {
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = holds().await {
                return found;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("it never came: {what}"))
}
