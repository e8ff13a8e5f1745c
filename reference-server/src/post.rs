//! Posts of messages, from REST and socket alike: checked, charged, stored, sent.

use std::{sync::Arc, time::Instant};

use serde::Deserialize;

use crate::{
    app::App,
    auth::Identity,
    db::{self, Author, Message, NewMessage, Stored, in_time},
    error::{ApiError, FieldErrors},
    limit::millis,
    validate,
};

/// A message as a client sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct Draft {
    content: Option<String>,
    /// The author's own name of the message: a repeated post with the same is the same message.
    client_id: Option<String>,
}

/// The answer to a post.
#[derive(Debug)]
pub(crate) enum Posted {
    New(Message),
    /// The message was stored by an earlier post of the same author.
    Before(Message),
}

impl App {
    /// Checks a message, charges it to the author's limit, stores and sends it, in that order. The
    /// caller has checked that `author` is a member of `room`. A failed attempt is charged too.
    pub(crate) async fn post(
        self: Arc<Self>,
        room: db::Room,
        author: Identity,
        draft: Draft,
    ) -> Result<Posted, ApiError> {
        let mut errors = FieldErrors::default();
        let content = validate::content(draft.content.as_deref());
        let content = errors.check("content", content);
        let client_id = errors.check("client_id", validate::client_id(draft.client_id));
        let Some((content, client_id)) = content.zip(client_id) else {
            return Err(errors.into());
        };
        self.message_limit
            .check(author.id, Instant::now())
            .map_err(|wait| ApiError::RateLimited {
                retry_after_ms: millis(wait),
            })?;
        let app = Arc::clone(&self);
        let store = async move {
            let author = Author {
                id: author.id,
                username: author.username.to_string(),
                guest: author.guest,
            };
            let new = NewMessage {
                room: room.id,
                author: &author,
                content: &content,
                client_id: client_id.as_deref(),
            };
            app.store_and_send(&room, &new).await
        };
        self.finish(store).await
    }

    async fn store_and_send(
        &self,
        room: &db::Room,
        new: &NewMessage<'_>,
    ) -> Result<Posted, ApiError> {
        let gone = ApiError::NotFound("no such room");
        let Some(open) = self.hub.open(&self.db, room).await? else {
            return Err(gone);
        };
        let _turn = in_time(open.posting.lock()).await?;
        match self.db.insert_message(new).await? {
            Stored::New(message) => {
                open.publish(&message);
                Ok(Posted::New(message))
            }
            Stored::Before(message) => Ok(Posted::Before(message)),
            Stored::NoRoom => Err(gone),
        }
    }
}
