//! Registration, login, guests.

use std::{net::SocketAddr, sync::Arc};

use axum::extract::{ConnectInfo, State};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    app::App,
    auth::{CurrentUser, Identity, PublicTenant},
    db::User,
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    validate,
};

/// Digits after `guest-`.
const GUEST_DIGITS: usize = 6;

#[derive(Deserialize)]
pub(super) struct Credentials {
    username: Option<String>,
    password: Option<String>,
}

/// The caller as the API returns it.
#[derive(Serialize)]
pub(super) struct Account {
    id: Uuid,
    username: String,
    guest: bool,
    tenant: String,
}

#[derive(Serialize)]
pub(super) struct Session {
    token: String,
    user: Account,
}

impl Session {
    fn new(app: &App, identity: Identity) -> Result<Self, ApiError> {
        let token = app
            .tokens
            .issue(&identity)
            .map_err(|e| ApiError::Internal(Box::new(e)))?;
        Ok(Self {
            token,
            user: identity.into(),
        })
    }
}

impl From<Identity> for Account {
    fn from(identity: Identity) -> Self {
        Self {
            id: identity.id,
            username: identity.username.to_string(),
            guest: identity.guest,
            tenant: identity.tenant.to_string(),
        }
    }
}

fn registered(user: User, tenant: Arc<str>) -> Identity {
    Identity {
        id: user.id,
        username: user.username.into(),
        guest: false,
        tenant,
    }
}

/// `POST /auth/register`
pub(super) async fn register(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PublicTenant(tenant): PublicTenant,
    Body(input): Body<Credentials>,
) -> ApiResult<Session> {
    app.auth_limit.check(peer.ip())?;
    let mut errors = FieldErrors::default();
    let name = errors.check("username", validate::username(input.username.as_deref()));
    let password = errors.check("password", validate::password(input.password.as_deref()));
    let (Some(name), Some(password)) = (name, password) else {
        return Err(errors.into());
    };
    let hash = app.passwords.hash(password).await?;
    let user = app.db.insert_user(&tenant, name, &hash).await?;
    let user = user.ok_or(FieldErrors::one("username", "has already been taken"))?;
    created(Session::new(&app, registered(user, tenant))?)
}

/// `POST /auth/login`
pub(super) async fn login(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PublicTenant(tenant): PublicTenant,
    Body(input): Body<Credentials>,
) -> ApiResult<Session> {
    app.auth_limit.check(peer.ip())?;
    let refused = ApiError::Unauthorized("invalid username or password");
    let (Some(name), Some(password)) = (input.username, input.password) else {
        return Err(refused);
    };
    let (user, hash) = app.db.credentials(&tenant, &name).await?.unzip();
    let fits = app.passwords.verify(password, hash).await?;
    let user = user.filter(|_| fits).ok_or(refused)?;
    ok(Session::new(&app, registered(user, tenant))?)
}

/// `POST /auth/guest`: a token under a generated name; nothing is stored.
pub(super) async fn guest(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    PublicTenant(tenant): PublicTenant,
) -> ApiResult<Session> {
    app.auth_limit.check(peer.ip())?;
    let id = Uuid::new_v4();
    let digits = &id.simple().to_string()[..GUEST_DIGITS];
    let username = format!("guest-{digits}").into();
    created(Session::new(
        &app,
        Identity {
            id,
            username,
            guest: true,
            tenant,
        },
    )?)
}

/// `DELETE /auth/logout`: tokens are discarded by the client.
pub(super) async fn logout(CurrentUser(_): CurrentUser) -> ApiResult<serde_json::Value> {
    ok(serde_json::json!({ "message": "discard the token" }))
}

/// `GET /auth/me`
pub(super) async fn me(CurrentUser(user): CurrentUser) -> ApiResult<Account> {
    ok(user.into())
}
