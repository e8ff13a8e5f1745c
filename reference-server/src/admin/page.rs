//! The page `/admin`: nodes, rooms, the users that talk most, where one user is, and the end of its connections. It is
//! rendered here, and has no scripts.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    app::App,
    connections::ConnectedUser,
    db::now_micros,
    error::ApiError,
    metrics::Sample,
    names::Username,
    room::{NodeOverview, Place, RoomOverview},
};

/// The rooms and users on the page.
const ROOMS_MAX: usize = 50;
const TALKERS_MAX: usize = 20;
/// Connected users of one name, in different tenants.
const FOUND_MAX: usize = 20;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'",
);

/// The page, as the template reads it.
#[derive(Debug, Template)]
#[template(path = "admin.html")]
struct Page {
    version: &'static str,
    uptime: String,
    sample: Sample,
    nodes: Vec<NodeOverview>,
    rooms: Vec<RoomOverview>,
    talkers: Vec<TalkerRow>,
    /// The name or id that was asked for.
    asked: String,
    found: Vec<Found>,
    /// The users of that name that are not connected.
    absent: Vec<Absent>,
    note: &'static str,
}

#[derive(Debug)]
struct TalkerRow {
    id: Uuid,
    name: Arc<str>,
    messages: u64,
}

/// A connected user.
#[derive(Debug)]
struct Found {
    user: ConnectedUser,
    places: Vec<Place>,
}

/// A user that is not connected.
#[derive(Debug)]
struct Absent {
    id: Uuid,
    name: String,
    tenant: Arc<str>,
    last_seen: String,
}

/// The parameters of the page.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    user: String,
    #[serde(default)]
    kicked: bool,
}

/// `GET /admin?user=<name or id>`
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let sample = app.sample();
    let name = asked.user.trim();
    let found = if name.is_empty() {
        Vec::new()
    } else {
        app.connections.find(name, FOUND_MAX)
    };
    let mut page = Page {
        version: env!("CARGO_PKG_VERSION"),
        uptime: age(sample.uptime),
        sample,
        nodes: app.hub.presence.nodes(),
        rooms: app.hub.largest(ROOMS_MAX),
        talkers: talkers(&app),
        asked: name.to_owned(),
        found: found.into_iter().map(|user| locate(&app, user)).collect(),
        absent: Vec::new(),
        note: if asked.kicked {
            "The tokens and connections of this user were ended."
        } else {
            ""
        },
    };
    if page.found.is_empty() && !page.asked.is_empty() {
        page.absent = absent(&app, &page.asked).await?;
    }
    respond(&page)
}

/// A user whose connections are to end.
#[derive(Debug, Deserialize)]
pub(super) struct Kick {
    user: Uuid,
    tenant: String,
}

/// `POST /admin/kick {user, tenant}`: ends all tokens of the user, and its connections.
pub(super) async fn kick(
    State(app): State<Arc<App>>,
    Form(kick): Form<Kick>,
) -> Result<Redirect, ApiError> {
    let is_here = app.tenants.iter().any(|tenant| **tenant == *kick.tenant);
    // Another node may have a guest.
    let is_connected = app.cluster.is_some() || app.connections.chosen_status(kick.user).is_some();
    if !is_here || !(is_connected || app.db.user(&kick.tenant, kick.user).await?.is_some()) {
        return Err(ApiError::NotFound("no such user"));
    }
    app.end_user(&kick.tenant, kick.user).await?;
    tracing::warn!(user = %kick.user, "an operator ended the tokens and connections of a user");
    Ok(Redirect::to(&format!(
        "/admin?user={}&kicked=true",
        kick.user
    )))
}

fn talkers(app: &App) -> Vec<TalkerRow> {
    let top = app.talkers.top(TALKERS_MAX, std::time::Instant::now());
    let rows = top.into_iter().map(|(id, talker)| TalkerRow {
        id,
        name: talker.name,
        messages: talker.messages,
    });
    rows.collect()
}

/// Looks the rooms up where a user is. O(rooms with sessions).
fn locate(app: &App, user: ConnectedUser) -> Found {
    let places = app.hub.presence.places(&user.id.to_string());
    Found { user, places }
}

/// Returns the registered users of a name or id.
async fn absent(app: &App, asked: &str) -> Result<Vec<Absent>, ApiError> {
    let mut found = Vec::new();
    for tenant in &app.tenants {
        let user = match (asked.parse(), Username::parse(Some(asked))) {
            (Ok(id), _) => app.db.user(tenant, id).await?,
            (_, Ok(name)) => app.db.user_named(tenant, &name).await?,
            _ => None,
        };
        found.extend(user.map(|user| Absent {
            id: user.id,
            name: user.username.clone(),
            tenant: Arc::clone(tenant),
            last_seen: user.last_seen_at.map_or_else(|| "never".into(), ago),
        }));
    }
    Ok(found)
}

fn respond(page: &Page) -> Result<Response, ApiError> {
    let html = page.render().map_err(|e| ApiError::Internal(Box::new(e)))?;
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    Ok((StatusCode::OK, headers, Html(html)).into_response())
}

/// Writes how long a time in microseconds since 1970 is ago.
fn ago(micros: i64) -> String {
    let passed = u64::try_from(now_micros() - micros).unwrap_or_default();
    format!("{} ago", age(Duration::from_micros(passed)))
}

/// Writes a duration in its two largest units.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units() {
        let text = |seconds| age(Duration::from_secs(seconds));
        assert_eq!(
            [59, 61, 3_660, 90_000].map(text),
            ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]
        );
    }
}
