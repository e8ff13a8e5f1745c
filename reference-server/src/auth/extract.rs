//! Extractors: the caller of a request, and the tenant of a request without a token.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};

use super::Identity;
use crate::{app::App, error::ApiError};

/// The verified caller.
#[derive(Debug)]
pub(crate) struct CurrentUser(pub(crate) Identity);

impl FromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(ApiError::Unauthorized("missing bearer token"))?;
        let identity = app.authenticate(token).await?;
        Ok(Self(identity.ok_or(ApiError::Unauthorized(
            "invalid or expired token",
        ))?))
    }
}

/// The tenant that `X-Tenant` or the query parameter `tenant` names; without either, the first
/// one that is served.
#[derive(Debug)]
pub(crate) struct PublicTenant(pub(crate) Arc<str>);

impl FromRequestParts<Arc<App>> for PublicTenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let header = parts
            .headers
            .get("x-tenant")
            .map(|v| v.to_str().unwrap_or(""));
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let param = form_urlencoded::parse(query).find(|(key, _)| key == "tenant");
        let name = header.or(param.as_ref().map(|(_, value)| value.as_ref()));
        let tenant = match name {
            None => app.tenants.first(),
            Some(name) => app.tenants.iter().find(|t| &***t == name),
        };
        tenant
            .cloned()
            .map(Self)
            .ok_or(ApiError::NotFound("unknown tenant"))
    }
}
