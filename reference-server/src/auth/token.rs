//! JSON web tokens, HMAC-SHA256.

use std::sync::Arc;

use headcount::Status;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{config::Secret, db::now_micros};

pub(crate) const USER_TOKEN_SECONDS: u64 = 7 * 24 * 3600;
const GUEST_TOKEN_SECONDS: u64 = 24 * 3600;
/// A token is accepted this long before `nbf` and after `exp`: clocks differ.
pub(crate) const TOKEN_LEEWAY_SECONDS: u64 = 60;
const TOKEN_BYTES_MAX: usize = 4096;
/// The tenant of a token that names none.
const DEFAULT_TENANT: &str = "default";

/// The user that a token names. This server signed all fields.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) username: Arc<str>,
    pub(crate) guest: bool,
    pub(crate) tenant: Arc<str>,
    /// The end of the token, in seconds since 1970, without the leeway.
    pub(crate) expires_at: u64,
    /// The id of the token (`jti`), by which it is revoked.
    pub(crate) token_id: Option<Uuid>,
    /// When the token was issued, in microseconds since 1970.
    pub(crate) issued_at: i64,
    /// The status that the user chose last, if it is stored.
    pub(crate) status: Status,
    /// The generation of revocations at which the token was checked.
    pub(crate) generation: u64,
}

impl Identity {
    /// Returns the identity of a user or guest that gets a token now.
    pub(crate) fn new(id: Uuid, username: Arc<str>, guest: bool, tenant: Arc<str>) -> Self {
        Self {
            id,
            username,
            guest,
            tenant,
            expires_at: expiry(guest),
            token_id: Some(Uuid::new_v4()),
            issued_at: now_micros(),
            status: Status::default(),
            generation: 0,
        }
    }

    /// Takes a time for that at which the token is issued: what ends the tokens of the user later ends this one too.
    pub(crate) fn issued_at(self, micros: i64) -> Self {
        Self {
            issued_at: micros,
            ..self
        }
    }
}

/// Returns the end of a token that is issued now: seven days for users, one for guests.
fn expiry(guest: bool) -> u64 {
    let lifetime = if guest {
        GUEST_TOKEN_SECONDS
    } else {
        USER_TOKEN_SECONDS
    };
    jsonwebtoken::get_current_timestamp() + lifetime
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    name: String,
    #[serde(default)]
    guest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
    #[serde(default)]
    iat: u64,
    /// As `iat`, in microseconds: two tokens of one second can be told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat_us: Option<i64>,
    exp: u64,
}

/// Issues and verifies tokens.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(crate) fn new(secret: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = TOKEN_LEEWAY_SECONDS;
        validation.validate_nbf = true;
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    /// Issues a token for `identity`.
    pub(crate) fn issue(&self, identity: &Identity) -> Result<String, jsonwebtoken::errors::Error> {
        let claims = Claims {
            sub: identity.id,
            name: identity.username.to_string(),
            guest: identity.guest,
            tenant: Some(identity.tenant.to_string()),
            jti: identity.token_id,
            iat: u64::try_from(identity.issued_at / 1_000_000).unwrap_or_default(),
            iat_us: Some(identity.issued_at),
            exp: identity.expires_at,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
    }

    /// Returns the identity in `token`, or `None` if it is forged, expired or no token.
    pub(crate) fn verify(&self, token: &str) -> Option<Identity> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .ok()?
            .claims;
        Some(Identity {
            id: claims.sub,
            username: claims.name.into(),
            guest: claims.guest,
            tenant: claims.tenant.as_deref().unwrap_or(DEFAULT_TENANT).into(),
            expires_at: claims.exp,
            token_id: claims.jti,
            issued_at: claims.iat_us.unwrap_or_else(|| {
                i64::try_from(claims.iat.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
            }),
            status: Status::default(),
            generation: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: char) -> Tokens {
        Tokens::new(&secret.to_string().repeat(32).parse().unwrap())
    }

    fn ada() -> Identity {
        Identity::new(Uuid::now_v7(), "ada".into(), false, "default".into())
    }

    #[test]
    fn round_trip() {
        let tokens = tokens('a');
        let ada = ada();
        let back = tokens.verify(&tokens.issue(&ada).unwrap()).unwrap();
        assert_eq!(
            (back.id, &*back.username, back.guest),
            (ada.id, "ada", false)
        );
    }

    #[test]
    fn forgeries_are_refused() {
        let tokens = tokens('a');
        let ada = ada();
        let good = tokens.issue(&ada).unwrap();
        assert!(
            tokens
                .verify(&super::tests::tokens('b').issue(&ada).unwrap())
                .is_none()
        );
        assert!(tokens.verify("").is_none());
        assert!(tokens.verify(&good[..good.len() - 2]).is_none());
        assert!(tokens.verify(&"a.".repeat(5000)).is_none());
        // {"alg":"none"} with the same claims and no signature.
        let claims = good.split('.').nth(1).unwrap();
        assert!(
            tokens
                .verify(&format!("eyJhbGciOiJub25lIn0.{claims}."))
                .is_none()
        );
    }

    #[test]
    fn a_token_is_valid_in_its_time_and_one_without_tenant_in_the_default() {
        let tokens = tokens('a');
        let now = jsonwebtoken::get_current_timestamp();
        let sign = |exp: u64, nbf: u64| {
            let claims = serde_json::json!({
                "sub": Uuid::nil(), "name": "ada", "iat": 0, "exp": exp, "nbf": nbf
            });
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &tokens.encoding).unwrap()
        };
        let later = u64::from(u32::MAX);
        assert!(tokens.verify(&sign(1_000, 0)).is_none());
        assert!(tokens.verify(&sign(now - 90, 0)).is_none());
        assert!(tokens.verify(&sign(now - 30, 0)).is_some());
        // It was ignored that a token is not valid yet.
        assert!(tokens.verify(&sign(later, now + 90)).is_none());
        assert!(tokens.verify(&sign(later, now + 30)).is_some());
        let known = tokens.verify(&sign(later, 0)).unwrap();
        assert_eq!((&*known.tenant, known.expires_at), ("default", later));
    }
}
