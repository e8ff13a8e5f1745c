//! Sign-in at another site: the way of a browser there and back, and the token that it comes back with.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::{PrivateCookieJar, cookie::Cookie, cookie::SameSite};
use serde::Deserialize;
use time::Duration;

use super::{
    auth::Session,
    openapi::{Envelope, Refusals},
};
use crate::{
    app::App,
    auth::{Identity, PublicTenant},
    db::{Enrolled, User, now_micros},
    error::{ApiError, Data, ok},
    names::Username,
    net::ClientAddress,
    oidc::{Departure, Oidc, Visitor},
};

/// The cookies that a browser keeps while it is away, and brings back.
const DEPARTURE: &str = "headcount_departure";
const TOKEN: &str = "headcount_token";
/// The time that a user has at the provider, and a page for its token.
const AWAY_MAX: Duration = Duration::minutes(10);
const TOKEN_MAX: Duration = Duration::minutes(1);
/// Names that are tried with a number counted up from 2, and then with a random one.
const COUNTED: u32 = 9;
const RANDOM_TRIES: u32 = 8;
/// Characters of a name before its number.
const BASE_CHARS_MAX: usize = 24;
/// The name of a user who has none there that could be one here.
const NAMELESS: &str = "user";

/// The reason why a sign-in failed, as the page is told.
#[derive(Debug, Clone, Copy)]
enum Failure {
    /// Too many sign-ins from that address.
    Busy,
    /// The user, or the provider, said no.
    Refused,
    /// The browser does not have what it departed with.
    Expired,
    /// The provider or the storage is in trouble.
    Failed,
}

impl Failure {
    /// Returns the name of the reason, for the page and in metrics.
    fn code(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }
}

/// `GET /auth/oidc/login?tenant=`: sends a browser to the provider.
pub(crate) async fn login(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    PublicTenant(tenant): PublicTenant,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let oidc = provider(&app)?;
    if app.charge_sign_in(address).is_err() {
        return Ok(back(&app, oidc, &tenant, Err(Failure::Busy)).into_response());
    }
    let (url, departure) = match oidc.depart(&tenant).await {
        Ok(away) => away,
        Err(error) => {
            tracing::error!(%error, "no user can sign in at the provider");
            return Ok(back(&app, oidc, &tenant, Err(Failure::Failed)).into_response());
        }
    };
    let kept = serde_json::to_string(&departure).map_err(|e| ApiError::Internal(Box::new(e)))?;
    let jar = PrivateCookieJar::from_headers(&headers, oidc.key.clone());
    let jar = jar.add(cookie(oidc, DEPARTURE, kept, AWAY_MAX));
    Ok((jar, Redirect::to(url.as_str())).into_response())
}

/// The parameters that the provider adds to the address of the callback.
#[derive(Debug, Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
}

/// `GET /auth/oidc/callback?code=&state=`: takes a browser back, and sends it to the page.
pub(crate) async fn callback(
    State(app): State<Arc<App>>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Query(returned): Query<Return>,
) -> Result<Response, ApiError> {
    let oidc = provider(&app)?;
    let jar = PrivateCookieJar::from_headers(&headers, oidc.key.clone());
    let departure = jar.get(DEPARTURE);
    let departure = departure.and_then(|kept| serde_json::from_str::<Departure>(kept.value()).ok());
    let departure = departure.filter(|departure| departure.is_state(&returned.state));
    let tenant = departure.as_ref().and_then(|departure| {
        let mut tenants = app.tenants.iter();
        tenants.find(|tenant| ***tenant == departure.tenant)
    });
    let (Some(departure), Some(tenant)) = (departure, tenant) else {
        // The way of another tab may still need its cookie.
        return Ok(back(&app, oidc, &app.tenants[0], Err(Failure::Expired)).into_response());
    };
    let jar = jar.remove(cookie(oidc, DEPARTURE, String::new(), Duration::ZERO));
    let came = match app.charge_sign_in(address) {
        Ok(()) => sign_in(&app, oidc, tenant, departure, returned).await,
        Err(_) => Err(Failure::Busy),
    };
    match came {
        Ok(token) => {
            let jar = jar.add(cookie(oidc, TOKEN, token, TOKEN_MAX));
            Ok((jar, back(&app, oidc, tenant, Ok(()))).into_response())
        }
        Err(failure) => Ok((jar, back(&app, oidc, tenant, Err(failure))).into_response()),
    }
}

/// `POST /auth/oidc`: the token with which a browser came back from the provider, once.
#[utoipa::path(
    post,
    path = "/auth/oidc",
    tag = "auth",
    operation_id = "auth_oidc",
    responses((status = 200, body = Envelope<Session>), Refusals),
    security(()),
)]
pub(super) async fn session(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<(PrivateCookieJar, Data<Session>), ApiError> {
    let oidc = provider(&app)?;
    let jar = PrivateCookieJar::from_headers(&headers, oidc.key.clone());
    let refused = ApiError::Unauthorized("nobody came back from the provider in this browser");
    let Some(token) = jar.get(TOKEN) else {
        return Err(refused);
    };
    let identity = app.authenticate(token.value()).await?.ok_or(refused)?;
    let session = Session::of(token.value().to_owned(), identity);
    let jar = jar.remove(cookie(oidc, TOKEN, String::new(), Duration::ZERO));
    Ok((jar, ok(session)?))
}

fn provider(app: &App) -> Result<&Oidc, ApiError> {
    let none = ApiError::NotFound("no provider is set up");
    app.oidc.as_ref().ok_or(none)
}

/// Returns a token of the user that came back.
async fn sign_in(
    app: &App,
    oidc: &Oidc,
    tenant: &Arc<str>,
    departure: Departure,
    returned: Return,
) -> Result<String, Failure> {
    let Some(code) = returned.code else {
        let error = returned.error.unwrap_or_default();
        tracing::info!(
            error = error.escape_debug().to_string(),
            "no code came back"
        );
        return Err(Failure::Refused);
    };
    // What ends the tokens of the user meanwhile ends this one too.
    let begun = now_micros();
    let visitor = oidc.visitor(departure, code).await.map_err(|error| {
        tracing::error!(%error, "a sign-in at the provider failed");
        Failure::Failed
    })?;
    let user = user(app, oidc, tenant, &visitor).await.map_err(|error| {
        tracing::error!(%error, "a user that came from the provider could not be signed in");
        Failure::Failed
    })?;
    let identity = Identity::new(user.id, user.username.into(), false, Arc::clone(tenant));
    let identity = identity.issued_at(begun);
    app.tokens.issue(&identity).map_err(|error| {
        tracing::error!(%error, "a token could not be signed");
        Failure::Failed
    })
}

/// Returns the user that a visitor is here, who is added the first time.
async fn user(
    app: &App,
    oidc: &Oidc,
    tenant: &str,
    visitor: &Visitor,
) -> Result<User, Box<dyn std::error::Error + Send + Sync>> {
    if let Some(user) = app.db.user_of(tenant, visitor.id()).await? {
        return Ok(user);
    }
    let base = base_name(&oidc.names(visitor).await?);
    let counted = (2..=COUNTED).map(|number| format!("{base}-{number}"));
    let random = (0..RANDOM_TRIES).map(|_| format!("{base}-{:06}", fastrand::u32(..1_000_000)));
    for name in std::iter::once(base.clone()).chain(counted).chain(random) {
        let name = Username::parse(Some(&name))?;
        if let Enrolled::User(user) = app.db.enroll(tenant, visitor.id(), name).await? {
            return Ok(user);
        }
    }
    Err(format!("all names like {base:?} are taken").into())
}

/// Returns the first of the names that can be one here, cut to leave room for a number.
fn base_name(names: &[String]) -> String {
    let short = |name: &String| {
        // The name of an account is often its address, which is nobody's business.
        let local = name.split('@').next().unwrap_or_default();
        let words: Vec<_> = local.split_whitespace().collect();
        words.join(" ").chars().take(BASE_CHARS_MAX).collect()
    };
    let mut names = names.iter().map(short);
    let name = names.find_map(|name: String| Username::parse(Some(&name)).ok());
    name.map_or_else(|| NAMELESS.into(), |name| name.name)
}

/// Sends a browser to the page, which is told how it went; a failure is counted.
fn back(app: &App, oidc: &Oidc, tenant: &Arc<str>, how: Result<(), Failure>) -> Redirect {
    let mut url = oidc.public_url.clone();
    let mut query = url.query_pairs_mut();
    match how {
        Ok(()) => query.append_pair("signed_in", "oidc"),
        Err(failure) => {
            app.metrics.fail_oidc(failure.code());
            query.append_pair("sign_in_error", failure.code())
        }
    };
    if app.tenants.first() != Some(tenant) {
        query.append_pair("tenant", tenant);
    }
    drop(query);
    Redirect::to(url.as_str())
}

fn cookie(oidc: &Oidc, name: &'static str, value: String, age: Duration) -> Cookie<'static> {
    Cookie::build((name, value))
        .path(oidc.public_url.path().to_owned())
        .secure(oidc.public_url.scheme() == "https")
        .http_only(true)
        .same_site(SameSite::Lax)
        .max_age(age)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_elsewhere_become_names_here() {
        let base =
            |names: &[&str]| base_name(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        assert_eq!(base(&["Ada"]), "ada");
        assert_eq!(base(&["ada@example.org", "Ada"]), "ada");
        assert_eq!(
            base(&["@", "", "\u{3164}", "guest-1", "Grace  Hopper"]),
            "grace hopper"
        );
        assert_eq!(base(&[&"é".repeat(40)]).chars().count(), BASE_CHARS_MAX);
        assert_eq!(base(&["x", "__proto__"]), NAMELESS);
        assert_eq!(base(&[]), NAMELESS);
    }
}
