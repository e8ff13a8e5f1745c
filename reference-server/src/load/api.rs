//! The preparation of a run by the HTTP API: a user that owns the rooms, and the tokens of the guests.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Method, header};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::sleep;
use uuid::Uuid;

use super::{Load, LoadError};
use crate::{
    auth::{Identity, Tokens},
    config::Secret,
    http_client,
};

/// The answer about a name that another user has.
const TAKEN: &str = "has already been taken";

/// The API of the server, as the owner of the rooms.
pub(super) struct Api {
    client: Client,
    base: String,
    tenant: String,
    /// The number of the run, which is in the names of its rooms.
    run: String,
    owner: String,
    tokens: Option<Tokens>,
}

impl Api {
    /// Signs in as the user that owns the rooms of this run.
    pub(super) async fn connect(load: &Load) -> Result<Self, LoadError> {
        let client = http_client::builder().build();
        let mut api = Self {
            client: client.map_err(|error| LoadError::Unreachable {
                url: load.url.to_string(),
                error,
            })?,
            base: load.url.as_str().trim_end_matches('/').to_owned(),
            tenant: load.tenant.clone(),
            run: Uuid::new_v4().simple().to_string()[..10].to_owned(),
            owner: String::new(),
            tokens: load.jwt_secret.as_ref().map(Tokens::new),
        };
        api.owner = api.sign_in(load).await?;
        Ok(api)
    }

    /// Signs in as the user that owns the rooms, which the first run registers. Returns its token.
    async fn sign_in(&self, load: &Load) -> Result<String, LoadError> {
        let body = json!({ "username": load.owner, "password": password(load) });
        let known = self
            .call(Method::POST, "/auth/login", Some(body.clone()))
            .await;
        let answer = match known {
            Err(LoadError::Refused { status: 401, .. }) => {
                let made = self.call(Method::POST, "/auth/register", Some(body));
                made.await.map_err(|error| match error {
                    LoadError::Refused { text, .. } if text.contains(TAKEN) => {
                        LoadError::OwnerTaken(load.owner.clone())
                    }
                    error => error,
                })
            }
            known => known,
        };
        answer?.text("token")
    }

    /// Creates rooms. Returns their ids.
    pub(super) async fn create_rooms(&self, rooms: u32) -> Result<Vec<String>, LoadError> {
        let mut ids = Vec::new();
        for n in 0..rooms {
            let body = json!({ "name": format!("load-{}-{n}", self.run) });
            let id = self
                .call_patiently(Method::POST, "/rooms", Some(body))
                .await
                .and_then(|answer| answer.text("id"));
            match id {
                Ok(id) => ids.push(id),
                Err(error) => {
                    self.delete_rooms(&ids).await;
                    return Err(error);
                }
            }
        }
        Ok(ids)
    }

    /// Deletes rooms; those that cannot be stay.
    pub(super) async fn delete_rooms(&self, rooms: &[String]) {
        for room in rooms {
            let path = format!("/rooms/{room}");
            if let Err(error) = self.call_patiently(Method::DELETE, &path, None).await {
                tracing::warn!(%error, "a room of the run could not be deleted");
            }
        }
    }

    /// Returns the token of the `n`-th guest: signed here, or asked from the server.
    pub(super) async fn guest(&self, load: &Load, n: u32) -> Result<String, LoadError> {
        let Some(tokens) = &self.tokens else {
            let answer = self.call(Method::POST, "/auth/guest", None).await?;
            return answer.text("token");
        };
        let name = format!("guest-{n:06x}").into();
        let guest = Identity::new(Uuid::new_v4(), name, true, load.tenant.as_str().into());
        let signed = tokens.issue(&guest);
        signed.map_err(|error| LoadError::Token(error.to_string()))
    }

    /// Returns the address of the socket for a token.
    pub(super) fn socket_url(&self, token: &str) -> String {
        let base = self.base.replacen("http", "ws", 1);
        format!("{base}/chat/socket/websocket?vsn=2.0.0&token={token}")
    }

    /// Calls again whenever the owner has made or deleted too many rooms lately.
    async fn call_patiently(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, LoadError> {
        loop {
            match self.call(method.clone(), path, body.clone()).await {
                Err(LoadError::Refused {
                    status: 429, text, ..
                }) => {
                    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
                    let wait = answer["retry_after_ms"].as_u64().unwrap_or(1_000);
                    sleep(Duration::from_millis(wait)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, LoadError> {
        let what = format!("{method} {path}");
        let mut request = self
            .client
            .request(method, format!("{}/api/v1{path}", self.base))
            .header("x-tenant", &self.tenant);
        if !self.owner.is_empty() {
            request = request.bearer_auth(&self.owner);
        }
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let unreachable = |error| LoadError::Unreachable {
            url: self.base.clone(),
            error,
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Answer { what, text });
        }
        Err(LoadError::Refused {
            what,
            status: status.as_u16(),
            text,
        })
    }
}

/// Returns the password of the owner, which all runs with the same secret know.
fn password(load: &Load) -> String {
    let secret = load.jwt_secret.as_ref().map(Secret::as_bytes);
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.unwrap_or_default()).expect("any length is a key");
    mac.update(b"headcount-server load");
    let digest = mac.finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer to a request that was not refused.
struct Answer {
    what: String,
    text: String,
}

impl Answer {
    /// Returns a field of the data.
    fn text(self, field: &str) -> Result<String, LoadError> {
        let answer: Option<Value> = serde_json::from_str(&self.text).ok();
        let text = answer.and_then(|answer| Some(answer["data"][field].as_str()?.to_owned()));
        text.ok_or_else(|| LoadError::Malformed {
            what: self.what,
            text: self.text,
        })
    }
}
