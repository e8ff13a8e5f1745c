//! The page at `/`, rendered for readers without scripts and for the time before they run: the public rooms, the last
//! messages of one, the first rows of its member list. An anonymous reader sees what a guest sees.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};
use time::{OffsetDateTime, macros::format_description};
use uuid::Uuid;

use crate::{
    app::App,
    auth::{Identity, PublicTenant},
    db::{Cursor, Message, Room},
    error::ApiError,
    names::RoomName,
    room::ShownRow,
    validate, web,
};

/// The rooms, messages and rows of a member list on one page.
const ROOMS_MAX: u32 = 100;
const MESSAGES_MAX: u32 = 50;
const ROWS_MAX: usize = 50;
/// Messages of one author within this time are one block.
const BLOCK_MICROS: i64 = 300_000_000;
/// A message of more lines scrolls.
const LINES_MAX: usize = 16;
/// Colours of avatars: as many as `css/hues.css` has classes.
const HUES: u32 = 24;

/// The page, as the template reads it.
#[derive(Debug, Default, Template)]
#[template(path = "page.html")]
struct Page {
    /// The parameter that keeps the tenant in links; empty for the first one.
    tenant_param: String,
    /// Another site at which users may sign in.
    provider: Option<Provider>,
    rooms: Vec<RoomLink>,
    /// The id after which there are more rooms.
    rooms_after: Option<Uuid>,
    room: Option<OpenRoom>,
    /// The classes of the colours of roles in the member list. The content policy names it by its hash.
    style: String,
    /// The reason why a room is not shown.
    note: &'static str,
}

#[derive(Debug)]
struct Provider {
    name: String,
    /// The address at which the way there begins.
    url: String,
}

#[derive(Debug)]
struct RoomLink {
    id: Uuid,
    name: String,
    is_current: bool,
    simulated: bool,
}

/// The room that is shown.
#[derive(Debug)]
struct OpenRoom {
    id: Uuid,
    name: String,
    description: String,
    messages: Vec<Line>,
    /// The message before which there are older ones.
    older: Option<Uuid>,
    /// True if the newest messages are shown.
    is_latest: bool,
    rows: Vec<MemberRow>,
    online: usize,
    total: usize,
}

/// A message.
#[derive(Debug)]
struct Line {
    id: Uuid,
    author: Face,
    guest: bool,
    deleted: bool,
    edited: bool,
    content: String,
    /// The date, if it is another than that of the message before.
    day: Option<String>,
    time: String,
    datetime: String,
    is_grouped: bool,
    /// True for a message of very many lines.
    is_long: bool,
}

/// An avatar and its name.
#[derive(Debug)]
struct Face {
    name: String,
    initials: String,
    hue: u32,
}

/// A row of the member list.
#[derive(Debug)]
enum MemberRow {
    Group {
        name: String,
        count: usize,
    },
    Member {
        face: Face,
        status: &'static str,
        tag: &'static str,
        /// The colour of its roles, in hexadecimal.
        colour: Option<String>,
    },
}

/// The parameters of the page's address.
#[derive(Debug, Default)]
struct Asked {
    /// The id or the name of a room.
    room: Option<String>,
    before: Option<Uuid>,
    rooms_after: Option<Uuid>,
}

impl Asked {
    /// Reads the parameters; those that cannot be are left out.
    fn read(uri: &Uri) -> Self {
        let mut asked = Self::default();
        for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*key {
                "room" => asked.room = Some(value.into_owned()),
                "before" => asked.before = value.parse().ok(),
                "rooms_after" => asked.rooms_after = value.parse().ok(),
                _ => {}
            }
        }
        asked
    }
}

/// `GET /?room=<id or name>&before=<message>&rooms_after=<room>&tenant=<name>`
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    tenant: Result<PublicTenant, ApiError>,
    uri: Uri,
) -> Response {
    let Ok(PublicTenant(tenant)) = tenant else {
        let page = Page {
            note: "There is no such site here.",
            ..Page::default()
        };
        return respond(StatusCode::NOT_FOUND, &page);
    };
    let is_first = app.tenants.first() == Some(&tenant);
    let tenant_param = (!is_first).then(|| {
        let mut query = form_urlencoded::Serializer::new(String::from("&"));
        query.append_pair("tenant", &tenant).finish()
    });
    let reader = Identity::new(Uuid::nil(), "".into(), true, tenant);
    let mut page = Page {
        tenant_param: tenant_param.unwrap_or_default(),
        provider: app.oidc.as_ref().map(|oidc| Provider {
            name: oidc.name.clone(),
            url: oidc.login_url(&reader.tenant).into(),
        }),
        ..Page::default()
    };
    match fill(&app, &reader, &Asked::read(&uri), &mut page).await {
        Ok(()) if page.note.is_empty() => respond(StatusCode::OK, &page),
        Ok(()) => respond(StatusCode::NOT_FOUND, &page),
        Err(error) => {
            tracing::error!(%error, "the page could not be rendered whole");
            page.note = "The rooms cannot be shown at the moment.";
            respond(StatusCode::SERVICE_UNAVAILABLE, &page)
        }
    }
}

fn respond(status: StatusCode, page: &Page) -> Response {
    match page.render() {
        Ok(html) => {
            let policy = web::policy_with_style(&page.style);
            let caching = [(header::CACHE_CONTROL, "no-cache")];
            (status, policy, caching, Html(html)).into_response()
        }
        Err(error) => ApiError::Internal(Box::new(error)).into_response(),
    }
}

/// Adds what `reader` may see to the page: the rooms, and the asked one or else the first.
async fn fill(
    app: &App,
    reader: &Identity,
    asked: &Asked,
    page: &mut Page,
) -> Result<(), ApiError> {
    let has_demo = app.config.demo > 0;
    let after = asked.rooms_after.unwrap_or(Uuid::nil());
    let found = match &asked.room {
        Some(name) => find(app, reader, name).await?,
        None => None,
    };
    let server = match found.as_ref().and_then(|room| room.server_id) {
        Some(server) => server,
        None => app.db.default_server(&reader.tenant).await?,
    };
    let listed = app
        .db
        .rooms(server, reader.id, has_demo, after, ROOMS_MAX)
        .await?;
    let listed: Vec<Room> = listed.into_iter().map(|of| of.room).collect();
    if listed.len() == ROOMS_MAX as usize {
        page.rooms_after = listed.last().map(|room| room.id);
    }
    let is_missing = asked.room.is_some() && found.is_none();
    let current = if asked.room.is_none() {
        let giant = listed.iter().find(|room| room.simulated);
        giant.or(listed.first()).cloned()
    } else {
        found
    };
    let current_id = current.as_ref().map(|room| room.id);
    page.rooms = listed
        .into_iter()
        .map(|room| RoomLink {
            id: room.id,
            is_current: Some(room.id) == current_id,
            name: room.name,
            simulated: room.simulated,
        })
        .collect();
    if is_missing {
        page.note = "There is no such room, or it is not public.";
    }
    if let Some(room) = current {
        page.room = open(app, room, asked.before).await?;
    }
    page.style = page.room.as_ref().map_or_else(String::new, style_of);
    Ok(())
}

/// Returns the room of that id or name, if `reader` may read it.
async fn find(app: &App, reader: &Identity, asked: &str) -> Result<Option<Room>, ApiError> {
    let room = if validate::room_id(asked).is_some() {
        match app.room(reader, asked).await {
            Ok(room) => Some(room),
            Err(ApiError::NotFound(_)) => None,
            Err(error) => return Err(error),
        }
    } else {
        let Ok(name) = RoomName::parse(Some(asked)) else {
            return Ok(None);
        };
        let room = app.db.room_named(&reader.tenant, &name.skeleton).await?;
        room.filter(|room| !room.simulated || app.config.demo > 0)
    };
    Ok(room.filter(|room| room.kind == "group" && !room.private && !room.limited))
}

async fn open(app: &App, room: Room, before: Option<Uuid>) -> Result<Option<OpenRoom>, ApiError> {
    let Some(open) = app.hub.open(&app.db, &room).await? else {
        return Ok(None);
    };
    let cursor = before.map_or(Cursor::Latest, Cursor::Before);
    let page = app.db.messages(room.id, cursor, MESSAGES_MAX).await?;
    let is_latest = before.is_none() || page.is_none();
    let messages = match page {
        Some(page) => page,
        None => {
            let latest = app.db.messages(room.id, Cursor::Latest, MESSAGES_MAX);
            latest.await?.unwrap_or_default()
        }
    };
    let first = messages.first();
    let older = first.filter(|message| message.seq > 1).map(|m| m.id);
    let (rows, occupancy) = open.first_rows(ROWS_MAX);
    Ok(Some(OpenRoom {
        id: room.id,
        name: room.name,
        description: room.description,
        older,
        is_latest,
        messages: lines(&messages),
        rows: rows.into_iter().map(MemberRow::from).collect(),
        online: occupancy.online,
        total: occupancy.total,
    }))
}

/// Returns a class for each colour of the rows: the policy admits no attribute of style.
fn style_of(room: &OpenRoom) -> String {
    let colours = room.rows.iter().filter_map(|row| match row {
        MemberRow::Member { colour, .. } => colour.as_deref(),
        MemberRow::Group { .. } => None,
    });
    let colours: BTreeSet<&str> = colours.collect();
    let rule = |colour| format!(".role-{colour}{{--role:#{colour}}}");
    colours.into_iter().map(rule).collect()
}

/// Returns the digits of a colour `#rrggbb`; none of what is no colour.
fn digits(colour: &str) -> Option<String> {
    let digits = colour.strip_prefix('#')?;
    let is_colour = digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_colour.then(|| digits.to_owned())
}

fn lines(messages: &[Message]) -> Vec<Line> {
    let mut before: Option<(&Message, String)> = None;
    let mut lines = Vec::with_capacity(messages.len());
    for message in messages {
        let time = utc(message.inserted_at);
        let day = time.map_or_else(String::new, day_of);
        let is_new_day = before.as_ref().is_none_or(|(_, of)| *of != day);
        let is_grouped = !is_new_day
            && before.as_ref().is_some_and(|(before, _)| {
                let pause = message.inserted_at - before.inserted_at;
                before.user.id == message.user.id && pause < BLOCK_MICROS
            });
        lines.push(Line {
            id: message.id,
            author: Face::new(message.user.id, &message.user.username),
            guest: message.user.guest,
            deleted: message.deleted,
            edited: message.edited_at.is_some() && !message.deleted,
            content: message.content.clone(),
            day: is_new_day.then(|| day.clone()),
            time: time.map_or_else(String::new, time_of),
            datetime: time.and_then(datetime_of).unwrap_or_default(),
            is_grouped,
            is_long: message.content.lines().count() > LINES_MAX,
        });
        before = Some((message, day));
    }
    lines
}

fn utc(micros: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).ok()
}

fn day_of(time: OffsetDateTime) -> String {
    let format = format_description!("[weekday], [day padding:none] [month repr:long] [year]");
    time.format(format).unwrap_or_default()
}

fn time_of(time: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute] UTC");
    time.format(format).unwrap_or_default()
}

fn datetime_of(time: OffsetDateTime) -> Option<String> {
    let format = &time::format_description::well_known::Rfc3339;
    time.format(format).ok()
}

impl Face {
    fn new(id: Uuid, name: &str) -> Self {
        Self {
            name: name.into(),
            initials: initials(name),
            hue: hue(&id.to_string()) % HUES,
        }
    }
}

impl From<ShownRow> for MemberRow {
    fn from(row: ShownRow) -> Self {
        match row {
            ShownRow::Group { name, count } => Self::Group {
                name: title(&name),
                count,
            },
            ShownRow::Member {
                id,
                username,
                status,
                guest,
                simulated,
                colour,
            } => Self::Member {
                colour: colour.as_deref().and_then(digits),
                face: Face::new(id, &username),
                status: status.as_str(),
                tag: match (simulated, guest) {
                    (true, _) => "simulated",
                    (_, true) => "guest",
                    _ => "",
                },
            },
        }
    }
}

fn title(group: &str) -> String {
    let mut chars = group.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>());
    first.unwrap_or_default() + chars.as_str()
}

/// Returns one or two letters for a name, as `initials` of `dom.mjs` does.
fn initials(name: &str) -> String {
    let spaced = name.replace(['-', '_', '.'], " ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let is_lettered = |word: &&&str| word.chars().next().is_some_and(char::is_alphabetic);
    let lettered: Vec<&str> = words.iter().filter(is_lettered).copied().collect();
    let words = if lettered.len() > 1 { lettered } else { words };
    let last = words.last().filter(|_| words.len() > 1);
    let letters = words.first().into_iter().chain(last);
    let letters = letters.filter_map(|word| word.chars().next());
    let initials: String = letters.flat_map(char::to_uppercase).collect();
    if initials.is_empty() {
        "?".into()
    } else {
        initials
    }
}

/// Returns the hash of an id that chooses its colour, as `hue` of `dom.mjs` does.
fn hue(id: &str) -> u32 {
    let hash = id.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let hash = (hash ^ (hash >> 15)).wrapping_mul(2_246_822_507);
    let hash = (hash ^ (hash >> 13)).wrapping_mul(3_266_489_909);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_are_those_that_the_scripts_draw() {
        for (name, expected) in [
            ("ada", "A"),
            ("ada lovelace", "AL"),
            ("guest-1f22a0", "G1"),
            ("x", "X"),
            ("", "?"),
        ] {
            assert_eq!(initials(name), expected, "{name}");
        }
        // As computed by `hue` in dom.mjs, by Node.
        assert_eq!(hue("2d1c3a44-9e0b-4c1d-8f00-0123456789ab") % 24, 5);
    }
}
