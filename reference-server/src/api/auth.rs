//! Registration, login, guests.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::App,
    auth::{CurrentUser, Identity, PublicTenant},
    db::User,
    error::{ApiError, ApiResult, Body, FieldErrors, created, ok},
    names::{GUEST_PREFIX, Username},
    net::ClientAddress,
    validate,
};

/// Digits after `GUEST_PREFIX`.
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
    Identity::new(user.id, user.username.into(), false, tenant)
}

/// `POST /auth/register`
pub(super) async fn register(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
    Body(input): Body<Credentials>,
) -> ApiResult<Session> {
    app.auth_limit.check(address)?;
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
pub(super) async fn login(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
    Body(input): Body<Credentials>,
) -> ApiResult<Session> {
    app.auth_limit.check(address)?;
    let refused = ApiError::Unauthorized("invalid username or password");
    let (Some(name), Some(password)) = (input.username, input.password) else {
        return Err(refused);
    };
    // A name that cannot be is that of no user.
    let name = Username::parse(Some(&name)).ok();
    let known = match name {
        Some(name) => app.db.credentials(&tenant, &name).await?,
        None => None,
    };
    let (user, hash) = known.unzip();
    let fits = app.passwords.verify(password, hash).await?;
    let user = user.filter(|_| fits).ok_or(refused)?;
    ok(Session::new(&app, registered(user, tenant))?)
}

/// `POST /auth/guest`: a token under a generated name; nothing is stored.
pub(super) async fn guest(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
) -> ApiResult<Session> {
    app.auth_limit.check(address)?;
    let id = Uuid::new_v4();
    let digits = &id.simple().to_string()[..GUEST_DIGITS];
    let username = format!("{GUEST_PREFIX}{digits}").into();
    let identity = Identity::new(id, username, true, tenant);
    created(Session::new(&app, identity)?)
}

/// `DELETE /auth/logout`: ends the token, and the connections that were opened with it.
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
        change.revocations.add(token, caller.expires_at);
        change.connections.end(caller.id, |of| of == Some(token));
        Ok::<_, ApiError>(())
    })
    .await?;
    ok(json!({ "revoked": true }))
}

#[derive(Deserialize)]
pub(super) struct PasswordChange {
    password: Option<String>,
    new_password: Option<String>,
}

/// `POST /auth/password`: changes the password, ends all tokens and connections of the user, and
/// returns a new token.
pub(super) async fn change_password(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    CurrentUser(caller): CurrentUser,
    Body(input): Body<PasswordChange>,
) -> ApiResult<Session> {
    app.auth_limit.check(address)?;
    if caller.guest {
        return Err(ApiError::Forbidden("guests have no password"));
    }
    let new = validate::password(input.new_password.as_deref())
        .map_err(|message| FieldErrors::one("new_password", message))?;
    let stored = app.db.password_hash(caller.id).await?;
    let given = input.password.unwrap_or_default();
    if !app.passwords.verify(given, stored).await? {
        return Err(FieldErrors::one("password", "is wrong").into());
    }
    let hash = app.passwords.hash(new).await?;
    let change = Arc::clone(&app);
    let user = caller.id;
    app.finish(async move {
        change.db.change_password(user, &hash).await?;
        change.revocations.renew_generation();
        change.connections.end(user, |_| true);
        Ok::<_, ApiError>(())
    })
    .await?;
    let identity = Identity::new(user, caller.username, false, caller.tenant);
    ok(Session::new(&app, identity)?)
}

/// `GET /auth/me`
pub(super) async fn me(CurrentUser(user): CurrentUser) -> ApiResult<Account> {
    ok(user.into())
}
