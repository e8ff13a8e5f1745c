//! Sign-in at another site: the authorization code flow of OpenID Connect Core 1.0, with PKCE (RFC 7636).

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum_extra::extract::cookie::Key;
use openidconnect::{
    AccessToken, AsyncHttpClient, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, EndUserName, EndUserNickname, EndUserUsername, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, LocalizedClaim, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope,
    TokenResponse as _,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreIdTokenClaims, CoreProviderMetadata,
        CoreTokenResponse, CoreUserInfoClaims,
    },
};
use parking_lot::Mutex;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Secret},
    db::ForeignId,
    error::chain,
    http_client,
};

/// The paths at which the way to the provider begins, and at which browsers come back.
pub(crate) const LOGIN_PATH: &str = "auth/oidc/login";
pub(crate) const CALLBACK_PATH: &str = "auth/oidc/callback";
/// The time for an answer of the provider, and the most bytes of one.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The description of the provider is fetched again after this time.
const DESCRIPTION_AGE_MAX: Duration = Duration::from_secs(300);
/// The most bytes of a subject, as the specification bounds it.
const SUBJECT_BYTES_MAX: usize = 255;

/// The provider does not do its part. The text is for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcError {
    #[error("the provider cannot be reached, or describes itself wrongly: {0}")]
    Discovery(String),
    #[error("the provider refused the code: {0}")]
    Code(String),
    #[error("the provider sent no ID token")]
    NoIdToken,
    #[error("the ID token does not hold: {0}")]
    IdToken(#[from] ClaimsVerificationError),
    #[error("the provider does not say who the user is: {0}")]
    UserInfo(String),
    #[error("the subject has {0} bytes, at most {SUBJECT_BYTES_MAX} are allowed")]
    Subject(usize),
}

/// The request to the provider failed.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer has over {ANSWER_BYTES_MAX} bytes")]
    TooLong,
}

/// The secrets that a browser keeps, encrypted, between its departure to the provider and its return.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Departure {
    pub(crate) tenant: String,
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
}

impl Departure {
    /// Returns whether the provider sent the browser back that departed.
    pub(crate) fn is_state(&self, state: &str) -> bool {
        self.state.secret() == state
    }
}

/// A user that came back, as the provider says.
#[derive(Debug)]
pub(crate) struct Visitor {
    claims: CoreIdTokenClaims,
    access: AccessToken,
}

impl Visitor {
    /// Returns the id of the user there.
    pub(crate) fn id(&self) -> ForeignId<'_> {
        ForeignId {
            issuer: self.claims.issuer(),
            subject: self.claims.subject(),
        }
    }
}

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider at which users may sign in.
pub(crate) struct Oidc {
    /// As the page names it.
    pub(crate) name: String,
    /// The address of the page.
    pub(crate) public_url: Url,
    /// Encrypts cookies.
    pub(crate) key: Key,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    redirect: RedirectUrl,
    http: Http,
    described: Mutex<Option<(Instant, Arc<Client>)>>,
}

impl Oidc {
    /// Returns the provider of the settings, if they name one. `secret` is that of the tokens.
    ///
    /// # Errors
    /// No client for requests can be made.
    pub(crate) fn new(config: &Config, secret: &Secret) -> Result<Option<Self>, reqwest::Error> {
        // The settings refuse an issuer without the other two.
        let (Some(issuer), Some(client_id), Some(public_url)) = (
            &config.oidc_issuer,
            &config.oidc_client_id,
            &config.public_url,
        ) else {
            return Ok(None);
        };
        let host = || issuer.url().host_str().unwrap_or_default().to_owned();
        Ok(Some(Self {
            name: config.oidc_name.clone().unwrap_or_else(host),
            public_url: public_url.clone(),
            key: Key::derive_from(secret.as_bytes()),
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            client_secret: config.oidc_client_secret.clone(),
            redirect: RedirectUrl::from_url(under(public_url, CALLBACK_PATH)),
            http: Http::new()?,
            described: Mutex::default(),
        }))
    }

    /// Returns the address at which a user of that tenant begins to sign in.
    pub(crate) fn login_url(&self, tenant: &str) -> Url {
        let mut url = under(&self.public_url, LOGIN_PATH);
        url.query_pairs_mut().append_pair("tenant", tenant);
        url
    }

    /// Returns the address of the provider to which a browser goes, and what it must keep.
    pub(crate) async fn depart(&self, tenant: &str) -> Result<(Url, Departure), OidcError> {
        let client = self.client(DESCRIPTION_AGE_MAX).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client
            .authorize_url(flow, CsrfToken::new_random, Nonce::new_random)
            .add_scope(Scope::new("profile".into()))
            .set_pkce_challenge(challenge);
        let (url, state, nonce) = request.url();
        let departure = Departure {
            tenant: tenant.into(),
            state,
            nonce,
            verifier,
        };
        Ok((url, departure))
    }

    /// Returns who came back with that code.
    pub(crate) async fn visitor(
        &self,
        departure: Departure,
        code: String,
    ) -> Result<Visitor, OidcError> {
        let client = self.client(DESCRIPTION_AGE_MAX).await?;
        let exchange = client.exchange_code(AuthorizationCode::new(code));
        let exchange = exchange.map_err(|error| OidcError::Code(error.to_string()))?;
        let answer = exchange
            .set_pkce_verifier(departure.verifier)
            .request_async(&self.http)
            .await
            .map_err(|error| OidcError::Code(chain(&error)))?;
        let claims = match verified(&client, &answer, &departure.nonce) {
            // The provider may have changed its keys.
            Err(OidcError::IdToken(ClaimsVerificationError::SignatureVerification(_))) => {
                let client = self.client(Duration::ZERO).await?;
                verified(&client, &answer, &departure.nonce)?
            }
            claims => claims?,
        };
        let bytes = claims.subject().len();
        if bytes > SUBJECT_BYTES_MAX {
            return Err(OidcError::Subject(bytes));
        }
        Ok(Visitor {
            claims,
            access: answer.access_token().clone(),
        })
    }

    /// Returns the names of a visitor, the best one first: those in its ID token, or else those that the provider
    /// returns to a further request.
    pub(crate) async fn names(&self, visitor: &Visitor) -> Result<Vec<String>, OidcError> {
        let claims = &visitor.claims;
        let names = names(
            claims.preferred_username(),
            claims.nickname(),
            claims.name(),
        );
        let client = self.client(DESCRIPTION_AGE_MAX).await?;
        if !names.is_empty() || client.user_info_url().is_none() {
            return Ok(names);
        }
        let subject = Some(claims.subject().clone());
        let request = client.user_info(visitor.access.clone(), subject);
        let request = request.map_err(|error| OidcError::UserInfo(error.to_string()))?;
        let info = request.request_async(&self.http).await;
        let info: CoreUserInfoClaims = info.map_err(|error| OidcError::UserInfo(chain(&error)))?;
        let nickname = info.nickname();
        Ok(self::names(
            info.preferred_username(),
            nickname,
            info.name(),
        ))
    }

    /// Returns a client by a description of the provider that is not older than `age`.
    async fn client(&self, age: Duration) -> Result<Arc<Client>, OidcError> {
        let known = self.described.lock().clone();
        if let Some((at, client)) = known
            && at.elapsed() < age
        {
            return Ok(client);
        }
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let found = found.map_err(|error| OidcError::Discovery(chain(&error)))?;
        let id = self.client_id.clone();
        let client = CoreClient::from_provider_metadata(found, id, self.client_secret.clone());
        let client = Arc::new(client.set_redirect_uri(self.redirect.clone()));
        *self.described.lock() = Some((Instant::now(), Arc::clone(&client)));
        Ok(client)
    }
}

/// Returns the address of a path below the page, whose path ends with a slash.
fn under(page: &Url, path: &str) -> Url {
    let mut url = page.clone();
    url.set_path(&format!("{}{path}", page.path()));
    url
}

fn verified(
    client: &Client,
    answer: &CoreTokenResponse,
    nonce: &Nonce,
) -> Result<CoreIdTokenClaims, OidcError> {
    let token = answer.id_token().ok_or(OidcError::NoIdToken)?;
    Ok(token.claims(&client.id_token_verifier(), nonce)?.clone())
}

fn names(
    username: Option<&EndUserUsername>,
    nickname: Option<&LocalizedClaim<EndUserNickname>>,
    name: Option<&LocalizedClaim<EndUserName>>,
) -> Vec<String> {
    let nickname = nickname.and_then(|names| names.get(None));
    let name = name.and_then(|names| names.get(None));
    let names = [
        username.map(|name| name.as_str()),
        nickname.map(|name| name.as_str()),
        name.map(|name| name.as_str()),
    ];
    names.into_iter().flatten().map(str::to_owned).collect()
}

/// Sends requests to the provider.
struct Http(reqwest::Client);

impl Http {
    fn new() -> Result<Self, reqwest::Error> {
        let client = http_client::builder().timeout(ANSWER_MAX).build()?;
        Ok(Self(client))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let mut response = self.0.execute(request.try_into()?).await?;
        let mut answer = HttpResponse::new(Vec::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        while let Some(part) = response.chunk().await? {
            if answer.body().len() + part.len() > ANSWER_BYTES_MAX {
                return Err(FetchError::TooLong);
            }
            answer.body_mut().extend_from_slice(&part);
        }
        Ok(answer)
    }
}

impl<'a> AsyncHttpClient<'a> for Http {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'a>>;

    fn call(&'a self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
