//! `Harness`: a server without listener, for properties of what clients send: any frames, any requests.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Method, Request, StatusCode, header},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::{
    api,
    app::App,
    auth::Identity,
    config::Config,
    db::{NewRoom, RoleContent},
    names::Username,
    net::Peer,
    opened,
    socket::{Channels, Choices, Vsn, longpoll::Polls},
};

/// The events of the socket; the payload is the input.
const EVENTS: [&str; 17] = [
    "phx_join",
    "phx_leave",
    "heartbeat",
    "access_token",
    "new_message",
    "edit_message",
    "delete_message",
    "typing",
    "stop_typing",
    "set_status",
    "member_list_open",
    "member_list_move",
    "member_list_close",
    "member_list_resync",
    "member_list_find",
    "member_list_resume",
    "member_list_search",
];

/// The routes of the API, without those that compute a hash. `{room}`, `{server}`, `{user}` and `{role}` are the
/// harness's own, `*` is the input.
const ROUTES: [(Method, &str); 55] = [
    (Method::GET, "/auth/me"),
    (Method::GET, "/users?limit=*"),
    (Method::GET, "/users/*"),
    (Method::GET, "/rooms?after=*"),
    (Method::POST, "/rooms"),
    (Method::GET, "/rooms/*"),
    (Method::GET, "/rooms/{room}"),
    (Method::DELETE, "/rooms/*"),
    (Method::POST, "/rooms/{room}/join"),
    (Method::DELETE, "/rooms/{room}/leave"),
    (Method::GET, "/rooms/{room}/members?limit=*"),
    (Method::GET, "/rooms/{room}/messages?before_id=*"),
    (Method::GET, "/rooms/{room}/messages?after_seq=*"),
    (Method::POST, "/rooms/{room}/messages"),
    (Method::GET, "/servers?after=*"),
    (Method::POST, "/servers"),
    (Method::DELETE, "/servers/*"),
    (Method::GET, "/servers/*/rooms"),
    (Method::POST, "/servers/*/rooms"),
    (Method::GET, "/servers/*/categories"),
    (Method::POST, "/servers/*/categories"),
    (Method::DELETE, "/categories/*"),
    (Method::PATCH, "/messages/*"),
    (Method::DELETE, "/messages/*"),
    (Method::PUT, "/rooms/{room}/read"),
    (Method::POST, "/rooms/{room}/invites"),
    (Method::GET, "/invites"),
    (Method::POST, "/invites/*/accept"),
    (Method::POST, "/invites/*/decline"),
    (Method::PUT, "/auth/status"),
    (Method::GET, "/stats"),
    (Method::GET, "/dm?before=*"),
    (Method::GET, "/dm"),
    (Method::POST, "/dm"),
    (Method::GET, "/dm/*/messages"),
    (Method::POST, "/dm/*/messages"),
    (Method::POST, "/auth/guest?tenant=*"),
    (Method::POST, "/auth/oidc"),
    (Method::GET, "/*"),
    (Method::DELETE, "/auth/logout"),
    (Method::GET, "/servers/{server}/roles"),
    (Method::POST, "/servers/{server}/roles"),
    (Method::PUT, "/servers/{server}/roles"),
    (Method::PATCH, "/servers/{server}/roles/{role}"),
    (Method::PATCH, "/servers/*/roles/*"),
    (Method::DELETE, "/servers/{server}/roles/*"),
    (Method::GET, "/servers/{server}/members/{user}/roles"),
    (Method::GET, "/servers/*/members/*/roles"),
    (Method::PUT, "/servers/{server}/members/{user}/roles/{role}"),
    (Method::PUT, "/servers/{server}/members/*/roles/*"),
    (
        Method::DELETE,
        "/servers/{server}/members/{user}/roles/{role}",
    ),
    (Method::GET, "/rooms/{room}/roles"),
    (Method::PUT, "/rooms/{room}/roles"),
    (Method::POST, "/servers/{server}/rooms"),
    (Method::GET, "/rooms/joined?after=*"),
];

/// A server without listener, with a user, and a server, a room and a role of its own.
pub struct Harness {
    runtime: Runtime,
    app: Arc<App>,
    router: Router,
    user: Identity,
    room: String,
    server: String,
    role: String,
    _dir: TempDir,
}

impl std::fmt::Debug for Harness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Harness({})", self.room)
    }
}

impl Harness {
    /// Opens a server in a directory of its own.
    ///
    /// # Panics
    /// The directory or the database cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime starts");
        let dir = tempfile::tempdir().expect("a directory can be made");
        let config = Config {
            data_dir: dir.path().into(),
            refusal_delay_ms: 0,
            join_refusal_delay_ms: 0,
            jwt_secret: "a secret of thirty-two characters".parse().ok(),
            ..Config::default()
        };
        let (app, user, room, role) = runtime.block_on(async {
            let app = opened::open(config).await.expect("the database opens");
            let name = Username::parse(Some("ada")).expect("a good name");
            let user = app.db.insert_user("default", name, "").await;
            let user = user.expect("it is stored").expect("it is the first");
            let server = app
                .db
                .insert_server("default", "guild", "guild", user.id, 1);
            let server = server.await.expect("it is stored").added();
            let server = server.expect("it is the first");
            let role = RoleContent {
                name: "crew",
                skeleton: "crew",
                colour: "",
                hoisted: true,
            };
            let role = app.db.insert_role(server.id, &role, 1).await;
            let role = role
                .expect("it is stored")
                .added()
                .expect("it is the first");
            let new = NewRoom {
                tenant: "default",
                server: Some(server.id),
                name: "room",
                skeleton: "room",
                owner: Some(user.id),
                ..NewRoom::default()
            };
            let room = app.db.insert_room(&new).await.expect("it is stored");
            let name = user.username.into();
            let user = Identity::new(user.id, name, false, "default".into());
            let room = room.added().expect("it is the first");
            (Arc::new(app), user, room, role)
        });
        let polls = Arc::new(Polls::new(Arc::clone(&app)));
        Self {
            router: api::router(&app, &polls),
            runtime,
            app,
            user,
            room: room.id.to_string(),
            server: role.server_id.to_string(),
            role: role.id.to_string(),
            _dir: dir,
        }
    }

    /// Sends frames as one client does: the choice of each says how its bytes are used.
    ///
    /// # Panics
    /// A handler panicked, a frame to the client is no JSON, or the client is not served any more.
    pub fn socket<'a>(&self, steps: impl Iterator<Item = (u8, &'a [u8])>) {
        self.runtime.block_on(async {
            let vsn = Vsn::V2;
            let guest = Identity {
                id: Uuid::new_v4(),
                username: "guest-1".into(),
                guest: true,
                ..self.user.clone()
            };
            let mut channels =
                Channels::new(Arc::clone(&self.app), vsn, guest, Choices::resumable());
            let mut is_ended = false;
            for (choice, bytes) in steps {
                let text = String::from_utf8_lossy(bytes);
                let handled = match choice {
                    0xff => channels.handle_binary(bytes).await,
                    0xfe => channels.handle_text(&text).await,
                    _ => {
                        let event = EVENTS[usize::from(choice) % EVENTS.len()];
                        let topic = self.topic(event);
                        let frame = format!(r#"["1","2","{topic}","{event}",{text}]"#);
                        channels.handle_text(&frame).await
                    }
                };
                is_ended |= handled.is_err();
                self.check_frames(&channels);
                if is_ended {
                    return;
                }
            }
            let heartbeat = r#"[null,"last","phoenix","heartbeat",{}]"#;
            let last = channels.handle_text(heartbeat).await;
            assert!(last.is_ok() && self.check_frames(&channels) > 0);
        });
        self.app.beat(std::time::Instant::now());
    }

    fn topic(&self, event: &str) -> String {
        match event {
            "heartbeat" | "access_token" => "phoenix".into(),
            _ => format!("room:{}", self.room),
        }
    }

    /// Checks the frames that wait for the client. Returns how many there were.
    fn check_frames(&self, channels: &Channels) -> usize {
        let mut count = 0;
        while let Some(frame) = channels.outbox().pop() {
            let frame: Value = serde_json::from_str(&frame).expect("a frame is JSON");
            assert_ne!(frame[3], "phx_error", "a handler panicked: {frame}");
            let reason = &frame[4]["response"]["reason"];
            assert!(
                reason != "join crashed" && reason != "internal error",
                "{frame}"
            );
            count += 1;
        }
        count
    }

    /// Puts the ids of the harness's own things into a path.
    fn name_own(&self, path: &str) -> String {
        let path = path.replace("{room}", &self.room);
        let path = path.replace("{server}", &self.server);
        let path = path.replace("{role}", &self.role);
        path.replace("{user}", &self.user.id.to_string())
    }

    /// Sends requests as a user does: the choice of each names the route.
    ///
    /// # Panics
    /// A handler panicked, an answer blames the server, or it is not in the envelope of the API.
    pub fn rest<'a>(&self, steps: impl Iterator<Item = (u8, &'a [u8])>) {
        let token = self.app.tokens.issue(&self.user).expect("it is signed");
        for (choice, bytes) in steps {
            self.send(&token, choice, bytes);
        }
    }

    /// Sends a request, checks its answer, and returns the status; `None` if the path is none.
    fn send(&self, token: &str, choice: u8, bytes: &[u8]) -> Option<StatusCode> {
        let (method, path) = &ROUTES[usize::from(choice) % ROUTES.len()];
        let input: String = form_urlencoded::byte_serialize(bytes).collect();
        let path = self.name_own(path).replace('*', &input);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .extension(ConnectInfo(Peer::local()))
            .body(Body::from(bytes.to_vec()));
        let request = request.ok()?;
        let (status, body) = self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await;
            let response = response.unwrap_or_else(|never| match never {});
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await;
            (status, body.expect("a body is whole"))
        });
        assert!(!status.is_server_error(), "{method} {path}: {status}");
        let body: Value = serde_json::from_slice(&body)
            .unwrap_or_else(|e| panic!("{method} {path}: {status} {e}"));
        let wanted = match status {
            status if status.is_success() => "data",
            StatusCode::UNPROCESSABLE_ENTITY => "errors",
            _ => "error",
        };
        let has_envelope = body.get(wanted).is_some();
        assert!(has_envelope, "{method} {path}: {status} {body}");
        Some(status)
    }
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Routes that compute a hash: too slow for as many requests as a fuzzer makes.
    const HASHING: [&str; 3] = [
        "POST /auth/login",
        "POST /auth/register",
        "POST /auth/password",
    ];

    /// Names a route without the names of its parameters.
    fn shape(method: &str, path: &str) -> String {
        let path = path.split('?').next().unwrap_or_default();
        let parts = path.split('/').map(|part| match part {
            "*" => "{}",
            part if part.starts_with('{') => "{}",
            part => part,
        });
        let path: Vec<_> = parts.collect();
        format!("{} {}", method.to_uppercase(), path.join("/"))
    }

    #[test]
    fn the_routes_are_those_of_the_description() {
        let harness = Harness::new();
        let request = Request::get("/api/v1/openapi.json").extension(ConnectInfo(Peer::local()));
        let request = request.body(Body::empty()).unwrap();
        let body = harness.runtime.block_on(async {
            let response = harness.router.clone().oneshot(request).await.unwrap();
            to_bytes(response.into_body(), usize::MAX).await.unwrap()
        });
        let description: Value = serde_json::from_slice(&body).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                described.insert(shape(method, path));
            }
        }
        for hashing in HASHING {
            assert!(described.remove(hashing), "{hashing}");
        }
        let mut sent: BTreeSet<String> = ROUTES
            .iter()
            .map(|(method, path)| shape(method.as_str(), path))
            .collect();
        // None that there is.
        assert!(sent.remove("GET /{}"));
        assert_eq!(sent, described);
    }

    /// A route that finds nothing tries less of a handler than it could.
    #[test]
    fn what_the_harness_has_of_its_own_is_found() {
        let harness = Harness::new();
        let token = harness.app.tokens.issue(&harness.user).unwrap();
        let mut found = 0;
        for (choice, (method, path)) in (0..).zip(&ROUTES) {
            if path.contains('{') && !path.contains('*') && *method == Method::GET {
                let status = harness.send(&token, choice, b"");
                assert_eq!(status, Some(StatusCode::OK), "{method} {path}");
                found += 1;
            }
        }
        assert_eq!(found, 4);
    }
}
