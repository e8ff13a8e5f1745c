//! An attacker of another tenant walks every route and topic with the ids of its victim: every answer is that of an id
//! that does not exist.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    roles::{made, text},
    support::{
        client::{Server, Socket, User},
        http,
    },
};

const VICTIMS: &str = "other";

/// The things of the victim: a name for messages, and the id.
struct Estate {
    victim: User,
    ids: Vec<(&'static str, String)>,
}

/// Sends a request. The address of the tenant is that of the victim, which a token overrules.
async fn send(
    server: &Server,
    method: &Method,
    path: &str,
    token: &str,
    body: &Value,
) -> (StatusCode, Value) {
    let url = format!("http://{}/api/v1{path}", server.address);
    let mut request = http::client()
        .request(method.clone(), url)
        .header("x-tenant", VICTIMS)
        .bearer_auth(token);
    if *method != Method::GET {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

async fn register(server: &Server, name: &str) -> User {
    let body = json!({ "username": name, "password": "correct horse" });
    let request = http::client()
        .post(format!("http://{}/api/v1/auth/register", server.address))
        .header("x-tenant", VICTIMS)
        .json(&body);
    let answer = request.send().await.unwrap();
    User::new(&answer.json().await.unwrap())
}

/// Fills the tenant of the victim with one thing of each kind.
async fn settle(server: &Server) -> Estate {
    let victim = register(server, "victoria").await;
    let friend = register(server, "frida").await;
    let mut ids = vec![("user", victim.id.clone()), ("friend", friend.id.clone())];
    for (what, path, body) in [
        ("server", "/servers", json!({ "name": "Secret" })),
        ("room", "/rooms", json!({ "name": "plans" })),
        (
            "private room",
            "/rooms",
            json!({ "name": "vault", "private": true }),
        ),
        ("conversation", "/dm", json!({ "user_id": friend.id })),
    ] {
        let (status, answer) = server.post(&victim, path, body).await;
        assert!(status.is_success(), "{what}: {answer}");
        ids.push((what, text(&answer["data"]["id"])));
    }
    let id = |name: &str| {
        let found = ids.iter().find(|(what, _)| *what == name);
        found.unwrap().1.clone()
    };
    let categories = format!("/servers/{}/categories", id("server"));
    let roles = format!("/servers/{}/roles", id("server"));
    let messages = format!("/rooms/{}/messages", id("room"));
    let private = format!("/rooms/{}/messages", id("private room"));
    let direct = format!("/dm/{}/messages", id("conversation"));
    let invites = format!("/rooms/{}/invites", id("private room"));
    let content = json!({ "content": "the secret plan" });
    let mut more = Vec::new();
    for (what, path, body) in [
        ("category", &categories, json!({ "name": "plans" })),
        ("role", &roles, json!({ "name": "spies" })),
        ("message", &messages, content.clone()),
        ("private message", &private, content.clone()),
        ("direct message", &direct, content),
        ("invitation", &invites, json!({ "user_id": friend.id })),
    ] {
        let (status, answer) = server.post(&victim, path, body).await;
        assert!(status.is_success(), "{what}: {answer}");
        if what != "invitation" {
            more.push((what, text(&answer["data"]["id"])));
        }
    }
    ids.extend(more);
    Estate { victim, ids }
}

/// Returns the routes that take an id in their path.
async fn routes(server: &Server) -> Vec<(Method, String)> {
    let url = format!("http://{}/api/v1/openapi.json", server.address);
    let api: Value = http::get(url).await.unwrap().json().await.unwrap();
    let mut routes = Vec::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let known = Method::from_bytes(method.to_uppercase().as_bytes());
            routes.push((known.unwrap(), path.clone()));
        }
    }
    routes
}

/// Returns a body that every route accepts, with `id` wherever it takes one.
fn body(id: &str) -> Value {
    json!({
        "name": "x", "content": "x", "username": "x", "description": "x", "status": "idle",
        "user_id": id, "category_id": id, "server_id": id, "room_id": id, "role_id": id,
        "seq": 1, "colour": "#ffffff", "roles": [id], "role_ids": [id],
    })
}

/// Puts an id in all places of a route that take one.
fn filled(route: &str, id: &str) -> String {
    let parts = route.split('/').map(|part| match part.starts_with('{') {
        true => id,
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Removes an id from an answer.
fn without(answer: &(StatusCode, Value), id: &str) -> (StatusCode, String) {
    (answer.0, answer.1.to_string().replace(id, "<id>"))
}

async fn start() -> Server {
    Server::start_with(|config| config.tenants = vec!["default".into(), VICTIMS.into()]).await
}

#[tokio::test]
async fn no_route_tells_an_id_of_another_tenant_from_one_that_is_none() {
    let server = start().await;
    let estate = settle(&server).await;
    let mallory = server.register("mallory").await;
    let guest = server.guest().await;
    let by_path: Vec<_> = routes(&server).await;
    let by_path: Vec<_> = by_path
        .into_iter()
        .filter(|(_, p)| p.contains('{'))
        .collect();
    assert!(by_path.len() >= 20, "{by_path:?}");
    for attacker in [&mallory, &guest] {
        for (method, route) in &by_path {
            for (what, id) in &estate.ids {
                let unknown = Uuid::now_v7().to_string();
                let mut answers = Vec::new();
                for id in [id, &unknown] {
                    let path = filled(route, id);
                    let answer = send(&server, method, &path, &attacker.token, &body(id)).await;
                    answers.push(without(&answer, id));
                }
                assert_eq!(answers[0], answers[1], "{method} {route} with the {what}");
                assert!(
                    answers[0].0.is_client_error(),
                    "{method} {route}: {answers:?}"
                );
            }
        }
    }
    check_untouched(&server, &estate).await;
}

/// Ids also come in bodies and queries.
#[tokio::test]
async fn no_body_or_query_tells_an_id_of_another_tenant_from_one_that_is_none() {
    let server = start().await;
    let estate = settle(&server).await;
    let mallory = server.register("mallory").await;
    let room = server.create_room(&mallory, "Lair").await;
    let private = json!({ "name": "Den", "private": true });
    let (_, private) = server.post(&mallory, "/rooms", private).await;
    let private = text(&private["data"]["id"]);
    let posts = [
        "/dm".to_owned(),
        "/rooms".into(),
        format!("/rooms/{private}/invites"),
    ];
    let gets = [
        "/rooms?after={id}".to_owned(),
        "/users?after={id}".into(),
        "/servers?after={id}".into(),
        "/dm?before={id}".into(),
        format!("/rooms/{room}/messages?before_id={{id}}"),
        format!("/rooms/{room}/members?after={{id}}"),
    ];
    for (what, id) in &estate.ids {
        let unknown = Uuid::now_v7().to_string();
        for path in &posts {
            let mut answers = Vec::new();
            for id in [id, &unknown] {
                let mut body = body(id);
                // Names are taken by the first of two.
                body["name"] = json!("");
                let answer = send(&server, &Method::POST, path, &mallory.token, &body).await;
                answers.push(without(&answer, id));
            }
            assert_eq!(answers[0], answers[1], "POST {path} with the {what}");
        }
        for path in &gets {
            let mut answers = Vec::new();
            for id in [id, &unknown] {
                let path = path.replace("{id}", id);
                let answer = send(&server, &Method::GET, &path, &mallory.token, &json!({})).await;
                for (what, id) in &estate.ids {
                    let shown = answer.1["data"].to_string();
                    assert!(!shown.contains(id.as_str()), "{path} shows the {what}");
                }
                answers.push(answer.0);
            }
            assert_eq!(answers[0], answers[1], "GET {path} with the {what}");
        }
    }
    check_untouched(&server, &estate).await;
}

/// The things of the attacker, which it may change.
struct Lair {
    server: String,
    role: String,
    room: String,
}

impl Lair {
    async fn of(server: &Server, owner: &User) -> Self {
        let guild = made(server, owner, "/servers", json!({ "name": "Lair" })).await;
        let guild = text(&guild["id"]);
        let at = |what: &str| format!("/servers/{guild}/{what}");
        let role = made(server, owner, &at("roles"), json!({ "name": "Henchmen" })).await;
        let room = made(server, owner, &at("rooms"), json!({ "name": "Cave" })).await;
        Self {
            role: text(&role["id"]),
            room: text(&room["id"]),
            server: guild,
        }
    }

    /// Returns the requests that put an id beside own ones, with their bodies.
    fn requests(&self, owner: &str, id: &str) -> Vec<(Method, String, Value)> {
        let Self { server, role, room } = self;
        let of_member = |user: &str| format!("/servers/{server}/members/{user}/roles");
        let ids = json!({ "role_ids": [id] });
        let both = json!({ "role_ids": [role, id] });
        let named = json!({ "name": "x", "category_id": id });
        vec![
            (Method::GET, of_member(id), json!({})),
            (Method::PUT, format!("{}/{role}", of_member(id)), json!({})),
            (
                Method::DELETE,
                format!("{}/{role}", of_member(id)),
                json!({}),
            ),
            (Method::PUT, format!("{}/{id}", of_member(owner)), json!({})),
            (
                Method::DELETE,
                format!("{}/{id}", of_member(owner)),
                json!({}),
            ),
            (
                Method::PATCH,
                format!("/servers/{server}/roles/{id}"),
                json!({ "name": "x" }),
            ),
            (
                Method::DELETE,
                format!("/servers/{server}/roles/{id}"),
                json!({}),
            ),
            (
                Method::PUT,
                format!("/servers/{server}/roles"),
                both.clone(),
            ),
            (Method::PUT, format!("/rooms/{room}/roles"), ids),
            (Method::PUT, format!("/rooms/{room}/roles"), both),
            (
                Method::POST,
                format!("/servers/{server}/rooms"),
                named.clone(),
            ),
            (Method::POST, "/rooms".into(), named),
        ]
    }
}

/// Ids of others also come beside own ones.
#[tokio::test]
async fn nothing_of_ones_own_takes_an_id_of_another_tenant() {
    let server = start().await;
    let estate = settle(&server).await;
    let mallory = server.register("mallory").await;
    let lair = Lair::of(&server, &mallory).await;
    for (what, id) in &estate.ids {
        let unknown = Uuid::now_v7().to_string();
        let ours = lair.requests(&mallory.id, id);
        let none = lair.requests(&mallory.id, &unknown);
        for ((method, path, body), (_, other, none)) in ours.into_iter().zip(none) {
            let answer = send(&server, &method, &path, &mallory.token, &body).await;
            let none = send(&server, &method, &other, &mallory.token, &none).await;
            assert!(answer.0.is_client_error(), "{method} {path}: {answer:?}");
            let answer = without(&answer, id);
            assert_eq!(
                answer,
                without(&none, &unknown),
                "{method} {path} with the {what}"
            );
        }
    }
    let roles = format!("/servers/{}/roles", lair.server);
    let (_, roles) = server.get(&mallory, &roles).await;
    assert_eq!(roles["data"].as_array().unwrap().len(), 1, "{roles}");
    let room = format!("/rooms/{}", lair.room);
    let (_, room) = server.get(&mallory, &room).await;
    assert_eq!(room["data"]["limited"], false, "{room}");
    check_untouched(&server, &estate).await;
}

/// A socket may change messages by their ids, whatever room it names.
#[tokio::test]
async fn no_message_of_another_tenant_is_changed_from_a_room_of_ones_own() {
    let server = start().await;
    let estate = settle(&server).await;
    let mallory = server.register("mallory").await;
    let topic = format!("room:{}", server.create_room(&mallory, "Lair").await);
    let mut socket = server.connect(&mallory).await;
    socket.join(&topic, "1").await;
    for (what, id) in &estate.ids {
        let unknown = Uuid::now_v7().to_string();
        for event in ["edit_message", "delete_message"] {
            let mut answers = Vec::new();
            for id in [id, &unknown] {
                let payload = json!({ "id": id, "content": "x" });
                answers.push(ask(&mut socket, &topic, event, &payload).await);
            }
            assert_eq!(answers[0], answers[1], "{event} of the {what}");
            assert_eq!(answers[0]["response"], json!({ "reason": "not found" }));
        }
    }
    check_untouched(&server, &estate).await;
}

#[tokio::test]
async fn no_topic_tells_an_id_of_another_tenant_from_one_that_is_none() {
    let server = start().await;
    let estate = settle(&server).await;
    let mallory = server.register("mallory").await;
    let mut socket = server.connect(&mallory).await;
    for (what, id) in &estate.ids {
        for kind in ["room", "dm", "user", "server"] {
            let unknown = Uuid::now_v7().to_string();
            for (event, payload) in [
                ("phx_join", json!({})),
                ("new_message", json!({ "content": "x" })),
                ("edit_message", json!({ "id": id, "content": "x" })),
                ("delete_message", json!({ "id": id })),
                ("phx_leave", json!({})),
            ] {
                let ours = ask(&mut socket, &format!("{kind}:{id}"), event, &payload).await;
                let none = ask(&mut socket, &format!("{kind}:{unknown}"), event, &payload).await;
                assert_eq!(ours, none, "{event} on {kind}: with the {what}");
            }
        }
    }
    check_untouched(&server, &estate).await;
}

/// Pushes an event; if its rate is used up, after a second. Returns the reply.
async fn ask(socket: &mut Socket, topic: &str, event: &str, payload: &Value) -> Value {
    loop {
        let reply = socket.push(topic, "1", event, payload.clone()).await;
        if reply["response"]["reason"] != "rate_limited" {
            return reply;
        }
        // Many refusals in a minute would end the connection.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// A token is good in its own tenant only, whatever it is changed to.
#[tokio::test]
async fn no_token_reaches_another_tenant() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let server = start().await;
    let estate = settle(&server).await;
    let mallory = server.register("mallory").await;
    let parts: Vec<_> = mallory.token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["tenant"] = json!(VICTIMS);
    for sub in [&mallory.id, &estate.victim.id] {
        claims["sub"] = json!(sub);
        let changed = URL_SAFE_NO_PAD.encode(claims.to_string());
        let forged = format!("{}.{changed}.{}", parts[0], parts[2]);
        for (method, route) in routes(&server).await {
            let path = route.replace("{id}", &estate.ids[3].1);
            if path.starts_with("/auth/") && method == Method::POST && path != "/auth/password" {
                continue;
            }
            let (status, _) = send(&server, &method, &path, &forged, &body(sub)).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        }
        let query = format!("vsn=2.0.0&token={forged}");
        let refused = server.connect_with(&query, &[]).await;
        assert_eq!(refused.unwrap_err(), StatusCode::FORBIDDEN);
    }
    check_untouched(&server, &estate).await;
}

/// The victim still has all, and no more.
async fn check_untouched(server: &Server, estate: &Estate) {
    let victim = &estate.victim;
    for (what, path) in [
        ("room", "/rooms/{}"),
        ("private room", "/rooms/{}"),
        ("room", "/rooms/{}/messages"),
        ("private room", "/rooms/{}/messages"),
        ("conversation", "/dm/{}/messages"),
        ("server", "/servers/{}/categories"),
    ] {
        let found = estate.ids.iter().find(|(name, _)| *name == what);
        let path = path.replace("{}", &found.unwrap().1);
        let (status, answer) = server.get(victim, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        if path.ends_with("messages") {
            let messages = answer["data"].as_array().unwrap();
            assert_eq!(messages.len(), 1, "{answer}");
            assert_eq!(messages[0]["content"], "the secret plan");
        }
    }
}
