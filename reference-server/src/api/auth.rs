//! Registration, login, guests.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::openapi::{Envelope, Refusals};
use crate::{
    app::App,
    auth::{CurrentUser, Identity, PublicTenant},
    db::{User, now_micros},
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    meters::Kind,
    names::{GUEST_PREFIX, Username},
    net::ClientAddress,
    room::session_status,
    validate,
};

/// Digits after `GUEST_PREFIX`.
const GUEST_DIGITS: usize = 6;

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct Credentials {
    username: Option<String>,
    password: Option<String>,
}

/// The caller as the API returns it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Account {
    id: Uuid,
    username: String,
    guest: bool,
    tenant: String,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Session {
    token: String,
    user: Account,
}

impl Session {
    /// Returns a session with a token that was issued.
    pub(super) fn of(token: String, identity: Identity) -> Self {
        Self {
            token,
            user: identity.into(),
        }
    }

    fn new(app: &App, identity: Identity) -> Result<Self, ApiError> {
        let token = app
            .tokens
            .issue(&identity)
            .map_err(|e| ApiError::Internal(Box::new(e)))?;
        Ok(Self::of(token, identity))
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
    Identity::new(user.id, user.username.into(), false, tenant)
}

/// `POST /auth/register`
#[utoipa::path(
    post,
    path = "/auth/register",
    tag = "auth",
    operation_id = "auth_register",
    request_body = Credentials,
    responses((status = 201, body = Envelope<Session>), Refusals),
    security(()),
)]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
    Body(input): Body<Credentials>,
) -> ApiResult<Session> {
    app.charge_sign_in(address)?;
    let mut errors = FieldErrors::default();
    let name = errors.check("username", Username::parse(input.username.as_deref()));
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
#[utoipa::path(
    post,
    path = "/auth/login",
    tag = "auth",
    operation_id = "auth_login",
    request_body = Credentials,
    responses((status = 200, body = Envelope<Session>), Refusals),
    security(()),
)]
pub(super) async fn login(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
    Body(input): Body<Credentials>,
) -> ApiResult<Session> {
    app.charge_sign_in(address)?;
    let refused = || ApiError::Unauthorized("invalid username or password");
    let (Some(name), Some(password)) = (input.username, input.password) else {
        return Err(refused());
    };
    // A password that is changed while it is checked is one of before: its change ends the token.
    let begun = now_micros();
    // A name that cannot be is that of no user.
    let name = Username::parse(Some(&name)).ok();
    let known = match name {
        Some(name) => app.db.credentials(&tenant, &name).await?,
        None => None,
    };
    let (user, hash) = known.unzip();
    let fits = app.passwords.verify(password, hash.clone()).await?;
    let user = user.filter(|_| fits).ok_or_else(refused)?;
    if app.db.password_hash(user.id).await? != hash {
        return Err(refused());
    }
    let identity = registered(user, tenant).issued_at(begun);
    ok(Session::new(&app, identity)?)
}

/// `POST /auth/guest`: a token under a generated name; nothing is stored.
#[utoipa::path(
    post,
    path = "/auth/guest",
    tag = "auth",
    operation_id = "auth_guest",
    responses((status = 201, body = Envelope<Session>), Refusals),
    security(()),
)]
pub(super) async fn guest(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
) -> ApiResult<Session> {
    app.charge_sign_in(address)?;
    let id = Uuid::new_v4();
    let digits = &id.simple().to_string()[..GUEST_DIGITS];
    let username = format!("{GUEST_PREFIX}{digits}").into();
    let identity = Identity::new(id, username, true, tenant);
    created(Session::new(&app, identity)?)
}

/// `DELETE /auth/logout`: ends the token, and the connections that were opened with it.
#[utoipa::path(
    delete,
    path = "/auth/logout",
    tag = "auth",
    operation_id = "auth_logout",
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
) -> ApiResult<Value> {
    let Some(token) = caller.token_id else {
        // A site signed it, without an id.
        return ok(json!({ "revoked": false }));
    };
    let change = Arc::clone(&app);
    app.finish(async move {
        change.db.revoke_token(token, caller.expires_at).await?;
        change.revoke_token(caller.id, token, caller.expires_at);
        Ok::<_, ApiError>(())
    })
    .await?;
    ok(json!({ "revoked": true }))
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct PasswordChange {
    password: Option<String>,
    new_password: Option<String>,
}

/// `POST /auth/password`: changes the password, ends all tokens and connections of the user, and
/// returns a new token.
#[utoipa::path(
    post,
    path = "/auth/password",
    tag = "auth",
    operation_id = "auth_change_password",
    request_body = PasswordChange,
    responses((status = 200, body = Envelope<Session>), Refusals),
)]
pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<PasswordChange>,
) -> ApiResult<Session> {
    app.charge_sign_in(address)?;
    if caller.guest {
        return Err(ApiError::Forbidden("guests have no password"));
    }
    let new = validate::password(input.new_password.as_deref())
        .map_err(|message| FieldErrors::one("new_password", message))?;
    let wrong = || FieldErrors::one("password", "is wrong");
    let Some(old) = app.db.password_hash(caller.id).await? else {
        let reason = "this account has no password: it signs in at another site";
        return Err(ApiError::Forbidden(reason));
    };
    let given = input.password.unwrap_or_default();
    if !app.passwords.verify(given, Some(old.clone())).await? {
        return Err(wrong().into());
    }
    let hash = app.passwords.hash(new).await?;
    let change = Arc::clone(&app);
    let user = caller.id;
    let changed = app.finish(async move {
        let changed = change.db.change_password(user, &old, &hash).await?;
        let changed = changed.ok_or_else(wrong)?;
        change.end_connections(user, true).await?;
        Ok::<_, ApiError>(changed)
    });
    let changed = changed.await?;
    let identity = Identity::new(user, caller.username, false, caller.tenant).issued_at(changed);
    ok(Session::new(&app, identity)?)
}

/// `GET /auth/me`
#[utoipa::path(
    get,
    path = "/auth/me",
    tag = "auth",
    operation_id = "auth_me",
    responses((status = 200, body = Envelope<Me>), Refusals),
)]
pub(super) async fn me(
    State(app): State<Arc<App>>,
    CurrentUser(user): CurrentUser,
) -> ApiResult<Me> {
    let chosen = app.connections.chosen_status(user.id);
    let status = chosen.unwrap_or(user.status).as_str();
    ok(Me {
        account: user.into(),
        status,
    })
}

/// The caller, and the status that it has chosen.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    #[serde(flatten)]
    account: Account,
    status: &'static str,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub(super) struct StatusInput {
    status: Option<String>,
}

/// `PUT /auth/status {status}`: on all devices of the caller; that of a registered user is kept.
#[utoipa::path(
    put,
    path = "/auth/status",
    tag = "auth",
    operation_id = "auth_set_status",
    request_body = StatusInput,
    responses((status = 200, body = Envelope<Value>), Refusals),
)]
pub(super) async fn set_status(
    State(app): State<Arc<App>>,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<StatusInput>,
) -> ApiResult<Value> {
    let status = input.status.as_deref().and_then(session_status);
    let status = status.ok_or(FieldErrors::one(
        "status",
        "must be online, idle, dnd or invisible",
    ))?;
    app.charge_request(Kind::Status, caller.id)?;
    app.choose_status(&caller, status).await?;
    ok(json!({ "status": status.as_str() }))
}
