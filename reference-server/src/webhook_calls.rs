//! The calls of the webhook: signed requests that tell a site of what happens here.
//!
//! Events are rows until the site has answered 2xx: each is sent at least once, again under the same id, with growing
//! pauses for an hour.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header;
use sha2::Sha256;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    app::App,
    config::Secret,
    db::{StorageError, WaitingEvent, now_micros},
    error::chain,
    webhook_site::Site,
    webhooks::WAITING_MAX,
};

/// Events in one request.
const BATCH: u32 = 100;
/// The first pause after a failure, which doubles up to the longest, and the age at which an event is given up.
const PAUSE_MICROS: i64 = 1_000_000;
const PAUSE_MICROS_MAX: i64 = 300_000_000;
const AGE_MICROS_MAX: i64 = 3_600_000_000;
/// The time after which due events are looked for without a call.
const LOOK: Duration = Duration::from_millis(500);

/// Stores and sends events until `shutdown`; what is stored then is sent after the next start.
pub(crate) async fn run(app: Arc<App>, shutdown: CancellationToken) {
    let Some(site) = &app.webhook_site else {
        return;
    };
    while !shutdown.is_cancelled() {
        let wake = timeout(LOOK, app.webhooks.noted());
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = wake => {}
        }
        if let Err(error) = store(&app).await {
            tracing::error!(%error, "events of the webhook could not be stored");
            continue;
        }
        if let Err(error) = send_due(&app, site, &shutdown).await {
            tracing::error!(%error, "the queue of the webhook failed");
        }
    }
}

/// Stores the events that were noted, and drops the oldest over the bound. On a failure they wait for the next attempt.
pub(crate) async fn store(app: &App) -> Result<(), StorageError> {
    let mut noted = app.webhooks.take();
    count_dropped(app, mem::take(&mut noted.dropped));
    if noted.events.is_empty() && !noted.has_stored {
        return Ok(());
    }
    let added = app.db.add_webhook_events(&noted.events, WAITING_MAX).await;
    match added {
        Ok(dropped) => {
            count_dropped(app, dropped);
            Ok(())
        }
        Err(error) => {
            app.webhooks.put_back(noted);
            Err(error)
        }
    }
}

fn count_dropped(app: &App, dropped: u64) {
    if dropped > 0 {
        app.metrics.webhook_events("dropped", dropped);
        tracing::error!(
            dropped,
            "events of the webhook were dropped: too many waited"
        );
    }
}

/// Sends the events that are due, batch by batch.
async fn send_due(
    app: &App,
    site: &Site,
    shutdown: &CancellationToken,
) -> Result<(), StorageError> {
    while !shutdown.is_cancelled() {
        let due = app.db.due_webhook_events(BATCH).await?;
        if due.is_empty() {
            return Ok(());
        }
        let events: Vec<_> = due.iter().map(|event| event.payload.as_str()).collect();
        let body = format!(r#"{{"events":[{}]}}"#, events.join(","));
        let signature = signature(&site.secret, body.as_bytes());
        let request = site
            .client
            .post(&site.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-headcount-signature", signature)
            .body(body);
        let asked = Instant::now();
        let answer = tokio::select! {
            () = shutdown.cancelled() => {
                let unsent: Vec<_> = due.iter().map(|event| event.id).collect();
                return app.db.release_webhook_events(&unsent).await;
            }
            answer = request.send() => answer,
        };
        let failure = match answer.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => None,
            Ok(status) => Some(status.to_string()),
            Err(error) => Some(chain(&error.without_url())),
        };
        let outcome = if failure.is_none() { "ok" } else { "failed" };
        app.metrics.webhook_call(outcome, asked.elapsed());
        let Some(failure) = failure else {
            let sent: Vec<_> = due.iter().map(|event| event.id).collect();
            app.db.remove_webhook_events(&sent).await?;
            app.metrics.webhook_events("sent", sent.len() as u64);
            continue;
        };
        tracing::warn!(%failure, events = due.len(), "the webhook was not answered well");
        put_off(app, &due).await?;
    }
    Ok(())
}

/// Gives up the events that were tried for too long, and lets the others wait.
async fn put_off(app: &App, failed: &[WaitingEvent]) -> Result<(), StorageError> {
    let (old, pauses) = sort_failed(failed, now_micros());
    if !old.is_empty() {
        tracing::error!(dropped = old.len(), "events of the webhook were given up");
        app.db.remove_webhook_events(&old).await?;
        app.metrics.webhook_events("given_up", old.len() as u64);
    }
    app.db.delay_webhook_events(&pauses).await
}

/// Returns the events that are given up at `now`, and the others with their pauses in microseconds.
fn sort_failed(failed: &[WaitingEvent], now: i64) -> (Vec<Uuid>, Vec<(Uuid, i64)>) {
    let (old, young): (Vec<_>, Vec<_>) = failed
        .iter()
        .partition(|event| now - event.inserted_at >= AGE_MICROS_MAX);
    let old = old.iter().map(|event| event.id).collect();
    let pauses = young.iter().map(|event| (event.id, pause(event.attempts)));
    (old, pauses.collect())
}

/// Returns the pause after that many failures.
fn pause(attempts: u32) -> i64 {
    let doubled = PAUSE_MICROS.saturating_mul(1_i64 << attempts.min(20));
    doubled.min(PAUSE_MICROS_MAX)
}

/// Signs a body: `sha256=` and the HMAC in hexadecimal.
fn signature(secret: &Secret, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key may have any length");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let seconds = |attempts| pause(attempts) / 1_000_000;
        assert_eq!(
            [0, 1, 2, 3, 8, 9, 99].map(seconds),
            [1, 2, 4, 8, 256, 300, 300]
        );
    }

    #[test]
    fn an_event_is_given_up_an_hour_after_it_happened() {
        let event = |id, inserted_at| WaitingEvent {
            id: Uuid::from_u128(id),
            payload: String::new(),
            attempts: 2,
            inserted_at,
        };
        let start = 1_000_000_000_000;
        let events = [event(1, start), event(2, start + 1)];
        for (passed, given_up) in [(3_599_999_999, 0), (3_600_000_000, 1), (3_600_000_001, 2)] {
            let (old, pauses) = sort_failed(&events, start + passed);
            assert_eq!((old.len(), pauses.len()), (given_up, 2 - given_up));
            assert!(pauses.iter().all(|(_, pause)| *pause == 4_000_000));
        }
    }

    /// As computed by `openssl dgst -sha256 -hmac`.
    #[test]
    fn bodies_are_signed() {
        let secret: Secret = "k".repeat(32).parse().unwrap();
        let expected = "3ee8b232b00d38a65125697b8ca96902d432dd558eb14939ffda0723647e7f81";
        assert_eq!(signature(&secret, b"{}"), format!("sha256={expected}"));
    }
}
