//! Users that sign in at another site.

use super::{
    Db, StorageError, User, now_micros,
    sql::{Link, Statement, sql},
    users,
};
use crate::names::Username;

/// The id of a user at another site.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ForeignId<'a> {
    /// The site, as its ID tokens name it.
    pub(crate) issuer: &'a str,
    /// Its name for the user.
    pub(crate) subject: &'a str,
}

/// The result of adding a user for a [`ForeignId`].
#[derive(Debug)]
pub(crate) enum Enrolled {
    /// The user of that id: added now, or by another sign-in in the meantime.
    User(User),
    /// A user of the tenant has a name that looks the same; nothing was added.
    NameTaken,
}

impl Db {
    /// Returns the user of that id at another site.
    pub(crate) async fn user_of(
        &self,
        tenant: &str,
        of: ForeignId<'_>,
    ) -> Result<Option<User>, sqlx::Error> {
        select(tenant, of).fetch_optional(&self.reader).await
    }

    /// Adds a user without a password for that id at another site.
    pub(crate) async fn enroll(
        &self,
        tenant: &str,
        of: ForeignId<'_>,
        username: Username,
    ) -> Result<Enrolled, StorageError> {
        let mut tx = self.writer.begin().await?;
        let name = format!("identity {tenant} {} {}", of.issuer, of.subject);
        tx.lock(&name).await?;
        let known = select(tenant, of).fetch_optional(&mut *tx).await?;
        let user = match known {
            Some(user) => Some(user),
            None => insert(&mut tx, tenant, of, username).await?,
        };
        tx.commit().await?;
        Ok(user.map_or(Enrolled::NameTaken, Enrolled::User))
    }
}

async fn insert(
    tx: &mut Link,
    tenant: &str,
    of: ForeignId<'_>,
    username: Username,
) -> Result<Option<User>, sqlx::Error> {
    let Some(user) = users::insert(tx, tenant, username, "").await? else {
        return Ok(None);
    };
    sql(
        "INSERT INTO identities (tenant, issuer, subject, user_id, inserted_at)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(tenant)
    .bind(of.issuer)
    .bind(of.subject)
    .bind(user.id)
    .bind(now_micros())
    .execute(tx)
    .await?;
    Ok(Some(user))
}

fn select(tenant: &str, of: ForeignId<'_>) -> Statement {
    sql(
        "SELECT u.* FROM identities i JOIN users u ON u.id = i.user_id
         WHERE i.tenant = $1 AND i.issuer = $2 AND i.subject = $3",
    )
    .bind(tenant)
    .bind(of.issuer)
    .bind(of.subject)
}
