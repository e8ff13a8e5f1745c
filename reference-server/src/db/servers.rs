//! Servers and their categories: the two levels above rooms.

use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Added, Db, StorageError, now_micros, rfc3339,
    sql::{Link, sql},
};

/// A server as it is stored and returned.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Server {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) owner_id: Option<Uuid>,
    /// True for the one of the tenant, on which all users make rooms.
    pub(crate) is_default: bool,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) inserted_at: i64,
}

/// A group of rooms on a server.
#[derive(Debug, Clone, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Category {
    pub(crate) id: Uuid,
    pub(crate) server_id: Uuid,
    pub(crate) name: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) inserted_at: i64,
}

/// The result of deleting a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deleted {
    Now,
    /// It has rooms, and stays.
    HasRooms,
    /// There is none of that id any more.
    Before,
}

impl Db {
    /// Makes sure that a tenant has its default server.
    pub(crate) async fn ensure_default_server(&self, tenant: &str) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        sql(
            "INSERT INTO servers (id, tenant, name, skeleton, is_default, inserted_at)
             VALUES ($1, $2, 'main', 'main', TRUE, $3) ON CONFLICT DO NOTHING",
        )
        .bind(Uuid::now_v7())
        .bind(tenant)
        .bind(now_micros())
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Returns the id of a tenant's default server.
    pub(crate) async fn default_server(&self, tenant: &str) -> Result<Uuid, sqlx::Error> {
        sql("SELECT id FROM servers WHERE tenant = $1 AND is_default")
            .bind(tenant)
            .scalar_one(&self.reader)
            .await
    }

    /// Adds a server; `None` if the tenant has one whose name looks the same.
    pub(crate) async fn insert_server(
        &self,
        tenant: &str,
        name: &str,
        skeleton: &str,
        owner: Uuid,
        most: u32,
    ) -> Result<Added<Server>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&format!("servers of {owner}")).await?;
        let count = sql("SELECT count(*) FROM servers WHERE owner_id = $1")
            .bind(owner)
            .count(&mut *tx)
            .await?;
        if count >= most {
            tx.commit().await?;
            return Ok(Added::Full);
        }
        let server = sql(
            "INSERT INTO servers (id, tenant, name, skeleton, owner_id, inserted_at)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING *",
        )
        .bind(Uuid::now_v7())
        .bind(tenant)
        .bind(name)
        .bind(skeleton)
        .bind(owner)
        .bind(now_micros())
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Added::from(server))
    }

    pub(crate) async fn server(
        &self,
        tenant: &str,
        id: Uuid,
    ) -> Result<Option<Server>, sqlx::Error> {
        sql("SELECT * FROM servers WHERE id = $1 AND tenant = $2")
            .bind(id)
            .bind(tenant)
            .fetch_optional(&self.reader)
            .await
    }

    /// Returns up to `limit` servers with ids above `after`, oldest first: the default one is the first.
    pub(crate) async fn servers(
        &self,
        tenant: &str,
        after: Uuid,
        limit: u32,
    ) -> Result<Vec<Server>, sqlx::Error> {
        sql("SELECT * FROM servers WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3")
            .bind(tenant)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.reader)
            .await
    }

    /// Deletes a server without rooms, and its categories.
    pub(crate) async fn delete_server(&self, id: Uuid) -> Result<Deleted, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(id)).await?;
        let deleted = sql("DELETE FROM servers WHERE id = $1 AND NOT EXISTS
             (SELECT 1 FROM rooms WHERE server_id = $1 AND kind = 'group')")
        .bind(id)
        .execute(&mut *tx)
        .await?;
        let has_rooms = deleted == 0 && has_server(&mut tx, id).await?;
        tx.commit().await?;
        Ok(match (deleted, has_rooms) {
            (1.., _) => Deleted::Now,
            (0, true) => Deleted::HasRooms,
            (0, false) => Deleted::Before,
        })
    }

    /// Adds a category of a server, which then has at most `most`.
    pub(crate) async fn insert_category(
        &self,
        server: Uuid,
        name: &str,
        skeleton: &str,
        most: u32,
    ) -> Result<Added<Category>, StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(server)).await?;
        if !has_server(&mut tx, server).await? {
            tx.commit().await?;
            return Ok(Added::NoServer);
        }
        let count = sql("SELECT count(*) FROM categories WHERE server_id = $1")
            .bind(server)
            .count(&mut *tx)
            .await?;
        if count >= most {
            tx.commit().await?;
            return Ok(Added::Full);
        }
        let category = sql(
            "INSERT INTO categories (id, server_id, name, skeleton, inserted_at)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING *",
        )
        .bind(Uuid::now_v7())
        .bind(server)
        .bind(name)
        .bind(skeleton)
        .bind(now_micros())
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Added::from(category))
    }

    /// Returns the categories of a server, oldest first.
    pub(crate) async fn categories(&self, server: Uuid) -> Result<Vec<Category>, sqlx::Error> {
        sql("SELECT * FROM categories WHERE server_id = $1 ORDER BY id")
            .bind(server)
            .fetch_all(&self.reader)
            .await
    }

    pub(crate) async fn category(&self, id: Uuid) -> Result<Option<Category>, sqlx::Error> {
        sql("SELECT * FROM categories WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reader)
            .await
    }

    /// Deletes a category; its rooms stay on the server.
    pub(crate) async fn delete_category(&self, category: &Category) -> Result<(), StorageError> {
        let mut tx = self.writer.begin().await?;
        tx.lock(&server_lock(category.server_id)).await?;
        sql("DELETE FROM categories WHERE id = $1")
            .bind(category.id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

/// Returns whether there is a server of that id.
pub(super) async fn has_server(tx: &mut Link, id: Uuid) -> Result<bool, sqlx::Error> {
    let count = sql("SELECT count(*) FROM servers WHERE id = $1").bind(id);
    Ok(count.count(tx).await? == 1)
}

/// Names the lock under which rooms are added to a server, its roles are given and taken, its categories change, and it
/// is deleted.
pub(super) fn server_lock(server: Uuid) -> String {
    format!("server {server}")
}
