//! Mentions: which users a message names, for the counts of those that they have not read.

use sqlx::FromRow;
use uuid::Uuid;

use super::{
    Db,
    sql::{Link, Reader, sql},
};

/// Is in SQL the number of messages that name the user, which stands in it as the text given, in the room `r`, and that
/// it has not read; at most 100.
macro_rules! unread_mentions {
    ($user:literal, $read:literal) => {
        concat!(
            "(SELECT count(*) FROM (SELECT 1 FROM mentions n WHERE n.user_id = ",
            $user,
            " AND n.room_id = r.id AND n.seq > ",
            $read,
            " LIMIT 100) AS counted) AS mentions"
        )
    };
}
pub(super) use unread_mentions;

/// A member of a room.
#[derive(FromRow)]
struct Named {
    id: Uuid,
    skeleton: String,
}

impl Db {
    /// Returns the members of a room that a message of `author` names: at each place the first of its names, of which
    /// they are the skeletons, that a member has. The author is none of them.
    pub(crate) async fn mentioned(
        &self,
        room: Uuid,
        author: Uuid,
        places: &[Vec<String>],
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let names: Vec<&String> = places.iter().flatten().collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let among = match self.reader {
            Reader::Sqlite(_) => sql("SELECT u.id, u.skeleton FROM rooms r
                 JOIN users u ON u.tenant = r.tenant
                 JOIN room_members m ON m.room_id = r.id AND m.user_id = u.id
                 WHERE r.id = $1 AND u.skeleton IN (SELECT value FROM json_each($2))"),
            Reader::Postgres(_) => sql("SELECT u.id, u.skeleton FROM rooms r
                 JOIN users u ON u.tenant = r.tenant
                 JOIN room_members m ON m.room_id = r.id AND m.user_id = u.id
                 WHERE r.id = $1
                 AND u.skeleton IN (SELECT json_array_elements_text($2::text::json))"),
        };
        let names = serde_json::to_string(&names).unwrap_or_default();
        let named = among.bind(room).bind(names).fetch_all(&self.reader);
        let named: Vec<Named> = named.await?;
        let mut mentioned = Vec::new();
        for place in places {
            let member = |name: &String| named.iter().find(|named| named.skeleton == *name);
            let Some(member) = place.iter().find_map(member) else {
                continue;
            };
            if member.id != author && !mentioned.contains(&member.id) {
                mentioned.push(member.id);
            }
        }
        Ok(mentioned)
    }
}

/// Notes the users that a message names, of those that are still there.
pub(super) async fn add_mentions(
    tx: &mut Link,
    room: Uuid,
    seq: i64,
    users: &[Uuid],
) -> Result<(), sqlx::Error> {
    for user in users {
        sql("INSERT INTO mentions (user_id, room_id, seq)
             SELECT id, $1, $2 FROM users WHERE id = $3 ON CONFLICT DO NOTHING")
        .bind(room)
        .bind(seq)
        .bind(*user)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Forgets the users that a message names.
pub(super) async fn remove_mentions(
    tx: &mut Link,
    room: Uuid,
    seq: i64,
) -> Result<(), sqlx::Error> {
    sql("DELETE FROM mentions WHERE room_id = $1 AND seq = $2")
        .bind(room)
        .bind(seq)
        .execute(tx)
        .await
        .map(drop)
}
