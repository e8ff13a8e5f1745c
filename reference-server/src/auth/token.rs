//! JSON web tokens, HMAC-SHA256.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Secret;

const USER_TOKEN_SECONDS: u64 = 7 * 24 * 3600;
const GUEST_TOKEN_SECONDS: u64 = 24 * 3600;
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
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: Uuid,
    name: String,
    #[serde(default)]
    guest: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    iat: u64,
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
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation: Validation::new(Algorithm::HS256),
        }
    }

    /// Issues a token for `identity`: seven days for users, one for guests.
    pub(crate) fn issue(&self, identity: &Identity) -> Result<String, jsonwebtoken::errors::Error> {
        let iat = jsonwebtoken::get_current_timestamp();
        let lifetime = if identity.guest {
            GUEST_TOKEN_SECONDS
        } else {
            USER_TOKEN_SECONDS
        };
        let claims = Claims {
            sub: identity.id,
            name: identity.username.to_string(),
            guest: identity.guest,
            tenant: Some(identity.tenant.to_string()),
            iat,
            exp: iat + lifetime,
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
        Identity {
            id: Uuid::now_v7(),
            username: "ada".into(),
            guest: false,
            tenant: "default".into(),
        }
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
    fn an_expired_token_is_refused_and_one_without_tenant_is_valid_in_the_default() {
        let tokens = tokens('a');
        let sign = |exp: u64| {
            let claims = serde_json::json!({
                "sub": Uuid::nil(), "name": "ada", "iat": 0, "exp": exp
            });
            jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &tokens.encoding).unwrap()
        };
        assert!(tokens.verify(&sign(1_000)).is_none());
        assert_eq!(
            &*tokens.verify(&sign(u64::from(u32::MAX))).unwrap().tenant,
            "default"
        );
    }
}
