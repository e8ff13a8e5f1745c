//! Posts of messages, from REST and socket alike: checked, charged, stored, sent.

use std::{sync::Arc, time::Instant};

use crate::{
    app::App,
    auth::Identity,
    db::{self, Message, NewMessage, in_time},
    error::{ApiError, FieldErrors},
    limit::millis,
    validate,
};

impl App {
    /// Checks a message, charges it to the author's limit, stores and sends it, in that order. The
    /// caller has checked that `author` is a member of `room`. A failed attempt is charged too.
    pub(crate) async fn post(
        self: Arc<Self>,
        room: db::Room,
        author: Identity,
        content: Option<String>,
    ) -> Result<Message, ApiError> {
        let content = validate::content(content.as_deref())
            .map_err(|message| FieldErrors::one("content", message))?;
        self.message_limit
            .check(author.id, Instant::now())
            .map_err(|wait| ApiError::RateLimited {
                retry_after_ms: millis(wait),
            })?;
        let app = Arc::clone(&self);
        self.finish(async move { app.store_and_send(&room, &author, &content).await })
            .await
    }

    async fn store_and_send(
        &self,
        room: &db::Room,
        author: &Identity,
        content: &str,
    ) -> Result<Message, ApiError> {
        let gone = ApiError::NotFound("no such room");
        let Some(open) = self.hub.open(&self.db, room).await? else {
            return Err(gone);
        };
        let _turn = in_time(open.posting.lock()).await?;
        let new = NewMessage {
            room: room.id,
            user: author.id,
            username: &author.username,
            content,
        };
        let message = self.db.insert_message(&new).await?;
        let message = message.ok_or(gone)?;
        open.publish(&message);
        Ok(message)
    }
}
