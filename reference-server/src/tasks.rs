//! The long tasks of a server: each begins again after a fault, and none ends unnoticed.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{task::JoinHandle, time};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// The pause before a task that a fault ended begins again.
const RETRY: Duration = Duration::from_secs(1);

/// Spawns a task that the server cannot do without. It begins again after each fault. If it ends before `stopping`, the
/// server stops, and says that it failed.
pub(crate) fn keep<F: Future<Output = ()> + Send>(
    app: &Arc<App>,
    name: &'static str,
    stopping: &CancellationToken,
    task: impl Fn() -> F + Send + Sync + 'static,
) -> JoinHandle<()> {
    let stopping = stopping.clone();
    let kept = Arc::clone(app);
    app.tasks.spawn(async move {
        supervise(name, task).await;
        if !stopping.is_cancelled() {
            tracing::error!(
                name,
                "a task has ended without which the server cannot go on"
            );
            let _ = kept.ended.set(name);
        }
    })
}

/// Runs a task to its end, and begins it again after each fault.
pub(crate) async fn supervise<F: Future<Output = ()>>(name: &str, task: impl Fn() -> F) {
    while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
        tracing::error!(name, "a task was cut short by a fault, and begins again");
        time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_a_fault_ends_begins_again() {
        let begun = AtomicU32::new(0);
        supervise("test", || async {
            assert_ne!(begun.fetch_add(1, Ordering::Relaxed), 0, "a fault");
        })
        .await;
        assert_eq!(begun.load(Ordering::Relaxed), 2);
    }
}
