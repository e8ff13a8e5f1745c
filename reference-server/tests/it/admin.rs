//! The page for operators.

use headcount_server::Config;
use reqwest::{Method, StatusCode, header};

use crate::support::{
    client::{Server, User},
    http,
};

async fn page(server: &Server, query: &str) -> (StatusCode, String) {
    let url = format!("http://{}/admin{query}", server.admin);
    let answer = http::get(url).await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

/// Posts the form that ends a user's connections. Returns the status, without following it.
pub(crate) async fn kick(
    server: &Server,
    user: &User,
    headers: &[(&'static str, &str)],
) -> StatusCode {
    let client = http::builder().redirect(reqwest::redirect::Policy::none());
    let mut request = client
        .build()
        .unwrap()
        .post(format!("http://{}/admin/kick", server.admin))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(format!("user={}&tenant=default", user.id));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn the_page_shows_rooms_talkers_and_where_a_user_is() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let mut socket = server.connect(&ada).await;
    let topic = format!("room:{room}");
    socket.join(&topic, "1").await;
    let message = serde_json::json!({ "content": "a note" });
    socket.push(&topic, "2", "new_message", message).await;

    let (status, text) = page(&server, "").await;
    assert_eq!(status, StatusCode::OK);
    for shown in ["Engines", "this node", "headcount-server@", ">ada</a>"] {
        assert!(text.contains(shown), "{shown} is not in {text}");
    }
    assert!(!text.contains("<script"));
    for query in ["?user=ada", &format!("?user={}", ada.id)] {
        let (_, text) = page(&server, query).await;
        for shown in [&*ada.id, &topic, "websocket", "127.0.0.1", "online"] {
            assert!(text.contains(shown), "{shown} is not in {text}");
        }
    }
    let bob = server.register("bob").await;
    let (_, text) = page(&server, "?user=bob").await;
    assert!(text.contains(&bob.id) && text.contains("never"), "{text}");
    let (_, text) = page(&server, "?user=%3Cscript%3E").await;
    assert!(!text.contains("<script") && text.contains("There is no user"));
    let style = http::get(format!("http://{}/css/admin.css", server.admin)).await;
    assert_eq!(style.unwrap().status(), StatusCode::OK);
    // Users do not reach what operators do.
    for path in ["/metrics", "/admin"] {
        let answer = http::get(format!("http://{}{path}", server.address)).await;
        assert_eq!(answer.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_operator_ends_the_connections_and_tokens_of_a_user() {
    let server = Server::start().await;
    let ada = server.register("ada").await;
    let guest = server.guest().await;
    for user in [&ada, &guest] {
        let mut socket = server.connect(user).await;
        // A page of another site that the operator has open.
        let foreign = [("origin", "http://evil.example")];
        assert_eq!(kick(&server, user, &foreign).await, StatusCode::FORBIDDEN);
        let (status, _) = server.get(user, "/auth/me").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(kick(&server, user, &[]).await, StatusCode::SEE_OTHER);
        assert_eq!(socket.closed().await, 1008);
        let (status, _) = server.get(user, "/auth/me").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{}", user.username);
    }
    // It was answered as done.
    let mut nobody = server.guest().await;
    nobody.id = uuid::Uuid::nil().to_string();
    let status = kick(&server, &nobody, &[]).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // A user who signs in again has a new token.
    let body = serde_json::json!({ "username": "ada", "password": "correct horse" });
    let login = server.call(Method::POST, "/auth/login", None, Some(body));
    let ada = User::new(&login.await.1);
    assert_eq!(server.get(&ada, "/auth/me").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_address_is_guarded_by_its_token_or_by_its_name() {
    let secret = "a token of thirty-two characters";
    let set = |config: &mut Config| config.admin_token = secret.parse().ok();
    let guarded = Server::start_with(set).await;
    let open = Server::start().await;
    let status = async |server: &Server, name: &'static str, value: &str| {
        let request = http::client().get(format!("http://{}/metrics", server.admin));
        request.header(name, value).send().await.unwrap().status()
    };
    let bearer = format!("Bearer {secret}");
    assert_eq!(
        status(&guarded, "authorization", &bearer).await,
        StatusCode::OK
    );
    for wrong in ["Bearer another token", ""] {
        let answer = status(&guarded, "authorization", wrong).await;
        assert_eq!(answer, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(status(&open, "host", "localhost:1").await, StatusCode::OK);
    let foreign = status(&open, "host", "evil.example").await;
    assert_eq!(foreign, StatusCode::FORBIDDEN);
}
