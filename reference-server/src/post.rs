//! Posts of messages, their edits and deletions, from REST and socket alike: checked, charged, stored, sent.

use std::{sync::Arc, time::Instant};

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    auth::Identity,
    cluster::Event,
    db::{self, Author, Changer, Dm, Message, NewMessage, Role, StorageError, Stored, in_time},
    error::{ApiError, FieldErrors},
    mentions,
    room::Room,
    validate,
};

const NO_MESSAGE: ApiError = ApiError::NotFound("no such message");
pub(crate) const NOT_A_MEMBER: ApiError = ApiError::Forbidden("not a member of this room");

/// A message as a client sends it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
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
        self.charge(&author).await?;
        let app = Arc::clone(&self);
        let store = async move {
            let author = Author {
                id: author.id,
                username: author.username.to_string(),
                guest: author.guest,
            };
            let places = mentions::names(&content);
            let mentioned = app.db.mentioned(room.id, author.id, &places).await?;
            let new = NewMessage {
                room: room.id,
                author: &author,
                content: &content,
                client_id: client_id.as_deref(),
                mentioned: &mentioned,
            };
            app.store_and_send(&room, &new).await
        };
        self.finish(store).await
    }

    async fn store_and_send(
        self: &Arc<Self>,
        room: &db::Room,
        new: &NewMessage<'_>,
    ) -> Result<Posted, ApiError> {
        let gone = ApiError::NotFound("no such room");
        let Some(open) = self.hub.open(&self.db, room).await? else {
            return Err(gone);
        };
        let _turn = in_time(open.posting.lock()).await?;
        let event = |message: &Message| self.webhooks.message_created(&room.tenant, message);
        match self.db.insert_message(new, event).await? {
            Stored::New(message) => {
                self.webhooks.note_stored();
                self.metrics.messages.increment(1);
                let name = new.author.username.as_str().into();
                self.talkers.note(new.author.id, &name, Instant::now());
                // Before its first message, so that nobody hears of what is unread in a conversation unknown to it.
                if room.kind == "dm" && message.seq == 1 {
                    let id = room.id;
                    self.show(move |app| app.announce_dm(id)).await;
                }
                self.announce(|| Event::Message((&message).into()));
                if let Err(error) = open.deliver(&self.db, &message).await {
                    // It is stored: its author is told so, and those before it come with the repair.
                    self.log_missed(Err(error));
                    open.publish(&message);
                }
                self.tell_mentioned(&message, new.mentioned);
                Ok(Posted::New(message))
            }
            Stored::Before(message) => Ok(Posted::Before(message)),
            Stored::NoRoom => Err(gone),
            Stored::NotWithin => Err(NOT_A_MEMBER),
        }
    }

    /// Tells users that a message names them.
    fn tell_mentioned(&self, message: &Message, users: &[Uuid]) {
        let payload = json!({ "room_id": message.room_id, "seq": message.seq }).to_string();
        for user in users {
            self.tell_user(*user, "mentioned", &payload);
        }
    }

    /// Tells both users of a conversation that it has begun.
    async fn announce_dm(self: Arc<Self>, room: Uuid) -> Result<(), StorageError> {
        for member in self.db.members(room, Uuid::nil(), 2).await? {
            if let Some(dm) = self.dm_of(member.user_id, room).await? {
                let payload = json!({ "dm": dm }).to_string();
                self.tell_user(member.user_id, "dm_started", &payload);
            }
        }
        Ok(())
    }

    /// Returns a conversation as `user` sees it.
    pub(crate) async fn dm_of(&self, user: Uuid, room: Uuid) -> Result<Option<Dm>, StorageError> {
        let dm = self.db.dm_of(user, room).await?;
        Ok(dm.map(|dm| self.with_status(dm)))
    }

    /// Adds the status of the other user.
    pub(crate) fn with_status(&self, mut dm: Dm) -> Dm {
        dm.peer.status = self.status_of(dm.peer.id).as_str();
        dm
    }

    /// Changes the content of a message, by its author or an admin of the room. It is charged as a new one.
    pub(crate) async fn edit_message(
        self: &Arc<Self>,
        caller: &Identity,
        id: &str,
        content: Option<String>,
    ) -> Result<Message, ApiError> {
        let content = validate::content(content.as_deref())
            .map_err(|message| FieldErrors::one("content", message))?;
        let (room, message) = self.own_message(caller, id).await?;
        self.charge(caller).await?;
        let app = Arc::clone(self);
        let author = message.user.id;
        let by = changer(caller);
        self.finish(async move {
            let open = app.hub.open(&app.db, &room).await?.ok_or(NO_MESSAGE)?;
            let _turn = in_time(open.posting.lock()).await?;
            let places = mentions::names(&content);
            let mentioned = app.db.mentioned(room.id, author, &places).await?;
            let edited = app
                .db
                .edit_message(&message, by, &content, &mentioned)
                .await?;
            let edited = edited.ok_or(NO_MESSAGE)?;
            app.show_change(&open, &edited);
            Ok::<_, ApiError>(edited)
        })
        .await
    }

    /// Deletes a message, by its author or an admin of the room.
    pub(crate) async fn delete_message(
        self: &Arc<Self>,
        caller: &Identity,
        id: &str,
    ) -> Result<Message, ApiError> {
        let (room, message) = self.own_message(caller, id).await?;
        let app = Arc::clone(self);
        let by = changer(caller);
        self.finish(async move {
            let open = app.hub.open(&app.db, &room).await?.ok_or(NO_MESSAGE)?;
            let _turn = in_time(open.posting.lock()).await?;
            let deleted = app.db.delete_message(&message, by).await?;
            let deleted = deleted.ok_or(NO_MESSAGE)?;
            app.show_change(&open, &deleted);
            Ok::<_, ApiError>(deleted)
        })
        .await
    }

    /// Sends that a stored message was edited or deleted, on all nodes.
    fn show_change(&self, room: &Room, message: &Message) {
        room.publish_change(message);
        self.announce(|| Event::MessageChanged {
            room: room.id,
            message: message.id,
        });
    }

    /// Returns a message that `caller` may change, and its room.
    async fn own_message(
        &self,
        caller: &Identity,
        id: &str,
    ) -> Result<(db::Room, Message), ApiError> {
        let id: Uuid = id.parse().map_err(|_| NO_MESSAGE)?;
        let message = self.db.message(id).await?.ok_or(NO_MESSAGE)?;
        let room = message.room_id.to_string();
        let room = self.room_and_role(caller, &room).await;
        let (room, role) = room.map_err(|error| match error {
            ApiError::NotFound(_) => NO_MESSAGE,
            error => error,
        })?;
        // A message that the caller cannot read does not exist.
        let role = role.ok_or(NO_MESSAGE)?;
        if message.deleted {
            return Err(NO_MESSAGE);
        }
        if message.user.id != caller.id && role != Role::Admin {
            return Err(ApiError::Forbidden("not your message"));
        }
        Ok((room, message))
    }

    /// Charges a message to the limit of its author: on all nodes where they share a database.
    async fn charge(&self, author: &Identity) -> Result<(), ApiError> {
        let charged = if self.db.is_shared() {
            self.db.charge_message(author.id).await?
        } else {
            self.message_limit
                .check(author.id, Instant::now())
                .map(drop)
        };
        charged.map_err(|wait| {
            self.metrics.limit("messages");
            ApiError::rate_limited(wait)
        })
    }
}

fn changer(caller: &Identity) -> Changer {
    Changer {
        id: caller.id,
        guest: caller.guest,
    }
}
