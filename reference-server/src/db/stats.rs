//! Counters of a tenant.

use serde::Serialize;
use sqlx::FromRow;

use super::{Db, sql::sql};

/// The size of a tenant.
#[derive(Debug, Serialize, FromRow, utoipa::ToSchema)]
pub(crate) struct Stats {
    /// Messages ever posted, also in rooms that are deleted.
    pub(crate) message_count: i64,
    pub(crate) room_count: i64,
    pub(crate) user_count: i64,
}

impl Db {
    /// Counts what a tenant has. O(rooms + users).
    pub(crate) async fn stats(&self, tenant: &str) -> Result<Stats, sqlx::Error> {
        sql(
            "SELECT CAST((SELECT coalesce(sum(count), 0) FROM message_counts WHERE tenant = $1) AS BIGINT)
                    AS message_count,
                 (SELECT count(*) FROM rooms WHERE tenant = $1 AND kind = 'group') AS room_count,
                 (SELECT count(*) FROM users WHERE tenant = $1) AS user_count",
        )
        .bind(tenant)
        .fetch_one(&self.reader)
        .await
    }
}
